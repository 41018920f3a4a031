"""What an indexing did, for `--json` and for people."""

from dataclasses import dataclass
from typing import Any

from fastgoal.data.source import Problems
from fastgoal.search.neighbours import Duplicates, Recall


@dataclass(frozen=True, kw_only=True)
class IndexReport:
    """Counts of an indexing.

    images, regions: in the index now. added, changed, deleted, unchanged: images, in this run. skipped: what cannot be
    read or used.
    mended: rows that a kill or a second writer had left, and that were deleted.
    """

    images: int
    regions: int
    added: int
    changed: int
    unchanged: int
    deleted: int
    skipped: Problems
    mended: int
    duplicates: Duplicates | None
    ann: Recall | None
    model: str
    fingerprint: str
    dim: int
    seconds: float
    images_per_second: float
    workers: int | None = None

    def to_json(self) -> dict[str, Any]:
        named = [{"where": error.where, "reason": error.what, "mend": error.mend} for error in self.skipped.first]
        return {
            **vars(self),
            "duplicates": None if self.duplicates is None else self.duplicates.to_json(),
            "ann": None if self.ann is None else vars(self.ann),
            "skipped": dict(self.skipped.counts),
            "skipped_images": named,
        }
