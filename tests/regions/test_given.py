"""Boxes that come with the samples."""

import pytest
from PIL import Image

from fastgoal.data.samples import GivenRegion, Sample
from fastgoal.errors import ConfigError
from fastgoal.regions import GivenRegions

IMAGE = Image.new("RGB", (100, 50))


def sample(*boxes):
    regions = tuple(GivenRegion(box=box, label=f"thing {i}") for i, box in enumerate(boxes))
    return Sample(id="a", image="a.jpg", caption="Things.", regions=regions)


def test_boxes_keep_order_and_label_and_become_whole_pixels():
    first, second = GivenRegions().propose_for(
        [sample((60, 5, 140.5, 20.2), (-9, 0, -1, 9), (1, 1, 2, 2)), sample()], [IMAGE] * 2
    )
    assert [(r.box, r.label, r.source, r.score) for r in first] == [
        ((60, 5, 100, 21), "thing 0", "given", 1.0),
        ((1, 1, 2, 2), "thing 2", "given", 1.0),
    ]
    assert second == []


def test_images_alone_are_refused():
    with pytest.raises(ConfigError, match="samples"):
        GivenRegions().propose([IMAGE])
