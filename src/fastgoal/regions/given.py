"""Regions that came with the data: the boxes of a sample, as candidates like any other."""

from collections.abc import Hashable, Sequence

from PIL import Image

from fastgoal.data.samples import Sample
from fastgoal.errors import ConfigError
from fastgoal.regions.region import Region
from fastgoal.regions.select import as_box, whole_pixels


class GivenRegions:
    """The boxes of the samples themselves; needs the samples, so `propose_for` takes them along with their images."""

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        """Refused: an image alone does not know its boxes.

        Raises:
            ConfigError: always, unless there is no image.
        """
        if images:
            mend = "Choose --regions proposals or detector for images without samples."
            raise ConfigError("given regions come with samples, not with images", where="regions", mend=mend)
        return []

    def propose_for(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[list[Region]]:
        """Each sample's boxes in its own order, clipped and rounded outward to whole pixels; empty ones are dropped."""
        pairs = zip(samples, images, strict=True)
        return [_regions(sample, image.width, image.height) for sample, image in pairs]

    def reads(self, sample: Sample) -> Hashable:
        return tuple((region.box, region.label) for region in sample.regions)


def _regions(sample: Sample, width: int, height: int) -> list[Region]:
    whole_N4 = whole_pixels([region.box for region in sample.regions], width, height)
    return [
        Region(box=as_box(box_4), source="given", label=region.label)
        for region, box_4 in zip(sample.regions, whole_N4, strict=True)
        if box_4[0] < box_4[2] and box_4[1] < box_4[3]
    ]
