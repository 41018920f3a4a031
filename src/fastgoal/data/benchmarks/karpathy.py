"""MSCOCO and Flickr30k in Karpathy's splits: short captions, five to an image.

    dataset_coco.json              {"images": [{"filepath": "val2014", "filename": "COCO_val2014_000000391895.jpg",
    val2014/, train2014/             "cocoid", "split", "sentences": [{"raw"}]}], "dataset": "coco"}

    dataset_flickr30k.json         the same without "filepath" and "cocoid"
    flickr30k-images/              1000092795.jpg, ...

Splits: `test` (COCO 5,000 images, all of val2014; Flickr30k 1,000), `val`, `train` (COCO: `train` and `restval`).
Some COCO images have six or seven captions: the first five are taken, as evaluations do, so that the test set has
25,000. An image with fewer is left out and named.

Looked up: files and fields in repositories that read them. FAST-GOAL names COCO 5k and Karpathy's splits but publishes
no list; Long-CLIP's own evaluation takes the 5,000 images of val2017 instead, which are others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fastgoal.data.benchmarks.common import entry, find, json_items, place
from fastgoal.data.samples import Sample
from fastgoal.errors import DataError

CAPTIONS = 5
SPLITS = {"test": ("test",), "val": ("val",), "train": ("train", "restval")}


@dataclass(frozen=True, kw_only=True)
class KarpathyReader:
    """Five samples per image of some of the file's splits, in its order.

    images: folder of all images; None: each record's `filepath` says which.
    """

    root: Path
    file: Path
    parts: tuple[str, ...]
    images: str | None = None

    def __iter__(self) -> Iterator[Sample | DataError]:
        for number, record in enumerate(json_items(self.file, "images")):
            if not isinstance(record, dict) or "split" not in record:
                yield DataError("a record without a split", where=self._where(number), mend="Get the file again.")
            elif record["split"] in self.parts:
                yield from self._captions(record, self._where(number))

    def _where(self, number: int) -> str:
        return f"{self.file} images[{number}]"

    def _captions(self, record: dict[str, Any], where: str) -> Iterator[Sample | DataError]:
        sentences = record.get("sentences")
        raws = [item.get("raw") for item in sentences if isinstance(item, dict)] if isinstance(sentences, list) else []
        if len(raws) < CAPTIONS:
            yield DataError(f"{len(raws)} captions where 5 belong to an image", where=where, mend="Get the file again.")
            return
        folder = self.images or record.get("filepath") or "."
        image = place(self.file.parent, f"{folder}/{record.get('filename') or ''}", self.root)
        name = str(record.get("cocoid") or Path(image).stem)
        for count, caption in enumerate(islice(raws, CAPTIONS), start=1):
            own = name if count == 1 else f"{name}#{count}"
            found = entry({"id": own, "image": image, "caption": caption}, f"{where} sentences[{count - 1}]", self.root)
            yield found
            if isinstance(found, DataError) and "image" in found.what:
                return  # one missing image is one problem, not five


def coco(root: Path, split: str) -> KarpathyReader:
    """The reader of a split of MSCOCO."""
    file = find(root, "dataset_coco.json", "coco") / "dataset_coco.json"
    find(file.parent, "val2014")
    return KarpathyReader(root=root, file=file, parts=SPLITS[split])


def flickr30k(root: Path, split: str) -> KarpathyReader:
    """The reader of a split of Flickr30k."""
    file = find(root, "dataset_flickr30k.json", "flickr30k") / "dataset_flickr30k.json"
    find(file.parent, "flickr30k-images")
    return KarpathyReader(root=root, file=file, parts=SPLITS[split], images="flickr30k-images")
