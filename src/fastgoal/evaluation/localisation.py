"""Patch localisation: does the model know where in the image a sentence belongs?

Every sentence with a true box is compared with each patch of its image, projected into the joint space as it stands;
top-k is the share of sentences for which the centre of one of the k most similar patches lies inside the box
(FAST-GOAL, Table XVI). Centres go back to the upright image through the image fit, so boxes need not be moved, and a
box that the fit cuts away is a miss: the model never saw it.

Shapes: B images of a batch, P patches (grid x grid, row by row), W tower width, D joint dimensions, S sentences, T
tokens, V boxes.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fastgoal.data.samples import GivenRegion, Sample, Span
from fastgoal.data.source import Source
from fastgoal.embed import embed_texts, inference, pixel_batches
from fastgoal.errors import ModelError
from fastgoal.evaluation.metrics import NO_RANK, Floats, Ints, recall_at
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol
from fastgoal.evaluation.results import EvalResult, Queries, make_result
from fastgoal.evaluation.views import ViewSet
from fastgoal.geometry import Box, ImageFit, placement
from fastgoal.losses import pool
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import token_weights
from fastgoal.pairs import PairsTable

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """A sentence and its true boxes (several where it speaks of several things), in pixels of the upright image."""

    id: str
    image: str
    caption: str
    span: Span
    boxes: tuple[Box, ...]


def evaluate_localisation(
    encoder: DualEncoder,
    source: Source,
    *,
    protocol: Protocol = PROTOCOLS["localisation"],
    views: ViewSet | None = None,
    batch: int = 64,
    seed: int = 0,
) -> EvalResult:
    """Top-k patch localisation over the sentences of `source` that have a true box (a given region with a span).

    Args:
        views: `ViewSet.of(located(source), encoder.fit)`, to decode once for several models; None decodes now.
        batch: images (and four times as many texts) embedded at once.
        seed: of the bootstrap.

    Raises:
        DataError: no sentence with a true box, an unreadable image, or not the number of items that the protocol pins.
        ConfigError: a model, protocol or view set that do not fit together.
        ModelError: embeddings that are not finite.
    """
    begin = time.perf_counter()
    protocol.expect("localisation", encoder)
    sentences = [sentence for sample in source for sentence in _sentences(sample)]
    protocol.expect_items(len(sentences))
    images = list(dict.fromkeys(sentence.image for sentence in sentences))
    views = ViewSet.of(located(source), encoder.fit, keep=False) if views is None else views
    views.check([(image, None) for image in images], encoder)
    read = _read_alone if protocol.reading == "alone" else _read_in_caption
    text_SD, cut_S = read(encoder, sentences, 4 * batch)
    rank_S, inside_S = _ranks(encoder, views, images, sentences, text_SD, batch)
    if protocol.reading == "in-caption":
        rank_S = np.where(cut_S, NO_RANK, rank_S)
    queries = Queries(
        id_Q=np.array([sentence.id for sentence in sentences]),
        image_Q=np.array([sentence.image for sentence in sentences]),
        rank_Q=rank_S,
        values={f"top-{k}": recall_at(rank_S, k) for k in protocol.ks},
    )
    return make_result(
        encoder,
        protocol,
        {"t2i": queries},
        items=len(sentences),
        truncated_share=float(cut_S.mean()),
        seconds=time.perf_counter() - begin,
        seed=seed,
        chance={f"top-{k}": 100 * _chance(inside_S, encoder.grid**2, k) for k in protocol.ks},
        counts={"images": len(images), "sentences": len(sentences), "out_of_view": int((inside_S == 0).sum())},
    )


def located(source: Source) -> Source:
    """The samples that have a sentence with a true box."""
    return source.only(lambda sample: bool(_sentences(sample)))


def pairs_as_truth(table: PairsTable) -> Source:
    """The samples of a pairs table with their best pair in the place of a true box, for test sets that have none
    (FAST-GOAL, Table XVI). What it measures is agreement with the matcher, which must not be the evaluated model."""
    return Source(name=table.folder.name, root=table.root, entries=_BestPairs(table))


@dataclass(frozen=True)
class _BestPairs:
    table: PairsTable

    def __iter__(self) -> Iterator[Sample]:
        for row in self.table:
            if row.skip is None and row.pairs:
                box, span = row.regions[row.pairs[0].region].box, row.sentences[row.pairs[0].sentence]
                given = GivenRegion(box=box, span=span)
                yield Sample(id=row.id, image=row.image, caption=row.caption, regions=(given,))


def _sentences(sample: Sample) -> list[Located]:
    boxes: dict[Span, list[Box]] = {}
    for region in sample.regions:
        if region.span is not None:
            boxes.setdefault(region.span, []).append(region.box)
    return [
        Located(
            id=f"{sample.id}#{span[0]}-{span[1]}",
            image=sample.image,
            caption=sample.caption,
            span=span,
            boxes=tuple(own),
        )
        for span, own in boxes.items()
    ]


def _read_alone(encoder: DualEncoder, sentences: Sequence[Located], batch: int) -> tuple[torch.Tensor, Bools]:
    """Each sentence embedded by itself, S x D, and which of them were cut at the text limit."""
    texts = [sentence.caption[sentence.span[0] : sentence.span[1]] for sentence in sentences]
    text_SD, cut_S = embed_texts(encoder, texts, batch=batch)
    return torch.from_numpy(text_SD).to(encoder.device), cut_S


def _read_in_caption(encoder: DualEncoder, sentences: Sequence[Located], batch: int) -> tuple[torch.Tensor, Bools]:
    """Each sentence's tokens pooled within its caption, S x D, and which of them lie wholly beyond the text limit."""
    parts, lost = [], []
    with inference(encoder):
        for start in range(0, len(sentences), batch):
            part = sentences[start : start + batch]
            row_of = {caption: row for row, caption in enumerate(dict.fromkeys(s.caption for s in part))}
            rows = [row_of[sentence.caption] for sentence in part]
            tokens = encoder.tokenize(list(row_of))
            weights_ST = token_weights(tokens.offsets_BT2[rows], [sentence.span for sentence in part])
            tokens_STW = encoder.encode_texts(tokens.to(encoder.device)).tokens_BTW[rows]
            pooled_SW = pool(tokens_STW, torch.from_numpy(weights_ST[:, None]).to(encoder.device))[:, 0]
            parts.append(encoder.project_tokens(pooled_SW))
            lost.append(weights_ST.sum(1) == 0)
    return torch.cat(parts), np.concatenate(lost)


