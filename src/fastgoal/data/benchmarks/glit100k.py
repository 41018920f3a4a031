"""GLIT100k: 100,647 images of SA-1B with captions of about 159 words, FAST-GOAL's training set (2026).

No layout is published that could be looked up, so this one is assumed:

    glit100k.json    a list like GOAL's, [{"filename", "caption"}, ...], or instead of it
    captions.jsonl   JSON lines of the data contract, with regions where there are any
    images/          or wherever `filename` and `image` say, below the same folder

One split, `train`.
"""

from pathlib import Path

from fastgoal.data.benchmarks.common import find
from fastgoal.data.benchmarks.goal_lists import GoalListReader
from fastgoal.data.readers.lines import JsonLinesReader
from fastgoal.errors import DataError

LIST, LINES = "glit100k.json", "captions.jsonl"


def read(root: Path, split: str) -> GoalListReader | JsonLinesReader:
    """The reader of the one split."""
    if (root / LINES).is_file():
        return JsonLinesReader(file=root / LINES, root=root)
    try:
        return GoalListReader(file=find(root, LIST) / LIST, root=root)
    except DataError as error:
        mend = f"Write it, or {LINES}, as docs/benchmarks.md shows: the authors have published no layout."
        raise DataError(error.what, where=error.where, mend=mend) from None
