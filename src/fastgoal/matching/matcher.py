"""From samples to rows of a pairs table.

The one idea: a shard of the table is a function of its samples alone, the `Matcher`. Within a shard every image is
decoded once and candidates and sentences are embedded in batches across images; nothing crosses from one shard to the
next. So an interrupted run continues to the same table, and who computes a shard (an `Engine`: this process, or a
cluster) makes no difference to it.

Shapes: N texts of a shard, C candidates and S sentences of one sample, D the joint embedding.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fastgoal.cache import EmbeddingCache, text_key
from fastgoal.data.samples import Sample, Span
from fastgoal.data.sentences import split_sentences
from fastgoal.data.source import Source
from fastgoal.data.store import ImageStore
from fastgoal.embed import embed_texts
from fastgoal.errors import ModelError
from fastgoal.matching.candidates import Candidates, Look, cut, embed_candidates, looks_at
from fastgoal.matching.fingerprint import fingerprint
from fastgoal.matching.rules import Rule, allowed_pairs, known_pairs, without_whole
from fastgoal.matching.settings import MatchSettings
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsRow
from fastgoal.progress import Progress
from fastgoal.regions.region import Proposer, Staged, reads

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Matched:
    """One shard. stages: how many candidates were left after each filter of the source of regions, where it counts
    them. found, made: embeddings from a cache, and for it. worker: who computed it, where there are several."""

    rows: Sequence[PairsRow]
    stages: Mapping[str, int]
    found: int = 0
    made: int = 0
    worker: str | None = None


@dataclass(frozen=True)
class Shards:
    """The samples of a source from `start` on, `rows` at a time, read as they are asked for."""

    source: Source
    start: int
    rows: int

    def __iter__(self) -> Iterator[list[Sample]]:
        rest = islice(self.source, self.start, None)
        while samples := list(islice(rest, self.rows)):
            yield samples


class Matcher:
    """From the samples of a shard to its rows.

    Args:
        images: where the samples' images are read from.
        cache: folder of embeddings, opened with the first shard.
    """

    def __init__(
        self,
        encoder: DualEncoder,
        proposer: Proposer,
        images: ImageStore,
        settings: MatchSettings,
        cache: str | Path | None = None,
    ) -> None:
        self.encoder, self.proposer, self.images, self.settings = encoder, proposer, images, settings
        self.cache = cache

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """What the rows depend on besides data and settings. Reads all weights."""
        return {"matcher": self.encoder.fingerprint, "detector": fingerprint(self.proposer)}

    @cached_property
    def _cache(self) -> EmbeddingCache | None:
        if self.cache is None:
            return None
        return EmbeddingCache(self.cache, self.fingerprints["matcher"], self.encoder.dim)

    def __call__(self, samples: Sequence[Sample], bar: Progress | None = None) -> Matched:
        cache, stages = self._cache, _stages(self.proposer)
        found, made = (cache.found, cache.made) if cache else (0, 0)
        rows = match_samples(samples, self.images, self.encoder, self.proposer, self.settings, bar, cache)
        return Matched(
            rows=rows,
            stages={name: count - stages.get(name, 0) for name, count in _stages(self.proposer).items()},
            found=cache.found - found if cache else 0,
            made=cache.made - made if cache else 0,
        )


Engine = Callable[[Shards, Matcher, Progress], Iterator[Matched]]
"""Gives every shard in order; counts samples on the bar."""


def here(shards: Shards, matcher: Matcher, bar: Progress) -> Iterator[Matched]:
    """The engine of one process."""
    return (matcher(samples, bar) for samples in shards)


def _stages(proposer: Proposer) -> Mapping[str, int]:
    return dict(proposer.stages) if isinstance(proposer, Staged) else {}


def match_samples(
    samples: Sequence[Sample],
    images: ImageStore,
    encoder: DualEncoder,
    proposer: Proposer,
    settings: MatchSettings,
    bar: Progress | None = None,
    cache: EmbeddingCache | None = None,
) -> list[PairsRow]:
    """The rows of some samples, in their order: an image is decoded once for all captions that share its candidates."""
    pictures = [(sample.image, reads(proposer, sample)) for sample in samples]  # equal ones share their candidates
    count, first = Counter(pictures), dict(reversed(list(zip(pictures, samples, strict=True))))
    looks: list[Look] = []

    def passing() -> Iterator[Look]:
        ahead = looks_at(
            [first[picture] for picture in count],
            images,
            encoder.fit,
            proposer,
            embed=settings.embed,
            whole=settings.rule == "lism",
            group=settings.images,
            workers=settings.workers,
            cache=cache,
        )
        for look, sharing in zip(ahead, count.values(), strict=True):
            looks.append(replace(look, views=()))  # the regions stay, the pixels go
            yield look
            if bar is not None:
                bar.update(sharing)

    batch = settings.batch or batch_for(encoder.device)
    candidates = embed_candidates(encoder, passing(), settings.embed, batch, cache)
    seen = dict(zip(count, zip(looks, candidates, strict=True), strict=True))
    spans = [split_sentences(sample.caption, settings.language) for sample in samples]
    texts = [s.caption[start:end] for s, own in zip(samples, spans, strict=True) for start, end in own]
    texts_ND = _embed_sentences(encoder, texts, batch, cache)
    per_sample = cut(texts_ND, [len(own) for own in spans])
    return [
        _row(sample, own, *seen[picture], texts_SD, settings.rule)
        for sample, picture, own, texts_SD in zip(samples, pictures, spans, per_sample, strict=True)
    ]


def _embed_sentences(encoder: DualEncoder, texts: Sequence[str], batch: int, cache: EmbeddingCache | None) -> Floats:
    if cache is None:
        return embed_texts(encoder, texts, batch=batch)[0]
    row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    keys = [text_key(text) for text in row_of]
    places = cache.find(keys)
    new = [text for text, place in zip(row_of, places, strict=True) if place < 0]
    return cache.filled(keys, places, embed_texts(encoder, new, batch=batch)[0])[[row_of[text] for text in texts]]


def batch_for(device: torch.device) -> int:
    """Views or sentences per forward pass: on a CPU small batches stay in its cache."""
    return 32 if device.type == "cpu" else 256


def _row(
    sample: Sample, sentences: Sequence[Span], look: Look, candidates: Candidates, texts_SD: Floats, rule: Rule
) -> PairsRow:
    sim_SC = texts_SD @ candidates.embedding_CD.T
    if not np.isfinite(sim_SC).all():
        mend = "Check the matcher's weights."
        raise ModelError("the matcher's embeddings are not finite", where=f"sample {sample.id}", mend=mend)
    allowed_SC = np.broadcast_to(candidates.seen_C, sim_SC.shape)
    if rule == "true":
        allowed_SC = allowed_SC & known_pairs(sentences, sample.regions, look.regions)
    return PairsRow(
        id=sample.id,
        image=sample.image,
        width=look.width,
        height=look.height,
        caption=sample.caption,
        sentences=tuple(sentences),
        regions=look.regions,
        pairs=tuple(without_whole(allowed_pairs(sim_SC, allowed_SC), len(look.regions))),
        skip=look.skip,
    )