def _ranks(
    encoder: DualEncoder,
    views: ViewSet,
    images: Sequence[str],
    sentences: Sequence[Located],
    text_SD: torch.Tensor,
    batch: int,
) -> tuple[Ints, Ints]:
    """Of each sentence: the rank of the best patch centred in its boxes, and how many patches are."""
    rank_S, inside_S = np.full(len(sentences), NO_RANK, np.int64), np.zeros(len(sentences), np.int64)
    of_image: dict[str, list[int]] = {}
    for index, sentence in enumerate(sentences):
        of_image.setdefault(sentence.image, []).append(index)
    with inference(encoder):
        for image, patches_PD in zip(images, _projected(encoder, views, batch), strict=True):
            own = of_image[image]
            sim_SP = (text_SD[own] @ patches_PD.T).cpu().numpy()
            if not np.isfinite(sim_SP).all():
                mend = "The model has diverged; use an earlier checkpoint."
                raise ModelError("patch similarities are not finite", where=encoder.name, mend=mend)
            centre_P2 = patch_centres(*views.size_of[image], encoder.fit, encoder.grid)
            inside_SP = np.stack([inside(centre_P2, sentences[index].boxes) for index in own])
            rank_S[own], inside_S[own] = best_rank(sim_SP, inside_SP), inside_SP.sum(1)
    return rank_S, inside_S


def _projected(encoder: DualEncoder, views: ViewSet, batch: int) -> Iterator[torch.Tensor]:
    """Each image's patches in the joint space, P x D, in the order of the views."""
    for pixels_BCHW in pixel_batches(encoder, views, batch):
        patches_BPW = encoder.encode_images(pixels_BCHW).patches_BPW
        yield from encoder.project_patches(patches_BPW.flatten(0, 1)).reshape(*patches_BPW.shape[:2], -1)


def patch_centres(width: int, height: int, fit: ImageFit, grid: int) -> Floats:
    """Where the centre of each patch lies in an upright image of this size, in pixels, P x 2 (x, y), row by row.

    Centres on padding lie outside the image.
    """
    place = placement(width, height, fit)
    centre_G = (np.arange(grid) + 0.5) * (fit.size // grid)
    x_G = (centre_G - place.left) * (width / place.width)
    y_G = (centre_G - place.top) * (height / place.height)
    return np.stack([np.tile(x_G, grid), np.repeat(y_G, grid)], 1)


def inside(centre_P2: Floats, boxes: Sequence[Box]) -> Bools:
    """Which of some points, P x 2, lie in any of some boxes (half-open)."""
    box_V14 = np.asarray(boxes, dtype=np.float64)[:, None]
    within_VP2 = (box_V14[..., :2] <= centre_P2) & (centre_P2 < box_V14[..., 2:])
    return np.asarray(within_VP2.all(-1).any(0))


def best_rank(sim_SP: npt.NDArray[np.floating[Any]], inside_SP: Bools) -> Ints:
    """Rank, from 1, of each sentence's most similar patch inside, ties against it; `NO_RANK` if none is."""
    best_S1 = np.where(inside_SP, sim_SP, -np.inf).max(1, keepdims=True)
    ahead_S = (~inside_SP & (sim_SP >= best_S1)).sum(1)
    return np.where(inside_SP.any(1), ahead_S + 1, NO_RANK)


def _chance(inside_S: Ints, patches: int, k: int) -> float:
    """Mean probability that one of k patches drawn at random is inside."""
    drawn = np.arange(min(k, patches))
    missed_SK = np.clip(patches - inside_S[:, None] - drawn, 0, None) / (patches - drawn)
    return float(1 - missed_SK.prod(1).mean())
