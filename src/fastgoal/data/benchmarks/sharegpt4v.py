"""ShareGPT4V: 1.2 million images with captions of about 150 words (Chen et al., 2023), as Long-CLIP evaluates them.

    share-captioner_coco_lcs_sam_1246k_1107.json   [{"image": "sam/images/sa_545504.jpg", "conversations": [{"from":
                                                   "human", "value"}, {"from": "gpt", "value": the caption}]}, ...]
    sam/images/, coco/train2017/, llava/...        as the records' `image` says, below the same folder

Splits: `test` is the first 1,000 records, `train` all others. The caption is the second turn of the conversation, its
line breaks turned into spaces. Looked up: Long-CLIP's training and validation code. GOAL's own list for its supplement
(`sharegpt4v_test.json`) could not be looked up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fastgoal.data.benchmarks.common import entry, find, json_items, place
from fastgoal.data.samples import Sample
from fastgoal.errors import DataError

RECORDS = "share-captioner_coco_lcs_sam_1246k_1107.json"
TEST = 1000


@dataclass(frozen=True, kw_only=True)
class ShareGpt4vReader:
    """Records `start` to `stop` of the file."""

    root: Path
    file: Path
    start: int
    stop: int | None

    def __iter__(self) -> Iterator[Sample | DataError]:
        for number, record in islice(enumerate(json_items(self.file)), self.start, self.stop):
            image = record.get("image") if isinstance(record, dict) else None
            if isinstance(image, str) and image:
                image = place(self.file.parent, image, self.root)
            yield entry({"image": image, "caption": _answer(record)}, f"{self.file}[{number}]", self.root)


def _answer(record: Any) -> str | None:
    try:
        return " ".join(record["conversations"][1]["value"].splitlines()).strip()
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def read(root: Path, split: str) -> ShareGpt4vReader:
    """The reader of `test` or `train`."""
    file = find(root, RECORDS, "ShareGPT4V/data", "data") / RECORDS
    start, stop = (0, TEST) if split == "test" else (TEST, None)
    return ShareGpt4vReader(root=root, file=file, start=start, stop=stop)
