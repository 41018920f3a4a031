"""Matching: which sentence of a caption says what about which region of its image.

    samples -> (regions, crops), sentences -> embeddings -> cosine similarities -> local pairs -> pairs table

FAST-GOAL's rule (arXiv 2605.26615, after GOAL's LISM, arXiv 2503.17782): every sentence takes its most similar region,
and the most similar of these pairs is the sample's local pair. The one idea of this module: a shard of the table is a
function of its samples alone. Within a shard every image is decoded once and crops and sentences are embedded in
batches across images; nothing crosses from one shard to the next, so an interrupted run continues to the same table.

Shapes: N crops or texts of a shard, S sentences, R regions, T true boxes of one sample, D the joint embedding.
"""

import hashlib
import json
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tqdm import tqdm

from fastgoal.data.images import fit_pixels, read_image
from fastgoal.data.samples import GivenRegion, Sample, Source, Span
from fastgoal.data.sentences import split_sentences
from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import ConfigError, DataError, ModelError
from fastgoal.geometry import ImageFit, area, covered, iou_matrix
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import LocalPair, Origin, PairsRow, PairsTable, PairsWriter
from fastgoal.regions.combine import propose_for
from fastgoal.regions.region import Proposer, Region

COVERED = 0.8
"""A region is right for a true box if it covers this share of it ..."""
AT_MOST = 0.3
"""... while being at most this share of the image."""
NAMED = 20
"""How many skipped samples a report names."""

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
View = npt.NDArray[np.uint8]
"""A crop as the matcher takes it, `fit.size` square, H x W x C."""


