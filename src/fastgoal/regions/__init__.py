"""Where regions come from: fixed boxes, an object detector, colour proposals, the data itself, or several of these."""

from fastgoal.regions.combine import Combined, make_proposer, propose_for
from fastgoal.regions.detector import DetectorRegions
from fastgoal.regions.fixed import FixedRegions
from fastgoal.regions.given import GivenRegions
from fastgoal.regions.proposals import ProposalRegions
from fastgoal.regions.region import Proposer, Region

__all__ = [
    "Combined",
    "DetectorRegions",
    "FixedRegions",
    "GivenRegions",
    "ProposalRegions",
    "Proposer",
    "Region",
    "make_proposer",
    "propose_for",
]
