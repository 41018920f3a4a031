"""A region: a box of the upright image, where it came from, and how sure that source was; and what gives regions.

The one idea: most sources look at the image alone, so samples that share an image share its regions. A source that
also needs the sample (its boxes, its words) says which part of the sample it reads, and regions are shared exactly
where that part is equal.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from PIL import Image

from fastgoal.data.samples import Sample
from fastgoal.geometry import Box

RegionSource = Literal["detector", "fixed", "sam", "proposal", "given"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A candidate region. `score` is the source's own confidence in 0..1 (1 where it has none)."""

    box: Box
    source: RegionSource
    score: float = 1.0
    label: str | None = None


class Proposer(Protocol):
    """Anything that proposes regions for a batch of upright RGB images."""

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]: ...


@runtime_checkable
class SampleProposer(Proposer, Protocol):
    """A proposer that needs the samples of the images; `propose` refuses images alone with a `ConfigError`."""

    def propose_for(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[list[Region]]: ...

    def reads(self, sample: Sample) -> Hashable:
        """The part of a sample, beside its image, that its regions depend on."""


@runtime_checkable
class Staged(Protocol):
    """A proposer that counts its candidates: stage -> how many were left after it, over all images so far."""

    @property
    def stages(self) -> Mapping[str, int]: ...


def propose_for(proposer: Proposer, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[list[Region]]:
    """Regions for samples whose images are already decoded, from any proposer."""
    if isinstance(proposer, SampleProposer):
        return proposer.propose_for(samples, images)
    return proposer.propose(images)


def reads(proposer: Proposer, sample: Sample) -> Hashable:
    """Samples that share an image and for which this is equal share their regions."""
    return proposer.reads(sample) if isinstance(proposer, SampleProposer) else None
