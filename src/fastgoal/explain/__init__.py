"""Explain: what in an image a model looks at, which part of it each sentence means, and which words carry a match."""

from fastgoal.explain.explanation import ExplainedSentence, ExplainedWord, Explanation
from fastgoal.explain.maps import explain, patch_box, view_box
from fastgoal.explain.words import explain_words

__all__ = [
    "ExplainedSentence",
    "ExplainedWord",
    "Explanation",
    "explain",
    "explain_words",
    "patch_box",
    "view_box",
]
