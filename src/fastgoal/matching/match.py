"""The pass over images and captions that fills a pairs table.

The one idea: a shard of the table is a function of its samples alone. Within a shard every image is decoded once and
candidates and sentences are embedded in batches across images; nothing crosses from one shard to the next, so an
interrupted run continues to the same table.

Shapes: N texts of a shard, C candidates and S sentences of one sample, D the joint embedding.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedConfig

from fastgoal.cache import EmbeddingCache, text_key
from fastgoal.data.samples import Sample, Span
from fastgoal.data.sentences import split_sentences
from fastgoal.data.source import Source
from fastgoal.data.store import ImageStore
from fastgoal.embed import embed_texts
from fastgoal.errors import ConfigError, DataError, ModelError
from fastgoal.matching.candidates import Candidates, Embed, Look, cut, embed_candidates, looks_at
from fastgoal.matching.judge import MatchReport, summarise
from fastgoal.matching.rules import Rule, allowed_pairs, known_pairs, without_whole
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import tokenizer_facts
from fastgoal.pairs import Origin, PairsRow, PairsTable, PairsWriter
from fastgoal.progress import Progress
from fastgoal.regions.region import Proposer, Staged, reads

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class MatchSettings:
    """How to match.

    rule: `flism` (FAST-GOAL) chooses among the regions; `lism` (GOAL) has the whole image as one more candidate, and a
        sample whose best pair is with the whole image gets none; `true` chooses among the sentences and boxes that the
        data says belong together, an upper bound for any matcher.
    embed: `crops` encodes every candidate by itself; `dense` encodes the whole image once and reads each candidate out
        of its patches, for matchers that know where things are (docs/regions.md).
    language: of the captions, for cutting sentences (ISO 639).
    batch: crops (`dense`: images) or sentences per forward pass; None: 32 on a CPU, where small batches stay in its
        cache, else 256.
    images: images that the proposer sees at once.
    workers: threads that decode, propose and cut views while the matcher computes; 0 does all in turn.
    shard_rows: samples per shard: the most that a kill loses.
    overwrite: drop a table that is already in the folder.
    """

    rule: Rule = "flism"
    embed: Embed = "crops"
    language: str = "en"
    batch: int | None = None
    images: int = 16
    workers: int = 1
    shard_rows: int = 512
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise ConfigError(f"unknown rule {self.rule!r}", where="rule", mend="Use flism, lism or true.")
        if self.embed not in get_args(Embed):
            raise ConfigError(f"unknown way {self.embed!r}", where="embed", mend="Use crops or dense.")
        for name, least in {"batch": 1, "images": 1, "workers": 0, "shard_rows": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{value} is too small", where=name, mend=f"Use at least {least}.")

    @property
    def decisive(self) -> dict[str, str]:
        """What the rows depend on. Crops go unsaid, as in tables from before there was another way."""
        dense = {"embed": self.embed} if self.embed == "dense" else {}
        return {"rule": self.rule, "language": self.language, **dense}

    def expect(self, encoder: DualEncoder) -> None:
        """Raises ConfigError where the matcher cannot do what is asked."""
        if self.embed == "dense" and not encoder.traits.projects_parts:
            what = f"{encoder.traits.title} has no projection for patches, so that it cannot match dense"
            raise ConfigError(what, where="embed", mend="Use crops (--embed crops), or a model of the CLIP family.")


def match(
    source: Source,
    encoder: DualEncoder,
    proposer: Proposer,
    out: str | Path,
    settings: MatchSettings | None = None,
    progress: bool = True,
    *,
    cache: str | Path | None = None,
) -> MatchReport:
    """Write the pairs table of `source` to the folder `out`; run again after an interruption, it continues.

    Args:
        encoder: the matcher; embeds candidates and sentences.
        proposer: gives the candidate regions.
        progress: show a bar on standard error.
        cache: folder in which embeddings of crops and sentences are kept (see `fastgoal.cache`).

    Raises:
        ConfigError: `dense` with a matcher that cannot project patches.
        DataError: `out` holds a table made differently (or something else), without `overwrite`; no image can be read.
        ModelError: the matcher's embeddings are not finite.
    """
    settings = settings or MatchSettings()
    settings.expect(encoder)
    origin = Origin(
        data=source.key,
        matcher=encoder.fingerprint,
        detector=fingerprint(proposer),
        settings=settings.decisive,
    )
    kept = None if cache is None else EmbeddingCache(cache, origin.matcher, encoder.dim)
    begin, rows, stages = time.perf_counter(), settings.shard_rows, _stages(proposer)
    with PairsWriter(out, root=source.root, origin=origin, shard_rows=rows, overwrite=settings.overwrite) as writer:
        rest, images = islice(source, writer.done, None), 0  # finished shards hold the first samples, in order
        with Progress(len(source), "match", "sample", done=writer.done, show=progress) as bar:
            while samples := list(islice(rest, rows)):
                for row in match_samples(samples, source.images, encoder, proposer, settings, bar, kept):
                    writer.add(row)
                images += len({sample.image for sample in samples})
    seconds = time.perf_counter() - begin
    truth = {sample.id: sample.regions for sample in source if sample.regions}
    table = PairsTable.open(out, keep=1)
    report = replace(
        summarise(table, truth, source.problems, rule=settings.rule, images=images, seconds=seconds),
        stages={name: count - stages.get(name, 0) for name, count in _stages(proposer).items()} or None,
        embeddings=None if kept is None else {"found": kept.found, "made": kept.made},
    )
    if report.samples == sum(report.skipped.values()) - len(source.problems):
        first = f"{report.skipped_samples[0]['where']}: {report.skipped_samples[0]['reason']}"
        what = f"0 of {report.samples} samples can be used (first: {first})"
        raise DataError(what, where=source.root, mend="Mend the images, or name their folder with --root.")
    return report


def _stages(proposer: Proposer) -> Mapping[str, int]:
    return proposer.stages if isinstance(proposer, Staged) else {}


_IRRELEVANT = frozenset({"name", "device", "batch", "tally"})
"""Of a proposer: where it came from, where and how fast it runs, and what it has counted."""


_NO_ARCHITECTURE = frozenset({"_name_or_path", "transformers_version", "dtype"})
"""Of a config: where it came from, what wrote it, and how its weights were stored (they are float32 here)."""


def fingerprint(thing: object) -> str:
    """What a proposer's regions depend on, readable: `Type(setting=value, ...)`, with a hash for a model's weights."""
    if isinstance(own := getattr(thing, "fingerprint", None), str):
        return own
    if isinstance(thing, torch.nn.Module):
        digest = hashlib.sha256(json.dumps(_architecture(thing), sort_keys=True, default=str).encode())
        for name, tensor in thing.state_dict().items():
            digest.update(name.encode() + tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return f"{type(thing).__name__}({digest.hexdigest()[:16]})"
    if isinstance(thing, list | tuple):
        return f"[{', '.join(map(fingerprint, thing))}]"
    if hasattr(thing, "backend_tokenizer"):
        digest = hashlib.sha256(json.dumps(tokenizer_facts(thing), sort_keys=True).encode())
        return f"{type(thing).__name__}({digest.hexdigest()[:16]})"
    if hasattr(thing, "to_dict"):  # an image processor of transformers
        return f"{type(thing).__name__}({json.dumps(thing.to_dict(), sort_keys=True, default=str)})"
    if is_dataclass(thing) or not hasattr(thing, "__dict__"):
        return repr(thing)
    kept = {name: value for name, value in vars(thing).items() if name not in _IRRELEVANT}
    return f"{type(thing).__name__}({', '.join(f'{name}={fingerprint(value)}' for name, value in kept.items())})"


def _architecture(model: torch.nn.Module) -> dict[str, Any]:
    """What the weights of a transformers model do not say (heads, activation, names of classes), where not usual."""
    config = getattr(model, "config", None)
    said = config.to_diff_dict() if isinstance(config, PreTrainedConfig) else {}
    return {name: value for name, value in said.items() if name not in _NO_ARCHITECTURE}


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
