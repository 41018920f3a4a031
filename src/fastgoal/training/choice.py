"""Which local pairs of a sample take part in training, and how much each counts.

The papers train on the single best pair. Several pairs are FAST-GOAL's ablation (Table VIII), with two ways of sharing
the sample's weight; whichever it is, a sample counts once, however many pairs it brings. A sentence beyond the text
limit is passed over while a visible one exists, in every method alike, so that methods are compared on the same pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from fastgoal.pairs import LocalPair, PairsRow


@dataclass(frozen=True, kw_only=True)
class PairChoice:
    """count: pairs of a sample at most. weights: how they share its weight. in_image_negatives: whether regions of one
    image are negatives of each other's sentences."""

    count: int = 1
    weights: Literal["uniform", "similarity"] = "uniform"
    in_image_negatives: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A local pair in a batch: that of sample `row`, its `slot`-th, and its share of the sample's weight."""

    row: int
    slot: int
    pair: LocalPair
    weight: float


def choose(rows: Sequence[PairsRow], reach_B: Sequence[int], choice: PairChoice) -> list[Chosen]:
    """The pairs of a batch, sample by sample, best first.

    Args:
        reach_B: character of each caption at which the text limit cuts it.
    """
    chosen = []
    for row, (sample, reach) in enumerate(zip(rows, reach_B, strict=True)):
        pairs = visible_pairs(sample, reach, choice.count)
        for slot, (pair, weight) in enumerate(zip(pairs, _weights(pairs, choice), strict=True)):
            chosen.append(Chosen(row=row, slot=slot, pair=pair, weight=weight))
    return chosen


def visible_pairs(row: PairsRow, reach: int, count: int = 1) -> list[LocalPair]:
    """The best `count` pairs whose sentence begins before character `reach`; without any, the best pair."""
    visible = (pair for pair in row.pairs if row.sentences[pair.sentence][0] < reach)
    return list(islice(visible, count)) or list(row.pairs[:1])


def _weights(pairs: Sequence[LocalPair], choice: PairChoice) -> list[float]:
    similarity = [max(0.0, pair.similarity) for pair in pairs]
    if choice.weights == "uniform" or not any(similarity):
        return [1 / len(pairs) for _ in pairs]
    return [value / sum(similarity) for value in similarity]
