"""FAST-GOAL's five boxes."""

from PIL import Image

from fastgoal.regions import FixedRegions


def test_quadrants_and_centre():
    (regions,) = FixedRegions().propose([Image.new("RGB", (80, 40))])
    assert [r.box for r in regions] == [
        (0, 0, 40, 20),
        (40, 0, 80, 20),
        (0, 20, 40, 40),
        (40, 20, 80, 40),
        (20, 10, 60, 30),
    ]
    assert {(r.source, r.score, r.label) for r in regions} == {("fixed", 1.0, None)}


def test_odd_sizes_round_outward_and_cover_the_image():
    odd, one = FixedRegions().propose([Image.new("RGB", (7, 5)), Image.new("RGB", (1, 1))])
    assert [r.box for r in odd] == [(0, 0, 4, 3), (3, 0, 7, 3), (0, 2, 4, 5), (3, 2, 7, 5), (1, 1, 6, 4)]
    assert {r.box for r in one} == {(0, 0, 1, 1)}
