"""A region: a box of the upright image, where it came from, and how sure that source was."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from PIL import Image

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
