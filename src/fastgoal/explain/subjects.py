"""What is explained: one image and its caption, samples of some data, or those that a model finds worst.

The worst are those whose own image comes last for their caption; what came first instead is shown beside them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from fastgoal.data.images import read_image
from fastgoal.data.samples import Sample, Span
from fastgoal.data.source import Source
from fastgoal.errors import ConfigError, DataError
from fastgoal.evaluation import evaluate_retrieval
from fastgoal.geometry import Box
from fastgoal.models.dual_encoder import DualEncoder


@dataclass(frozen=True, kw_only=True)
class Instead:
    """What came first in the place of a caption's own image: its name and the picture (None: it cannot be read).

    ranks: of the own image, by each model. gallery: how many images were ranked.
    """

    name: str
    image: Image.Image | None
    ranks: tuple[int, ...]
    gallery: int


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An upright image with its caption, the true boxes of spans of it where they are known, and, of a worst case, what
    came first instead."""

    id: str
    image: Image.Image
    caption: str
    truth: tuple[tuple[Span, Box], ...] = ()
    instead: Instead | None = None

    def boxes(self, span: Span) -> list[Box]:
        """The true boxes of what a sentence says."""
        return [box for (start, end), box in self.truth if start < span[1] and span[0] < end]


def single(path: str | Path, caption: str) -> Subject:
    """One image file.

    Raises:
        DataError: it cannot be read.
    """
    return Subject(id=Path(path).name, image=read_image(path), caption=caption)


def subjects(source: Source, ids: Sequence[str] = (), limit: int | None = None) -> Iterator[Subject]:
    """Samples of some data in its order: those of these ids, or the first `limit`.

    Raises:
        ConfigError: an id that is not there. DataError: an image that cannot be read.
    """
    wanted = dict.fromkeys(ids)
    chosen = (sample for sample in source if not wanted or sample.id in wanted)
    found = {sample.id: sample for sample in islice(chosen, len(wanted) or limit)}
    if missing := [one for one in wanted if one not in found]:
        some = ", ".join(sample.id for sample in islice(source, 3))
        raise ConfigError(f"no sample is called {missing[0]!r}", where="--ids", mend=f"Ids here are like {some}.")
    return (subject(source, sample) for sample in found.values())


def subject(source: Source, sample: Sample, instead: Instead | None = None) -> Subject:
    """One sample with its image."""
    return Subject(
        id=sample.id,
        image=_read(source, sample.image),
        caption=sample.caption,
        truth=tuple((region.span, region.box) for region in sample.regions if region.span is not None),
        instead=instead,
    )


def worst(encoders: Sequence[DualEncoder], source: Source, count: int) -> list[Subject]:
    """The samples whose own image comes last for their caption, worst first; none whose image comes first.

    Args:
        encoders: it goes by the last of them; by the others the same samples are ranked too.

    Raises:
        DataError: an image that cannot be read.
    """
    ranked = [evaluate_retrieval(encoder, source) for encoder in encoders]
    every = [one.queries["t2i"] for one in ranked]
    own = every[-1]
    order_Q = np.argsort(-own.rank_Q, kind="stable")[:count]
    chosen = {str(own.id_Q[row]): int(row) for row in order_Q if own.rank_Q[row] > 1}
    samples = {sample.id: sample for sample in source if sample.id in chosen}
    found = []
    for name, row in chosen.items():
        image = "" if own.wrong_Q is None else str(own.wrong_Q[row])
        ranks = tuple(int(queries.rank_Q[row]) for queries in every)
        instead = Instead(name=image, image=_or_none(source, image), ranks=ranks, gallery=ranked[-1].items)
        found.append(replace(subject(source, samples[name]), instead=instead))
    return found


def _read(source: Source, uri: str) -> Image.Image:
    return read_image(source.images.open(uri), where=uri)


def _or_none(source: Source, uri: str) -> Image.Image | None:
    try:
        return _read(source, uri)
    except DataError:
        return None
