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
from fastgoal.matching.rules import about
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
    """What matching found. Shares are in 0..1; the last five are None where the data gives no true boxes.

    samples, paired: rows of the table, and those with a local pair. skipped: reason -> count, of rows whose image could
        not be read and of entries that could not become rows; skipped_samples names the first ones.
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


def summarise(
    rows: Iterable[PairsRow],
    truth: Mapping[str, Sequence[GivenRegion]],
    problems: Problems | None = None,
    *,
    images: int = 0,
    seconds: float = 0.0,
) -> MatchReport:
    """Count a table's rows, and judge their pairs where true boxes are known.

    Args:
        truth: the given regions of a sample, by its id; a sample without any is counted but not judged.
        problems: entries of the data that could not become samples; they count as skipped too.
        images, seconds: images read in this run, and how long it took.
    """
    rows = list(rows)
    skipped = [row for row in rows if row.skip is not None]
    readable = max(1, len(rows) - len(skipped))
    left_out = problems or Problems()
    named = [{"id": row.id, "where": row.image, "reason": str(row.skip)} for row in skipped[:NAMED]]
    named += [{"where": str(problem.where), "reason": problem.what} for problem in left_out.first]
    return MatchReport(
        samples=len(rows),
        paired=sum(bool(row.pairs) for row in rows),
        skipped=dict(Counter(str(row.skip) for row in skipped) + Counter(left_out.counts)),
        skipped_samples=tuple(named),
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
        (row, about(row.sentences, given), _right(row, given), row_RT >= 0.5)
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


def _right(row: PairsRow, given: Sequence[GivenRegion]) -> Bools:
    """R x T: the region covers enough of the true box while not being most of the image."""
    most = AT_MOST * row.width * row.height
    return np.array(
        [[area(r.box) <= most and covered(t.box, r.box) >= COVERED for t in given] for r in row.regions], dtype=bool
    )
