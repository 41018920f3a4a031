"""The picture of a blend curve draws the points it was given."""

import io

import numpy as np
from PIL import Image

from fastgoal.report.tradeoff import labelled, tradeoff_png


def points(short_at_one):
    def change(long, short):
        ends = lambda middle: {"difference": middle, "ci95": [middle - 2, middle + 2]}  # noqa: E731
        return {kind: dict.fromkeys(("t2i R@1", "i2t R@1"), ends(m)) for kind, m in (("long", long), ("short", short))}

    return [
        {"alpha": 0.0, "change": change(0, 0)},
        {"alpha": 0.5, "change": change(5, 1)},
        {"alpha": 1.0, "change": change(7, short_at_one)},
    ]


def drawn(made):
    return np.asarray(Image.open(io.BytesIO(tradeoff_png(made, title="From a to b"))).convert("RGB")).astype(int)


def test_it_is_the_same_for_the_same_points_and_another_for_others():
    first, again, other = drawn(points(-6)), drawn(points(-6)), drawn(points(3))
    assert (first == again).all()
    assert first.shape == other.shape
    assert (first != other).any()
    blue, orange = np.abs(first - [27, 108, 168]).sum(-1) < 20, np.abs(first - [194, 87, 26]).sum(-1) < 20
    assert blue.sum() > 200
    assert orange.sum() > 200


def test_labels_that_would_cover_each_other_are_left_out_but_not_the_ends():
    assert labelled([0, 1, 2, 3], [0, 1, 2, 3]) == [3, 0, 2, 1]
    assert labelled([0, 5, 9.9, 10], [0, 5, 9.9, 10]) == [3, 0, 1]
    assert labelled([0, 0], [0, 0]) == [1]
