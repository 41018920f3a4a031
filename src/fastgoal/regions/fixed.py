"""Five boxes that every image has: FAST-GOAL's quadrants and centre.

They cost nothing and catch what no detector names ("the sky above"); the paper reports 3 to 5 points of R@1 for them.
Source: FAST-GOAL (arXiv 2605.26615), FLISM.
"""

from collections.abc import Sequence

from PIL import Image

from fastgoal.regions.region import Region
from fastgoal.regions.select import as_box, whole_pixels


class FixedRegions:
    """The four quadrants and the centre box `[W/4, H/4, 3W/4, 3H/4]`, rounded outward to whole pixels."""

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        return [_five(image.width, image.height) for image in images]


def _five(width: int, height: int) -> list[Region]:
    middle, centre = width / 2, height / 2
    boxes_54 = [
        (0, 0, middle, centre),
        (middle, 0, width, centre),
        (0, centre, middle, height),
        (middle, centre, width, height),
        (width / 4, height / 4, 3 * width / 4, 3 * height / 4),
    ]
    return [Region(box=as_box(box_4), source="fixed") for box_4 in whole_pixels(boxes_54, width, height)]
