"""Images with class labels, for zero-shot classification: a folder per class, CIFAR as published, or a table."""

from fastgoal.data.labelled.open import open_labelled
from fastgoal.data.labelled.source import LabelledImage, LabelledSource

__all__ = ["LabelledImage", "LabelledSource", "open_labelled"]
