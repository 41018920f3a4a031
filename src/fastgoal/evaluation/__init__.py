"""Evaluation under named protocols: retrieval, joint global-local retrieval, patch localisation; and comparisons."""

from fastgoal.evaluation.joint import JointSet, evaluate_joint
from fastgoal.evaluation.localisation import evaluate_localisation, located
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol, protocol_named, protocol_of
from fastgoal.evaluation.published import Published, backbone_of, published, published_table
from fastgoal.evaluation.results import EvalResult, compare
from fastgoal.evaluation.retrieval import evaluate_retrieval
from fastgoal.evaluation.views import ViewSet

__all__ = [
    "PROTOCOLS",
    "EvalResult",
    "JointSet",
    "Protocol",
    "Published",
    "ViewSet",
    "backbone_of",
    "compare",
    "evaluate_joint",
    "evaluate_localisation",
    "evaluate_retrieval",
    "located",
    "protocol_named",
    "protocol_of",
    "published",
    "published_table",
]
