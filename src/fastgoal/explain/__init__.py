"""Explain: what in an image a model looks at, which part of it each sentence means, and which words carry a match."""

from fastgoal.explain.attention import class_attention
from fastgoal.explain.explanation import ExplainedSentence, ExplainedWord, Explanation
from fastgoal.explain.maps import explain, view_box
from fastgoal.explain.words import explain_words

__all__ = [
    "ExplainedSentence",
    "ExplainedWord",
    "Explanation",
    "class_attention",
    "explain",
    "explain_words",
    "view_box",
]
