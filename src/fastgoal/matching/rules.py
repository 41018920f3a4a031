"""The rules by which sentences and regions become local pairs.

FAST-GOAL's rule (arXiv 2605.26615, after GOAL's LISM, arXiv 2503.17782): every sentence takes its most similar region,
and the most similar of these pairs is the sample's local pair.

Shapes: S sentences, R regions, C candidates (the regions, and with LISM's rule the whole image last), T given boxes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastgoal.data.samples import GivenRegion, Span
from fastgoal.geometry import iou_matrix
from fastgoal.pairs import LocalPair
from fastgoal.regions.region import Region

Rule = Literal["flism", "lism", "true"]
SAME = 0.5
"""IoU from which a region counts as a given box: rounding outward changes a box of a few pixels a good deal."""
Bools = npt.NDArray[np.bool_]
Similarities = npt.NDArray[np.floating[Any]]


def usual_rule(regions: str) -> Rule:
    """The rule that goes with regions of this name where none is asked for: LISM's masks with LISM's rule."""
    return "lism" if regions == "lism" else "flism"


def select_pairs(sim_SR: Similarities, visible_S: Bools | None = None) -> list[LocalPair]:
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


def without_whole(pairs: Sequence[LocalPair], whole: int) -> list[LocalPair]:
    """GOAL's rule: no pair at all if the best is with the whole image (candidate `whole`), and never one with it."""
    return [] if pairs and pairs[0].region == whole else [pair for pair in pairs if pair.region != whole]


def allowed_pairs(sim_SC: Similarities, allowed_SC: Bools) -> list[LocalPair]:
    """As `select_pairs`, among the sentences and candidates that may be together; a sentence without any has none."""
    kept = np.flatnonzero(allowed_SC.any(axis=1))
    pairs = select_pairs(np.where(allowed_SC, sim_SC, -np.inf)[kept])
    return [replace(pair, sentence=int(kept[pair.sentence])) for pair in pairs]


def known_pairs(sentences: Sequence[Span], given: Sequence[GivenRegion], regions: Sequence[Region]) -> Bools:
    """S x R: the sentence speaks of the region, as the given boxes and their spans say; a box is its nearest region."""
    known_SR = np.zeros((len(sentences), len(regions)), dtype=bool)
    if regions and given:
        iou_TR = iou_matrix([g.box for g in given], [r.box for r in regions])
        for about_S, iou_R in zip(about(sentences, given).T, iou_TR, strict=True):
            if iou_R.max() >= SAME:
                known_SR[:, iou_R.argmax()] |= about_S
    return known_SR


def about(sentences: Sequence[Span], given: Sequence[GivenRegion]) -> Bools:
    """S x T: the sentence shares a character with what the given box is the truth of."""
    spans = [g.span or (0, 0) for g in given]
    shared = [[max(a, c) < min(b, d) for c, d in spans] for a, b in sentences]
    return np.array(shared, dtype=bool).reshape(len(sentences), len(given))
