"""Which pairs take part, and their weights, by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fastgoal.pairs import LocalPair, PairsTable
from fastgoal.training.choice import PairChoice, choose, visible_pairs

WriteTable = Callable[..., PairsTable]


def test_the_best_visible_pairs_are_taken(write_table: WriteTable) -> None:
    row = write_table()[0]
    far = len(row.caption)
    assert visible_pairs(row, far) == [row.pairs[0]]  # its sentence is the last one
    assert visible_pairs(row, row.sentences[2][0]) == [row.pairs[1]]
    assert visible_pairs(row, 0) == visible_pairs(row, 0, count=3) == [row.pairs[0]]
    assert visible_pairs(row, far, count=2) == list(row.pairs[:2])
    assert visible_pairs(row, far, count=99) == list(row.pairs)
    assert visible_pairs(replace(row, pairs=()), 10, count=2) == []


@pytest.mark.parametrize(
    ("similarities", "weights", "shares"),
    [
        ((0.3, 0.1), "uniform", [0.5, 0.5]),
        ((0.3, 0.1), "similarity", [0.75, 0.25]),
        ((0.3, -0.1), "similarity", [1, 0]),
        ((-0.2, -0.3), "similarity", [0.5, 0.5]),
        ((0.2,), "similarity", [1]),
    ],
)
def test_a_sample_counts_once(write_table: WriteTable, similarities, weights, shares) -> None:
    row = write_table()[0]
    row = replace(row, pairs=tuple(LocalPair(sentence=i, region=0, similarity=s) for i, s in enumerate(similarities)))
    chosen = choose([row, row], [999, 999], PairChoice(count=2, weights=weights))
    assert [own.weight for own in chosen] == pytest.approx(shares * 2)
    assert [(own.row, own.slot) for own in chosen] == [(r, s) for r in (0, 1) for s in range(len(shares))]
