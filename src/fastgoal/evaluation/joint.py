"""Joint global-local retrieval: whole and parts in one gallery (GOAL, section 4; FAST-GOAL, section 4).

The gallery is every image *and* its best local crop; the queries are every caption *and* its best sentence; and the
reverse. For any query both the whole and the part of its own image are right; mAP@10 divides by their number. A sample
without a local pair keeps its whole image and whole caption only, so that they have one right answer each.

Which crop and which sentence decides much of the figure, so the test set is made once, by a pinned matcher, never by
the evaluated model, and a fingerprint of what was asked stands beside the figure.

Shapes: Q texts, N images and crops, D joint dimensions.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import ConfigError
from fastgoal.evaluation.metrics import Embeddings, average_precision, relevant_ranks
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol
from fastgoal.evaluation.results import Direction, EvalResult, Queries, make_result
from fastgoal.evaluation.views import ViewSet, Wanted
from fastgoal.geometry import ImageFit
from fastgoal.models.retriever import Retriever
from fastgoal.pairs import PairsRow, PairsTable


@dataclass(frozen=True, kw_only=True, slots=True)
class JointText:
    """A caption or its best sentence. `id` is the sample's, with `#sentence` for the sentence."""

    id: str
    image: str
    text: str
    local: bool


@dataclass(frozen=True, kw_only=True)
class JointSet:
    """The questions of a joint evaluation.

    gallery: every image, each followed by the best crops of its samples. texts: every caption, each followed by its
        best sentence.
    skipped: rows of the table whose image could not be used.
    """

    gallery: tuple[Wanted, ...]
    texts: tuple[JointText, ...]
    skipped: int

    @classmethod
    def of(cls, table: PairsTable) -> "JointSet":
        """Take each row's first pair; rows with a `skip` reason are left out and counted."""
        rows = list(table)
        usable = [row for row in rows if row.skip is None]
        wanted: dict[str, dict[Wanted, None]] = {}
        for row in usable:
            wanted.setdefault(row.image, {(row.image, None): None}).update(dict.fromkeys(_crop(row)))
        gallery = tuple(item for items in wanted.values() for item in items)
        texts = tuple(text for row in usable for text in _texts(row))
        return cls(gallery=gallery, texts=texts, skipped=len(rows) - len(usable))

    @property
    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over every image, box and text: equal if and only if the same was asked."""
        texts = [(text.id, text.image, text.text) for text in self.texts]
        return hashlib.sha256(json.dumps([self.gallery, texts]).encode()).hexdigest()[:16]

    def views(self, table: PairsTable, fit: ImageFit, *, keep: bool = True, workers: int = 2) -> ViewSet:
        """The gallery's views, images under the table's root."""
        return ViewSet(self.gallery, table.images, fit, keep=keep, workers=workers)


def evaluate_joint(
    encoder: Retriever,
    table: PairsTable,
    *,
    protocol: Protocol = PROTOCOLS["joint"],
    views: ViewSet | None = None,
    batch: int = 64,
    seed: int = 0,
    allow_own_matcher: bool = False,
) -> EvalResult:
    """mAP@k of joint retrieval, both ways.

    Args:
        table: the test set's pairs, made once by a matcher that is not among the evaluated models.
        views: `JointSet.of(table).views(table, encoder.fit)`, to decode once for several models; None decodes now.
        batch: images (and four times as many texts) embedded at once.
        seed: of the bootstrap.
        allow_own_matcher: accept pairs that the evaluated model itself chose; its figures are then too good.

    Raises:
        DataError: an unreadable image, or not the number of items that the protocol pins.
        ConfigError: pairs that this model chose; or a model, protocol or view set that do not fit together.
    """
    begin = time.perf_counter()
    protocol.expect("joint", encoder)
    if not allow_own_matcher:
        _expect_other_matcher(table, encoder)
    asked = JointSet.of(table)
    whole = sum(box is None for _, box in asked.gallery)
    protocol.expect_items(whole)
    views = asked.views(table, encoder.fit, keep=False) if views is None else views
    views.check(asked.gallery, encoder)
    image_ND = embed_images(encoder, views, batch=batch)
    text_QD, truncated_Q = embed_texts(encoder, [text.text for text in asked.texts], batch=4 * batch)
    caption_Q = np.array([not text.local for text in asked.texts])
    origin = table.manifest.origin
    return make_result(
        encoder,
        protocol,
        _both_ways(asked, text_QD, image_ND, protocol.ks),
        items=whole,
        truncated_share=float(truncated_Q[caption_Q].mean()),
        seconds=time.perf_counter() - begin,
        seed=seed,
        counts={
            "images": whole,
            "crops": len(asked.gallery) - whole,
            "captions": int(caption_Q.sum()),
            "sentences": int((~caption_Q).sum()),
            "skipped": asked.skipped,
        },
        pairs={"fingerprint": asked.fingerprint, "matcher": origin.matcher, "detector": origin.detector},
    )


def _both_ways(
    asked: JointSet, text_QD: Embeddings, image_ND: Embeddings, ks: tuple[int, ...]
) -> dict[Direction, Queries]:
    text_of = [(text.id, text.image) for text in asked.texts]
    image_of = [
        (image if box is None else f"{image}#{','.join(f'{v:g}' for v in box)}", image) for image, box in asked.gallery
    ]
    return {
        "t2i": _precisions(text_QD, image_ND, text_of, image_of, ks),
        "i2t": _precisions(image_ND, text_QD, image_of, text_of, ks),
    }


def _precisions(
    query_QD: Embeddings,
    item_ND: Embeddings,
    query_of: Sequence[tuple[str, str]],
    item_of: Sequence[tuple[str, str]],
    ks: tuple[int, ...],
) -> Queries:
    """AP@k per query. `query_of` and `item_of` give the id and the image of each row."""
    (id_Q, image_Q), image_N = (
        (np.array(names) for names in zip(*query_of, strict=True)),
        np.array([i for _, i in item_of]),
    )
    ranks = relevant_ranks(query_QD, item_ND, image_Q, image_N, depth=max(ks))
    values = {f"mAP@{k}": average_precision(ranks, k) for k in ks}
    return Queries(id_Q=id_Q, image_Q=image_Q, rank_Q=ranks.rank_QJ[:, 0], values=values)


def _crop(row: PairsRow) -> list[Wanted]:
    return [(row.image, row.regions[row.pairs[0].region].box)] if row.pairs else []


def _texts(row: PairsRow) -> list[JointText]:
    caption = JointText(id=row.id, image=row.image, text=row.caption, local=False)
    if not row.pairs:
        return [caption]
    start, end = row.sentences[row.pairs[0].sentence]
    return [caption, JointText(id=f"{row.id}#sentence", image=row.image, text=row.caption[start:end], local=True)]


def _expect_other_matcher(table: PairsTable, encoder: Retriever) -> None:
    if table.manifest.origin.matcher == encoder.fingerprint:
        what = f"the pairs were chosen by the evaluated model '{encoder.name}' itself"
        mend = "Match the test set once with another model; `allow_own_matcher` in Python takes it as it is."
        raise ConfigError(what, where=table.folder, mend=mend)
