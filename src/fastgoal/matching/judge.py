"""How good a table's pairs are: counts, and precision where the data comes with true boxes.

Shapes: S sentences, R regions, T true boxes of one sample.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgoal.data.samples import GivenRegion
from fastgoal.data.source import Problems
from fastgoal.geometry import area, covered, iou_matrix
from fastgoal.matching.rules import Rule, about
from fastgoal.pairs import PairsRow

COVERED = 0.8
"""A region is right for a true box if it covers this share of it ..."""
AT_MOST = 0.3
"""... while being at most this share of the image."""
NAMED = 20
"""How many skipped samples a report names."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class MatchReport:
    """What matching found. Shares are in 0..1; those from `pair_precision` to `sources` are None where
    the data gives no true boxes.

    samples, paired: rows of the table, and those with a local pair. skipped: reason -> count, of rows whose image could
        not be read and of entries that could not become rows; skipped_samples names the first ones.
    unpaired: reason -> count, of readable rows without a local pair. These are no errors: a caption without a sentence,
        an image without a region, GOAL's rule that a winning whole image discards the sample.
    stages: how many candidates were left after each filter of the source of regions, in this run, where it counts them.
    embeddings: with a cache, how many were `found` there and `made` in this run.
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
    unpaired: Mapping[str, int] = field(default_factory=dict)
    regions_per_image: float
    images_per_second: float
    seconds: float
    pair_precision: float | None = None
    pair_iou50: float | None = None
    proposal_recall: float | None = None
    chance: float | None = None
    sources: Mapping[str, int] | None = None
    stages: Mapping[str, int] | None = None
    embeddings: Mapping[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """The `match` result of the contract; without the truth's fields where there was no truth."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def summarise(
    rows: Iterable[PairsRow],
    truth: Mapping[str, Sequence[GivenRegion]],
    problems: Problems | None = None,
    *,
    rule: Rule = "flism",
    images: int = 0,
    seconds: float = 0.0,
) -> MatchReport:
    """Count a table's rows, and judge their pairs where true boxes are known.

    Args:
        truth: the given regions of a sample, by its id; a sample without any is counted but not judged.
        problems: entries of the data that could not become samples; they count as skipped too.
        rule: by which the pairs were chosen, for the reasons why a row has none.
        images, seconds: images read in this run, and how long it took.
    """
    left_out, judged = problems or Problems(), list[tuple[PairsRow, Sequence[GivenRegion]]]()
    samples = paired = regions = 0
    skipped, unpaired, named = Counter[str](), Counter[str](), list[dict[str, str]]()
    for row in rows:  # once, and none is kept but those that are judged: a table may be larger than memory
        samples += 1
        paired += bool(row.pairs)
        regions += len(row.regions)
        if row.skip is not None:
            skipped[row.skip] += 1
            named += [{"id": row.id, "where": row.image, "reason": row.skip}] * (len(named) < NAMED)
        else:
            unpaired.update([] if row.pairs else [_why_none(row, rule)])
            judged += [(row, truth[row.id])] if truth.get(row.id) else []
    named += [{"where": str(problem.where), "reason": problem.what} for problem in left_out.first]
    return MatchReport(
        samples=samples,
        paired=paired,
        skipped=dict(skipped + Counter(left_out.counts)),
        skipped_samples=tuple(named),
        unpaired=dict(unpaired),
        regions_per_image=regions / max(1, samples - skipped.total()),
        images_per_second=images / seconds if seconds else 0.0,
        seconds=seconds,
        **_judge(judged),
    )


_NO_PAIR: Mapping[Rule, str] = {
    "flism": "no region within the matcher's sight",
    "lism": "whole image won",
    "true": "no sentence is known to speak of a region",
}
"""Why sentences and regions make no pair."""


def _why_none(row: PairsRow, rule: Rule) -> str:
    if not row.sentences:
        return "no sentence"
    if not row.regions:
        return "no region"
    return _NO_PAIR[rule]


def precision(
    rows: Iterable[PairsRow], truth: Mapping[str, Sequence[GivenRegion]], top: int = 1
) -> tuple[float, float] | None:
    """How many of the first `top` pairs of every judged sample are right: `pair_precision` for 1, and beyond.

    Args:
        truth: the given regions of a sample, by its id.
        top: pairs per sample, best first; a sample with fewer counts with those it has.

    Returns: the share over all these pairs that is right, and the same with IoU >= 0.5; None where nothing is judged.
    """
    judged = [_Judged.of(row, truth[row.id]) for row in rows if truth.get(row.id) and row.skip is None]
    return _precision([one for one in judged if one.counts], top)


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """A row beside its truth. right_SR, close_SR: the sentence has a true box for which the region is right (or has IoU
    >= 0.5). found_T: some region has IoU >= 0.5 with the true box. counts: its pairs are judged."""

    row: PairsRow
    right_SR: Bools
    close_SR: Bools
    found_T: Bools
    counts: bool

    @classmethod
    def of(cls, row: PairsRow, given: Sequence[GivenRegion]) -> "_Judged":
        iou_RT = iou_matrix([r.box for r in row.regions], [t.box for t in given])
        close_RT: Bools = iou_RT >= 0.5
        about_ST = about(row.sentences, given)
        return cls(
            row=row,
            right_SR=about_ST @ _right(row, given).reshape(close_RT.shape).T,
            close_SR=about_ST @ close_RT.T,
            found_T=iou_RT.max(axis=0, initial=0) >= 0.5,
            counts=bool(row.pairs) and any(t.span for t in given),
        )


def _precision(judged: Sequence[_Judged], top: int) -> tuple[float, float] | None:
    first = [(one, (pair.sentence, pair.region)) for one in judged for pair in one.row.pairs[:top]]
    if not first:
        return None
    right, close = ([one.right_SR[p] for one, p in first], [one.close_SR[p] for one, p in first])
    return float(np.mean(right)), float(np.mean(close))


def _judge(known: Sequence[tuple[PairsRow, Sequence[GivenRegion]]]) -> dict[str, Any]:
    """The report's fields that need truth. A pair is judged where some sentence of its sample has a true box."""
    if not known:
        return {}
    every = [_Judged.of(row, given) for row, given in known]
    judged = [one for one in every if one.counts]
    recall = {"proposal_recall": float(np.concatenate([one.found_T for one in every]).mean())}
    best = _precision(judged, 1)
    if best is None:
        return recall
    return recall | {
        "pair_precision": best[0],
        "pair_iou50": best[1],
        "chance": float(np.mean([one.right_SR.mean() for one in judged])),
        "sources": dict(Counter(one.row.regions[one.row.pairs[0].region].source for one in judged)),
    }


def _right(row: PairsRow, given: Sequence[GivenRegion]) -> Bools:
    """R x T: the region covers enough of the true box while not being most of the image."""
    most = AT_MOST * row.width * row.height
    return np.array(
        [[area(r.box) <= most and covered(t.box, r.box) >= COVERED for t in given] for r in row.regions], dtype=bool
    )