@dataclass(frozen=True, kw_only=True)
class MatchSettings:
    """How to match.

    rule: `flism` (FAST-GOAL) chooses among the regions; `lism` (GOAL) has the whole image as one more candidate, and a
        sample whose best pair is with the whole image gets none; `true` chooses among the sentences and boxes that the
        data says belong together, an upper bound for any matcher.
    language: of the captions, for cutting sentences (ISO 639).
    batch: crops or sentences per forward pass; None: 32 on a CPU, where small batches stay in its cache, else 256.
    images: images that the proposer sees at once.
    workers: threads that decode, propose and cut crops while the matcher computes; 0 does all in turn.
    shard_rows: samples per shard: the most that a kill loses.
    overwrite: drop a table that is already in the folder.
    """

    rule: Literal["flism", "lism", "true"] = "flism"
    language: str = "en"
    batch: int | None = None
    images: int = 16
    workers: int = 1
    shard_rows: int = 512
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.rule not in ("flism", "lism", "true"):
            raise ConfigError(f"unknown rule {self.rule!r}", where="rule", mend="Use flism, lism or true.")
        for name, least in {"batch": 1, "images": 1, "workers": 0, "shard_rows": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{value} is too small", where=name, mend=f"Use at least {least}.")


@dataclass(frozen=True, kw_only=True)
class MatchReport:
    """What matching found. Shares are in 0..1; the last five are None where the data gives no true boxes.

    samples, paired: rows of the table, and those with a local pair. skipped: reason -> count; skipped_samples names the
        first ones.
    regions_per_image: mean over readable images. images_per_second, seconds: of this run, without what was already
        done.
    pair_precision: of the samples with a pair (and with truth), the share whose sentence has a true box of which the
        region covers at least 80 % while being at most 30 % of the image. pair_iou50: the same with IoU >= 0.5 instead.
    chance: pair_precision of a random sentence with a random region, as an expectation over all of them.
    proposal_recall: share of the true boxes that some region meets with IoU >= 0.5.
    sources: how many of the judged pairs' regions came from each source.
    """

    samples: int
    paired: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_samples: tuple[Mapping[str, str], ...] = ()
    regions_per_image: float
    images_per_second: float
    seconds: float
    pair_precision: float | None = None
    pair_iou50: float | None = None
    proposal_recall: float | None = None
    chance: float | None = None
    sources: Mapping[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """The `match` result of the contract; without the truth's fields where there was no truth."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def select_pairs(sim_SR: npt.NDArray[np.floating[Any]], visible_S: Bools | None = None) -> list[LocalPair]:
    """Each sentence with its most similar region, most similar pair first.

    Args:
        sim_SR: cosine similarity of every sentence with every region.
        visible_S: sentences within the text limit; the others come last, so that none is first while a visible one
            exists.

    Returns: S pairs (none without regions); equal similarities keep the order of sentences and take the first region.
    """
    if not sim_SR.size:
        return []
    best_S, value_S = sim_SR.argmax(axis=1), sim_SR.max(axis=1)
    hidden_S = np.zeros(len(sim_SR), dtype=bool) if visible_S is None else ~visible_S
    order = np.lexsort((-value_S, hidden_S))  # stable; the last key is the first to count
    return [LocalPair(sentence=int(s), region=int(best_S[s]), similarity=float(value_S[s])) for s in order]


def match(
    source: Source,
    encoder: DualEncoder,
    proposer: Proposer,
    out: str | Path,
    settings: MatchSettings | None = None,
    progress: bool = True,
) -> MatchReport:
    """Write the pairs table of `source` to the folder `out`; run again after an interruption, it continues.

    Args:
        encoder: the matcher; embeds crops and sentences, each alone.
        proposer: gives the candidate regions.
        progress: show a bar on standard error.

    Raises:
        DataError: `out` holds a table made differently (or something else), without `overwrite`.
        ModelError: the matcher's embeddings are not finite.
    """
    settings = settings or MatchSettings()
    origin = Origin(
        data=source.key,
        matcher=encoder.fingerprint,
        detector=fingerprint(proposer),
        settings={"rule": settings.rule, "language": settings.language},
    )
    begin, rows = time.perf_counter(), settings.shard_rows
    with PairsWriter(out, root=source.root, origin=origin, shard_rows=rows, overwrite=settings.overwrite) as writer:
        todo = [sample for sample in source if sample.id not in writer.done]
        with tqdm(total=len(source), initial=len(writer.done), desc="match", disable=not progress) as bar:
            for start in range(0, len(todo), rows):
                for row in match_samples(todo[start : start + rows], source.root, encoder, proposer, settings, bar):
                    writer.add(row)
    seconds = time.perf_counter() - begin
    truth = {sample.id: sample.regions for sample in source if sample.regions}
    return summarise(PairsTable.open(out), truth, images=len({sample.image for sample in todo}), seconds=seconds)


_IRRELEVANT = frozenset({"name", "device", "batch"})  # of a proposer: where it came from and how fast it runs


def fingerprint(thing: object) -> str:
    """What a proposer's regions depend on, readable: `Type(setting=value, ...)`, with a hash for a model's weights."""
    if isinstance(own := getattr(thing, "fingerprint", None), str):
        return own
    if isinstance(thing, torch.nn.Module):
        digest = hashlib.sha256()
        for name, tensor in thing.state_dict().items():
            digest.update(name.encode() + tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return f"{type(thing).__name__}({digest.hexdigest()[:16]})"
    if isinstance(thing, list | tuple):
        return f"[{', '.join(map(fingerprint, thing))}]"
    if hasattr(thing, "to_dict"):  # an image processor of transformers
        return f"{type(thing).__name__}({json.dumps(thing.to_dict(), sort_keys=True, default=str)})"
    if is_dataclass(thing) or not hasattr(thing, "__dict__"):
        return repr(thing)
    kept = {name: value for name, value in vars(thing).items() if name not in _IRRELEVANT}
    return f"{type(thing).__name__}({', '.join(f'{name}={fingerprint(value)}' for name, value in kept.items())})"


def match_samples(
    samples: Sequence[Sample],
    root: Path,
    encoder: DualEncoder,
    proposer: Proposer,
    settings: MatchSettings,
    bar: "tqdm[Any] | None" = None,
) -> list[PairsRow]:
    """The rows of some samples, in their order: each image is decoded once, however many captions it has."""
    count = Counter(map(_picture, samples))
    first = {_picture(sample): sample for sample in reversed(samples)}
    looks: list[_Look] = []

    def views() -> Iterator[View]:
        for look in _look_ahead([first[picture] for picture in count], root, encoder.fit, proposer, settings):
            looks.append(replace(look, views=()))  # the regions stay, the pixels go
            yield from look.views
            if bar is not None:
                bar.update(count[_picture(look.sample)])

    batch = settings.batch or (32 if encoder.device.type == "cpu" else 256)
    crops_ND = embed_images(encoder, views(), batch=batch)
    per_look = _cut(crops_ND, [look.candidates for look in looks])
    seen = {_picture(look.sample): (look, crops_CD) for look, crops_CD in zip(looks, per_look, strict=True)}
    spans = [split_sentences(sample.caption, settings.language) for sample in samples]
    texts = [s.caption[start:end] for s, own in zip(samples, spans, strict=True) for start, end in own]
    texts_ND, _ = embed_texts(encoder, texts, batch=batch)
    per_sample = _cut(texts_ND, [len(own) for own in spans])
    return [
        _row(sample, own, *seen[_picture(sample)], texts_SD, settings.rule)
        for sample, own, texts_SD in zip(samples, spans, per_sample, strict=True)
    ]


def _picture(sample: Sample) -> tuple[object, ...]:
    """Samples that agree in this share their candidates: one image, with the same boxes where the boxes were given."""
    return sample.image, *((region.box, region.label) for region in sample.regions)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """One image as the matcher sees it. `candidates` counts the views: the regions, then the whole image if asked."""

    sample: Sample
    width: int = 0
    height: int = 0
    regions: tuple[Region, ...] = ()
    views: tuple[View, ...] = ()
    candidates: int = 0
    skip: str | None = None


def _look_ahead(
    samples: Sequence[Sample], root: Path, fit: ImageFit, proposer: Proposer, settings: MatchSettings
) -> Iterator[_Look]:
    """Looks in the samples' order. Threads work a few groups ahead, as Pillow, NumPy and torch release the GIL."""
    whole = settings.rule == "lism"
    groups = [samples[i : i + settings.images] for i in range(0, len(samples), settings.images)]
    if settings.workers == 0:
        for group in groups:
            yield from _look(group, root, fit, proposer, whole)
        return
    with ThreadPoolExecutor(settings.workers) as pool:
        ahead: deque[Future[list[_Look]]] = deque()
        try:
            for group in groups:
                ahead.append(pool.submit(_look, group, root, fit, proposer, whole))
                if len(ahead) > settings.workers:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _look(samples: Sequence[Sample], root: Path, fit: ImageFit, proposer: Proposer, whole: bool) -> list[_Look]:
    opened = [_open(root / sample.image) for sample in samples]
    readable = [(s, pixels) for s, pixels in zip(samples, opened, strict=True) if not isinstance(pixels, str)]
    proposed = propose_for(proposer, [s for s, _ in readable], [pixels for _, pixels in readable]) if readable else []
    cropped = (_crop(*item, regions, fit, whole) for item, regions in zip(readable, proposed, strict=True))
    return [
        _Look(sample=sample, skip=pixels) if isinstance(pixels, str) else next(cropped)
        for sample, pixels in zip(samples, opened, strict=True)
    ]


def _crop(sample: Sample, pixels: Image.Image, regions: Sequence[Region], fit: ImageFit, whole: bool) -> _Look:
    boxes = [region.box for region in regions] + [None] * whole
    return _Look(
        sample=sample,
        width=pixels.width,
        height=pixels.height,
        regions=tuple(regions),
        views=tuple(fit_pixels(pixels, fit, box) for box in boxes),
        candidates=len(boxes),
    )


def _open(path: Path) -> Image.Image | str:
    """The upright image, or the reason why there is none."""
    try:
        return read_image(path)
    except DataError as error:
        return error.what


def _cut(rows_ND: Floats, sizes: Sequence[int]) -> list[Floats]:
    return np.split(rows_ND, np.cumsum(sizes)[:-1]) if sizes else []


def _row(
    sample: Sample, sentences: Sequence[Span], look: _Look, crops_CD: Floats, texts_SD: Floats, rule: str
) -> PairsRow:
    sim_SC = texts_SD @ crops_CD.T
    if not np.isfinite(sim_SC).all():
        mend = "Check the matcher's weights."
        raise ModelError("the matcher's embeddings are not finite", where=f"sample {sample.id}", mend=mend)
    return PairsRow(
        id=sample.id,
        image=sample.image,
        width=look.width,
        height=look.height,
        caption=sample.caption,
        sentences=tuple(sentences),
        regions=look.regions,
        pairs=tuple(_pairs(sim_SC, _known_SR(sample, sentences, look.regions) if rule == "true" else None, look)),
        skip=look.skip,
    )


def _pairs(sim_SC: Floats, known_SR: Bools | None, look: _Look) -> list[LocalPair]:
    """The pairs that the rule allows; `known_SR` says which are the truth, where only they are allowed."""
    if known_SR is None:
        return _without_whole(select_pairs(sim_SC), len(look.regions))
    kept = np.flatnonzero(known_SR.any(axis=1))
    pairs = select_pairs(np.where(known_SR, sim_SC, -np.inf)[kept])
    return [replace(pair, sentence=int(kept[pair.sentence])) for pair in pairs]


def _known_SR(sample: Sample, sentences: Sequence[Span], regions: Sequence[Region]) -> Bools:
    """Which sentences speak of which regions, as the given boxes and their spans say; a box is its nearest region."""
    known_SR = np.zeros((len(sentences), len(regions)), dtype=bool)
    if regions and sample.regions:
        boxes = [given.box for given in sample.regions], [region.box for region in regions]
        for about_S, nearest in zip(
            _about(sentences, sample.regions).T, iou_matrix(*boxes).argmax(axis=1), strict=True
        ):
            known_SR[:, nearest] |= about_S
    return known_SR


def _without_whole(pairs: list[LocalPair], whole: int) -> list[LocalPair]:
    """GOAL's rule: no pair at all if the best is with the whole image (candidate `whole`), and never one with it."""
    return [] if pairs and pairs[0].region == whole else [pair for pair in pairs if pair.region != whole]


def summarise(
    rows: Iterable[PairsRow], truth: Mapping[str, Sequence[GivenRegion]], *, images: int = 0, seconds: float = 0.0
) -> MatchReport:
    """Count a table's rows, and judge their pairs where true boxes are known.

    Args:
        truth: the given regions of a sample, by its id; a sample without any is counted but not judged.
        images, seconds: images read in this run, and how long it took.
    """
    rows = list(rows)
    skipped = [row for row in rows if row.skip is not None]
    readable = max(1, len(rows) - len(skipped))
    return MatchReport(
        samples=len(rows),
        paired=sum(bool(row.pairs) for row in rows),
        skipped=dict(Counter(str(row.skip) for row in skipped)),
        skipped_samples=tuple({"id": row.id, "image": row.image, "reason": str(row.skip)} for row in skipped[:NAMED]),
        regions_per_image=sum(len(row.regions) for row in rows) / readable,
        images_per_second=images / seconds if seconds else 0.0,
        seconds=seconds,
        **_judge([(row, truth[row.id]) for row in rows if truth.get(row.id) and row.skip is None]),
    )


def _judge(known: Sequence[tuple[PairsRow, Sequence[GivenRegion]]]) -> dict[str, Any]:
    """The report's fields that need truth. A pair is judged where some sentence of its sample has a true box."""
    if not known:
        return {}
    iou_RT = [iou_matrix([r.box for r in row.regions], [t.box for t in given]) for row, given in known]
    found = [row_RT.max(axis=0, initial=0) >= 0.5 for row_RT in iou_RT]
    judged = [
        (row, _about(row.sentences, given), _right(row, given), row_RT >= 0.5)
        for (row, given), row_RT in zip(known, iou_RT, strict=True)
        if row.pairs and any(t.span for t in given)
    ]
    recall = {"proposal_recall": float(np.concatenate(found).mean())}
    if not judged:
        return recall
    hits = [(about_ST @ right_RT.T, about_ST @ close_RT.T) for _, about_ST, right_RT, close_RT in judged]
    best = [(row.pairs[0].sentence, row.pairs[0].region) for row, *_ in judged]
    return recall | {
        "pair_precision": float(np.mean([right_SR[pair] for (right_SR, _), pair in zip(hits, best, strict=True)])),
        "pair_iou50": float(np.mean([close_SR[pair] for (_, close_SR), pair in zip(hits, best, strict=True)])),
        "chance": float(np.mean([right_SR.mean() for right_SR, _ in hits])),
        "sources": dict(Counter(row.regions[row.pairs[0].region].source for row, *_ in judged)),
    }


def _about(sentences: Sequence[Span], given: Sequence[GivenRegion]) -> Bools:
    """S x T: the sentence shares a character with what the true box is the truth of."""
    spans = [t.span or (0, 0) for t in given]
    return np.array([[max(a, c) < min(b, d) for c, d in spans] for a, b in sentences], dtype=bool)


def _right(row: PairsRow, given: Sequence[GivenRegion]) -> Bools:
    """R x T: the region covers enough of the true box while not being most of the image."""
    most = AT_MOST * row.width * row.height
    return np.array(
        [[area(r.box) <= most and covered(t.box, r.box) >= COVERED for t in given] for r in row.regions], dtype=bool
    )
