"""The stages behind every source of regions, on boxes made by hand."""

import numpy as np
import pytest

from fastgoal.errors import ConfigError
from fastgoal.regions.select import Limits, select, whole_pixels


def test_boxes_are_clipped_and_rounded_outward():
    boxes = [
        (10.2, 9.9, 20.1, 30.0),
        (-5, -0.1, 3, 300),
        (90, 40, 120, 70),
        (200, 200, 300, 300),
        (5.00001, 6, 16.99999, 8),
    ]
    expected = [[10, 9, 21, 30], [0, 0, 3, 50], [90, 40, 100, 50], [100, 50, 100, 50], [5, 6, 17, 8]]
    assert whole_pixels(boxes, 100, 50).tolist() == expected


def test_every_stage_drops_what_it_should():
    boxes = [
        (0, 0, 50, 50),  # 0: kept, second
        (0, 0, 50, 52),  # 1: nearly the same and worse
        (0, 0, 100, 90),  # 2: 90 % of the image
        (0, 0, 9, 11),  # 3: 0.99 %
        (60, 60, 70, 70),  # 4: exactly 1 %, kept, best
        (0, 90, 100, 100),  # 5: beyond the cap
        (np.nan, 0, 50, 50),  # 6: not a box
        (120, 0, 150, 50),  # 7: outside
        (30, 80, 30, 90),  # 8: empty
    ]
    scores = [0.8, 0.7, 0.99, 0.98, 0.9, 0.1, 1.0, 1.0, 1.0]
    kept = select(boxes, scores, 100, 100, Limits(min_area=0.01, max_area=0.8, max_regions=2))
    assert kept == [((60, 60, 70, 70), 4), ((0, 0, 50, 50), 0)]
    assert select(np.zeros((0, 4)), [], 100, 100, Limits()) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [("min_area", 0.9), ("max_area", 1.2), ("nms_iou", 1.5), ("max_regions", 0), ("min_area", -0.1)],
)
def test_limits_out_of_range_are_named(setting, value):
    with pytest.raises(ConfigError) as caught:
        Limits(**{setting: value})
    assert setting in caught.value.where
    assert str(value) in caught.value.what
