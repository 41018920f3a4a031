"""Which part of an image each sentence of a caption means.

    sentence by itself  x  each projected patch          a heat map
    sentence by itself  x  each candidate region's crop  the best region

Crops are made and compared as matching does it, patches as the localisation protocol does it, so that what is seen here
is what was trained and measured.

Shapes: S sentences, C candidate regions, P patches (G x G, row by row), D joint dimensions.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fastgoal.data.images import fit_pixels
from fastgoal.data.samples import Span
from fastgoal.data.sentences import split_sentences
from fastgoal.embed import embed_images, embed_texts, inference, pixel_batches
from fastgoal.explain.attention import class_attention
from fastgoal.explain.explanation import ExplainedSentence, Explanation
from fastgoal.explain.words import explain_words
from fastgoal.geometry import Box, ImageFit, placement
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import token_weights
from fastgoal.regions import Region, make_proposer

Floats = npt.NDArray[np.float32]


def explain(
    encoder: DualEncoder,
    image: Image.Image,
    caption: str,
    *,
    regions: Sequence[Region] | None = None,
    words: bool = False,
    attention: bool = False,
    language: str = "en",
) -> Explanation:
    """Why the model finds that an image and a caption match.

    Args:
        image: upright RGB. caption: of any length; what lies beyond the text limit is marked, and its sentences are
            still compared, each by itself.
        regions: candidates for each sentence; None takes what stands out by colour and the five fixed boxes (FLISM
            without a detector). Empty: the whole image only.
        words: also what each word carries (one more forward pass of a text per word).
        attention: also what the image's embedding attends to.
        language: of the caption, where sentences are cut.
    """
    if regions is None:
        regions = make_proposer("flism").propose([image])[0]
    spans = split_sentences(caption, language)
    whole_D, patches_PD, attention_P = _look(encoder, image, attention)
    caption_D = embed_texts(encoder, [caption])[0][0]
    sentence_SD = embed_texts(encoder, [caption[start:end] for start, end in spans])[0]
    boxes, sim_SC = _compare(encoder, image, regions, sentence_SD, whole_D)
    reach, visible_S = _in_sight(encoder, caption, spans)
    grid = encoder.grid
    heat_SGG = None if patches_PD is None else (sentence_SD @ patches_PD.T).reshape(len(spans), grid, grid)
    sentences = []
    for index, (span, seen) in enumerate(zip(spans, visible_S, strict=True)):
        best = int(sim_SC[index].argmax())
        heat_GG = None if heat_SGG is None else heat_SGG[index]
        score = float(sim_SC[index, best])
        sentences.append(ExplainedSentence(span=span, visible=seen, score=score, box=boxes[best], heat_GG=heat_GG))
    return Explanation(
        model=encoder.name,
        caption=caption,
        width=image.width,
        height=image.height,
        similarity=float(caption_D @ whole_D),
        view=view_box(image.width, image.height, encoder.fit),
        sentences=tuple(sentences),
        words=explain_words(encoder, whole_D, caption, reach=reach) if words else (),
        attention_GG=None if attention_P is None else attention_P.reshape(grid, grid),
    )


def view_box(width: int, height: int, fit: ImageFit) -> Box:
    """The part of an upright image of this size that the model's square input shows, in the image's pixels.

    It ends within the image where the fit cuts, and beyond it where the fit pads.
    """
    place = placement(width, height, fit)
    across, down = width / place.width, height / place.height
    x1, y1 = -place.left * across, -place.top * down
    return x1, y1, x1 + fit.size * across, y1 + fit.size * down


def _look(encoder: DualEncoder, image: Image.Image, attention: bool) -> tuple[Floats, Floats | None, Floats | None]:
    """The image's embedding (D), its projected patches (P x D) and its attention (P), from its pixels."""
    pixels_BCHW = next(pixel_batches(encoder, [image], 1))
    with inference(encoder):
        features = encoder.encode_images(pixels_BCHW)
        patches = encoder.project_patches(features.patches_BPW[0]) if encoder.traits.projects_parts else None
    attended = class_attention(encoder, pixels_BCHW) if attention else None
    return (
        _numbers(features.embedding_BD[0]),
        None if patches is None else _numbers(patches),
        None if attended is None else _numbers(attended[0]),
    )


def _numbers(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)


def _compare(
    encoder: DualEncoder, image: Image.Image, regions: Sequence[Region], sentence_SD: Floats, whole_D: Floats
) -> tuple[list[Box | None], Floats]:
    """The candidates' boxes and every sentence's cosine with each; without regions, with the whole image."""
    if not regions:
        return [None], sentence_SD @ whole_D[:, None]
    crops_CD = embed_images(encoder, (fit_pixels(image, encoder.fit, region.box) for region in regions))
    return [region.box for region in regions], sentence_SD @ crops_CD.T


def _in_sight(encoder: DualEncoder, caption: str, spans: Sequence[Span]) -> tuple[int | None, list[bool]]:
    """Where the text limit cuts the caption (None: nowhere), and which sentences begin before that."""
    tokens = encoder.tokenize([caption])
    reach = int(tokens.offsets_BT2[0, :, 1].max()) if tokens.truncated_B[0] else None
    rows = np.repeat(tokens.offsets_BT2, len(spans), axis=0)
    seen = [bool(own_T.any()) for own_T in token_weights(rows, spans)] if spans else []
    return reach, seen
