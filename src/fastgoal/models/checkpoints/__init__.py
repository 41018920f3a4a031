"""Other projects' checkpoint files as plain transformers CLIP folders.

    file -> its weights by key -> layout -> sizes -> every key and shape checked -> transformers names -> folder

One table (`table.py`) says which weights a CLIP of given sizes has, under which keys, and what they become; all layouts
are readings of that table, so a weight that is missing, left over or of another shape is found before anything is
written. Key layouts as in github.com/openai/CLIP, beichenzbc/Long-CLIP, mlfoundations/open_clip and
PerceptualAI-Lab/GOAL.
"""

from fastgoal.models.checkpoints.convert import DEFAULT_TOKENIZER, Conversion, convert
from fastgoal.models.checkpoints.settings import Wishes

__all__ = ["DEFAULT_TOKENIZER", "Conversion", "Wishes", "convert"]
