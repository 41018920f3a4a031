"""The JSON lists in the folder `datasets/` of GOAL's repository, and lists like them.

    [{"filename": "../DCI/dataset/.../photos/sa_1543972.jpg", "caption": "..."}, ...]

Test lists: `docci_test.json` (5,100), `DCI_test.json` (1,999), `urban_dataset_test.json` (1,000). The folders in
`filename` are those of the authors' machine: an image is looked for by its last part under the root and in the folders
that the data sets keep their images in, then by its last two and three parts.

The lists of joint test sets (`*_joint_sim_max_11.json`) and of training pairs (`*_segment_sim_bbox_del_org.json`) also
name crops, files that SAM made on the authors' machine and that are not published: those records are left out and
counted. The joint protocols here take a pairs table instead.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fastgoal.data.benchmarks.common import entry, json_items
from fastgoal.data.samples import Sample
from fastgoal.errors import DataError

_FOLDERS = ("", "images", "image", "photos", "flickr30k-images", "val2014")


@dataclass(frozen=True, kw_only=True)
class GoalListReader:
    """The records of one list in its order."""

    file: Path
    root: Path

    def __iter__(self) -> Iterator[Sample | DataError]:
        for number, record in enumerate(json_items(self.file)):
            where = f"{self.file}[{number}]"
            filename = record.get("filename") if isinstance(record, dict) else None
            if not isinstance(filename, str) or not filename:
                mend = 'Write [{"filename": "...", "caption": "..."}, ...], or JSON lines (.jsonl).'
                yield DataError("a record without a filename", where=where, mend=mend)
            elif "similarity_score" in record or "_results/" in filename:
                mend = "Match the images with `fastgoal match`, which keeps a region as four numbers."
                yield DataError("a crop, which is no image of the data set", where=where, mend=mend)
            else:
                yield entry({"image": self._place(filename), "caption": record.get("caption")}, where, self.root)

    def _place(self, filename: str) -> str:
        parts = PurePosixPath(filename.replace("\\", "/")).parts
        places = [str(PurePosixPath(folder, parts[-1])) for folder in _FOLDERS]
        places += ["/".join(parts[-count:]) for count in (2, 3)]
        return next((place for place in places if (self.root / place).is_file()), places[0])
