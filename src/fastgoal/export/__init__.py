"""A model in other libraries' formats: ONNX, sentence-transformers, open_clip.

    DualEncoder -> files, written aside -> the same embeddings in the other library? -> folder

A folder stands under its name only when it is whole and has passed its check; what fails leaves nothing behind.
"""

from fastgoal.export.export import FORMATS, Exported, export
from fastgoal.export.parity import TOLERANCE, Check

__all__ = ["FORMATS", "TOLERANCE", "Check", "Exported", "export"]
