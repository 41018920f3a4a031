"""What explains a match of one image with one caption: pure data, which pictures, pages and services draw.

Shapes: G x G patches of the model's input, row by row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgoal.geometry import Box

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ExplainedWord:
    """One word of the caption (of a long one: several neighbours, taken together). span: its characters. weight: what
    the similarity of image and caption loses without it, in cosine (negative: the match is better without it)."""

    span: tuple[int, int]
    weight: float


@dataclass(frozen=True, kw_only=True)
class ExplainedSentence:
    """One sentence of the caption.

    span: its characters. visible: it lies within the text limit. score: cosine similarity of the sentence by itself
    with its best region, or with the whole image where no region was given. box: that region, in pixels of the upright
    image; None for the whole image. heat_GG: cosine similarity with each projected patch; None for a family without
    a patch projection.
    """

    span: tuple[int, int]
    visible: bool
    score: float
    box: Box | None
    heat_GG: Floats | None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a model finds that an image and a caption match.

    Args:
        model: its name. caption: the text. width, height: of the upright image, in pixels.
        similarity: cosine of the whole image and the whole caption.
        view: the part of the upright image that the G x G patches cover, in its pixels; a margin that was padded lies
            outside the image, a part that was cropped away is not covered.
        sentences: in the order of the caption. words: likewise; empty if not asked for.
        attention_GG: how much the image's embedding attends to each patch in the layer that it is read from (mean over
            heads, sum 1 over the patches); None if not asked for.
    """

    model: str
    caption: str
    width: int
    height: int
    similarity: float
    view: Box
    sentences: tuple[ExplainedSentence, ...]
    words: tuple[ExplainedWord, ...] = ()
    attention_GG: Floats | None = None
