"""Where regions come from: fixed boxes, SAM, an object or open-vocabulary detector, colour proposals, the data itself,
or several of these."""

from fastgoal.regions.combine import Combined, make_proposer
from fastgoal.regions.detector import DetectorRegions
from fastgoal.regions.fixed import FixedRegions
from fastgoal.regions.given import GivenRegions
from fastgoal.regions.open_vocabulary import OpenVocabularyRegions
from fastgoal.regions.proposals import ProposalRegions
from fastgoal.regions.region import Proposer, Region, SampleProposer, propose_for
from fastgoal.regions.sam import SamRegions

__all__ = [
    "Combined",
    "DetectorRegions",
    "FixedRegions",
    "GivenRegions",
    "OpenVocabularyRegions",
    "ProposalRegions",
    "Proposer",
    "Region",
    "SamRegions",
    "SampleProposer",
    "make_proposer",
    "propose_for",
]
