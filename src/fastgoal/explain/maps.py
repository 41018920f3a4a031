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
from fastgoal.errors import ModelError
from fastgoal.explain.explanation import ExplainedSentence, Explanation
from fastgoal.explain.words import explain_words
from fastgoal.geometry import Box, ImageFit, placement
from fastgoal.matching.matcher import batch_for
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

    Raises:
        ModelError: similarities that are not finite.
        DataError: a region that leaves the image.
    """
    if regions is None:
        regions = make_proposer("flism").propose([image])[0]
    spans = split_sentences(caption, language)
    whole_D, patches_PD, attention_P = _look(encoder, image, attention)
    batch, grid = batch_for(encoder.device), encoder.grid
    caption_D = embed_texts(encoder, [caption])[0][0]
    sentence_SD = embed_texts(encoder, [caption[start:end] for start, end in spans], batch=batch)[0]
    boxes, sim_SC = _compare(encoder, image, regions, sentence_SD, whole_D, batch)
    reach, visible_S = _in_sight(encoder, caption, spans)
    heat_SGG = None if patches_PD is None else (sentence_SD @ patches_PD.T).reshape(len(spans), grid, grid)
    _expect_finite(encoder, whole_D, caption_D, sim_SC, heat_SGG)
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
        view=view_box(image.width, image.height, encoder.fit, grid),
        sentences=tuple(sentences),
        words=explain_words(encoder, whole_D, caption, reach=reach) if words else (),
        attention_GG=None if attention_P is None else attention_P.reshape(grid, grid),
    )


def view_box(width: int, height: int, fit: ImageFit, grid: int) -> Box:
    """The part of an upright image of this size that the model's patches cover, in the image's pixels.

    It ends within the image where the fit cuts, and beyond it where the fit pads. A side that the patches do not divide
    keeps a rest on the right and below, which the model does not see either.
    """
    place = placement(width, height, fit)
    across, down, side = width / place.width, height / place.height, fit.size // grid * grid
    x1, y1 = -place.left * across, -place.top * down
    return x1, y1, x1 + side * across, y1 + side * down


def patch_box(view: Box, grid: int, patch: int) -> Box:
    """One of the grid x grid patches of a view, counted row by row, in the image's pixels."""
    across, down = (view[2] - view[0]) / grid, (view[3] - view[1]) / grid
    x1, y1 = view[0] + patch % grid * across, view[1] + patch // grid * down
    return x1, y1, x1 + across, y1 + down


def _look(encoder: DualEncoder, image: Image.Image, attention: bool) -> tuple[Floats, Floats | None, Floats | None]:
    """The image's embedding (D), its projected patches (P x D) and its attention (P), from its pixels."""
    pixels_BCHW = next(pixel_batches(encoder, [image], 1))
    with inference(encoder):
        features = encoder.encode_images(pixels_BCHW)
        patches = encoder.project_patches(features.patches_BPW[0]) if encoder.traits.projects_parts else None
        attended = encoder.image_attention(pixels_BCHW) if attention else None
    return (
        _numbers(features.embedding_BD[0]),
        None if patches is None else _numbers(patches),
        None if attended is None else _numbers(attended[0]),
    )


def _numbers(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)


def _compare(
    encoder: DualEncoder,
    image: Image.Image,
    regions: Sequence[Region],
    sentence_SD: Floats,
    whole_D: Floats,
    batch: int,
) -> tuple[list[Box | None], Floats]:
    """The candidates' boxes and every sentence's cosine with each; without regions, with the whole image."""
    if not regions:
        return [None], sentence_SD @ whole_D[:, None]
    crops = (fit_pixels(image, encoder.fit, region.box) for region in regions)
    crops_CD = embed_images(encoder, crops, batch=batch)
    return [region.box for region in regions], sentence_SD @ crops_CD.T


def _in_sight(encoder: DualEncoder, caption: str, spans: Sequence[Span]) -> tuple[int | None, list[bool]]:
    """Where the text limit cuts the caption (None: nowhere), and which sentences begin before that."""
    tokens = encoder.tokenize([caption])
    reach = int(tokens.offsets_BT2[0, :, 1].max()) if tokens.truncated_B[0] else None
    rows = np.repeat(tokens.offsets_BT2, len(spans), axis=0)
    seen = [bool(own_T.any()) for own_T in token_weights(rows, spans)] if spans else []
    return reach, seen


def _expect_finite(encoder: DualEncoder, *numbers: Floats | None) -> None:
    if not all(np.isfinite(array).all() for array in numbers if array is not None):
        mend = "The model has diverged; use an earlier checkpoint."
        raise ModelError("similarities are not finite", where=encoder.name, mend=mend)
