"""Several sources of regions as one, and the names the command line gives to the usual combinations."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

import torch
from PIL import Image

from fastgoal.data.samples import Sample
from fastgoal.errors import ConfigError
from fastgoal.regions.detector import DetectorRegions
from fastgoal.regions.fixed import FixedRegions
from fastgoal.regions.given import GivenRegions
from fastgoal.regions.open_vocabulary import DEFAULT_OPEN_VOCABULARY, OpenVocabularyRegions
from fastgoal.regions.proposals import ProposalRegions
from fastgoal.regions.region import Proposer, Region, Staged, propose_for, reads
from fastgoal.regions.sam import DEFAULT_SAM, SamRegions

DEFAULT_DETECTOR = "hustvl/yolos-base"
"""Fits the one size FAST-GOAL states for its detector (127.8 M parameters)."""
_TAKE_DETECTOR = ("flism", "detector", "open-vocabulary")
_TAKE_SAM = ("lism",)


class Combined:
    """The regions of several sources, in the order of the sources; of identical boxes only the first stays."""

    def __init__(self, proposers: Sequence[Proposer]) -> None:
        self.proposers = tuple(proposers)

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        return _merge([proposer.propose(images) for proposer in self.proposers], len(images))

    def propose_for(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[list[Region]]:
        return _merge([propose_for(proposer, samples, images) for proposer in self.proposers], len(images))

    def reads(self, sample: Sample) -> Hashable:
        return tuple(reads(proposer, sample) for proposer in self.proposers)

    @property
    def stages(self) -> Mapping[str, int]:
        """The counts of those of its sources that count."""
        total: Counter[str] = Counter()
        for proposer in self.proposers:
            if isinstance(proposer, Staged):
                total.update(proposer.stages)
        return dict(total)


def _merge(lists: Sequence[list[list[Region]]], count: int) -> list[list[Region]]:
    merged: list[list[Region]] = []
    for index in range(count):
        first_of_box: dict[object, Region] = {}
        for regions in lists:
            for region in regions[index]:
                first_of_box.setdefault(region.box, region)
        merged.append(list(first_of_box.values()))
    return merged


def make_proposer(
    name: str, *, detector: str | None = None, sam: str | None = None, device: str | torch.device = "cpu"
) -> Proposer:
    """The proposer of a name that the command line knows.

    Args:
        name: `flism` (FAST-GOAL: a detector, or proposals where none is named, with the fixed boxes), `lism` (GOAL:
            SAM; the whole image is a candidate by the rule), `detector`, `open-vocabulary`, `proposals`, `fixed` or
            `given`.
        detector: local folder or hub id of a detector; `detector` alone takes `DEFAULT_DETECTOR`, `open-vocabulary`
            `DEFAULT_OPEN_VOCABULARY`.
        sam: local folder or hub id of a SAM; None takes `DEFAULT_SAM`.
        device: where these run.

    Raises:
        ConfigError: there is no such name, or it has no use for the model that is named.
        ModelError: the model cannot be loaded, or is of another kind.
    """

    def detect(model: str) -> Proposer:
        return DetectorRegions(model, device=device)

    known: dict[str, Callable[[], Proposer]] = {
        "flism": lambda: Combined([detect(detector) if detector else ProposalRegions(), FixedRegions()]),
        "lism": lambda: SamRegions(sam or DEFAULT_SAM, device=device),
        "detector": lambda: detect(detector or DEFAULT_DETECTOR),
        "open-vocabulary": lambda: OpenVocabularyRegions(detector or DEFAULT_OPEN_VOCABULARY, device=device),
        "proposals": ProposalRegions,
        "fixed": FixedRegions,
        "given": GivenRegions,
    }
    if name not in known:
        raise ConfigError(
            f"there are no regions called {name!r}", where="regions", mend=f"Choose one of {', '.join(known)}."
        )
    for option, value, takers in (("detector", detector, _TAKE_DETECTOR), ("sam", sam, _TAKE_SAM)):
        if value is not None and name not in takers:
            mend = f"Leave it out, or choose --regions {' or '.join(takers)}."
            raise ConfigError(f"regions {name!r} have no use for a --{option}", where=option, mend=mend)
    return known[name]()
