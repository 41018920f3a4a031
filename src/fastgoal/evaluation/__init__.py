"""Evaluation under named protocols: retrieval, joint global-local retrieval, patch localisation, zero-shot
classification, robustness to a false sentence; and comparisons."""

from fastgoal.evaluation.classification import evaluate_classification
from fastgoal.evaluation.joint import JointSet, evaluate_joint
from fastgoal.evaluation.localisation import evaluate_localisation, located
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol, protocol_named, protocol_of
from fastgoal.evaluation.published import Published, backbone_of, published, published_table
from fastgoal.evaluation.results import EvalResult, compare
from fastgoal.evaluation.retention import retention
from fastgoal.evaluation.retrieval import evaluate_retrieval
from fastgoal.evaluation.robustness import evaluate_robustness
from fastgoal.evaluation.templates import TEMPLATES, templates_named
from fastgoal.evaluation.views import ViewSet

__all__ = [
    "PROTOCOLS",
    "TEMPLATES",
    "EvalResult",
    "JointSet",
    "Protocol",
    "Published",
    "ViewSet",
    "backbone_of",
    "compare",
    "evaluate_classification",
    "evaluate_joint",
    "evaluate_localisation",
    "evaluate_retrieval",
    "evaluate_robustness",
    "located",
    "protocol_named",
    "protocol_of",
    "published",
    "published_table",
    "retention",
    "templates_named",
]
