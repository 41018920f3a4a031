"""Several sources of regions as one, and the names the command line gives to the usual combinations."""

from collections.abc import Callable, Sequence

import torch
from PIL import Image

from fastgoal.data.samples import Sample
from fastgoal.errors import ConfigError
from fastgoal.regions.detector import DetectorRegions
from fastgoal.regions.fixed import FixedRegions
from fastgoal.regions.given import GivenRegions
from fastgoal.regions.proposals import ProposalRegions
from fastgoal.regions.region import Proposer, Region

DEFAULT_DETECTOR = "hustvl/yolos-base"
"""Fits the one size FAST-GOAL states for its detector (127.8 M parameters)."""


class Combined:
    """The regions of several sources, in the order of the sources; of identical boxes only the first stays."""

    def __init__(self, proposers: Sequence[Proposer]) -> None:
        self.proposers = tuple(proposers)

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        return _merge([proposer.propose(images) for proposer in self.proposers], len(images))

    def propose_for(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[list[Region]]:
        return _merge([propose_for(proposer, samples, images) for proposer in self.proposers], len(images))


def propose_for(proposer: Proposer, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[list[Region]]:
    """Regions for samples whose images are already decoded, from any proposer, `GivenRegions` included."""
    if isinstance(proposer, (GivenRegions, Combined)):
        return proposer.propose_for(samples, images)
    return proposer.propose(images)


def _merge(lists: Sequence[list[list[Region]]], count: int) -> list[list[Region]]:
    merged: list[list[Region]] = []
    for index in range(count):
        first_of_box: dict[object, Region] = {}
        for regions in lists:
            for region in regions[index]:
                first_of_box.setdefault(region.box, region)
        merged.append(list(first_of_box.values()))
    return merged


def make_proposer(name: str, *, detector: str | None = None, device: str | torch.device = "cpu") -> Proposer:
    """The proposer of a name that the command line knows.

    Args:
        name: `flism` (FAST-GOAL: a detector, or proposals where none is named, with the fixed boxes), `detector`,
            `proposals`, `fixed` or `given`.
        detector: local folder or hub id of a detector; `detector` alone takes `DEFAULT_DETECTOR`.
        device: where the detector runs.

    Raises:
        ConfigError: there is no such name.
        ModelError: the detector cannot be loaded.
    """

    def detect(model: str) -> Proposer:
        return DetectorRegions(model, device=device)

    known: dict[str, Callable[[], Proposer]] = {
        "flism": lambda: Combined([detect(detector) if detector else ProposalRegions(), FixedRegions()]),
        "detector": lambda: detect(detector or DEFAULT_DETECTOR),
        "proposals": ProposalRegions,
        "fixed": FixedRegions,
        "given": GivenRegions,
    }
    if name not in known:
        raise ConfigError(
            f"there are no regions called {name!r}", where="regions", mend=f"Choose one of {', '.join(known)}."
        )
    return known[name]()
