"""Samples: one image with its caption and a stable id, read from whatever shape the user's data has."""

from dataclasses import dataclass

from fastgoal.geometry import Box

Span = tuple[int, int]
"""Half-open character span `[start, end)` of a caption."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenRegion:
    """A box that came with the data; `span` says which characters of the caption it is the truth of."""

    box: Box
    span: Span | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image with its caption. `image` is a URI relative to the source's root (see the data contract)."""

    id: str
    image: str
    caption: str
    regions: tuple[GivenRegion, ...] = ()
