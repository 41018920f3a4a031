"""Pictures, a small model, and an index of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastgoal.captioning.pictures import open_pictures
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions import make_proposer
from fastgoal.search.build import IndexSettings, index
from fastgoal.search.report import IndexReport
from fastgoal.search.tables import IMAGES, REGIONS, Tables

WORDS = ("red", "green", "blue", "grey", "white")


def paint(path: Path, seed: int) -> Path:
    """A picture of a few coloured blocks."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(10, 0).repeat(10 + seed % 3, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures, some of them in a folder below; every second one with a caption."""
    folder = tmp_path / "photos"
    for number in range(12):
        path = paint(folder / ("below" if number % 3 == 2 else ".") / f"{number:02d}.png", number)
        if number % 2 == 0:
            path.with_suffix(".txt").write_text(f"A {WORDS[number % 5]} ball lies on the left. It's number {number}.")
    return folder


@pytest.fixture(scope="session")
def encoder(small_clip_folder: Path) -> DualEncoder:
    return DualEncoder.load(small_clip_folder)


@pytest.fixture
def indexed(encoder: DualEncoder) -> Callable[..., IndexReport]:
    """Index a folder, a few images per commit."""

    def run(photos: Path, uri: Path, *, root: Path | None = None, limit: int | None = None, **settings: Any):
        pictures = open_pictures(photos, root=root, limit=limit, captions=True)
        regions = settings.get("regions")
        proposer = None if regions is None else make_proposer(regions)
        own = IndexSettings(**{"commit": 5, "batch": 4, **settings})
        return index(pictures, encoder, uri, own, proposer=proposer, progress=False)

    return run


def rows(uri: Path, table: str = IMAGES) -> dict[Any, dict[str, Any]]:
    """The rows of a table by id (regions: by id and box), without what tells versions of a file apart."""
    found = Tables(uri).open(table)
    columns = ["id", "key", "box", "vector"] if table == REGIONS else None
    columns = columns or ["id", "image", "width", "height", "caption", "bytes", "key", "vector"]
    records = found.read(columns).to_pylist()
    by = {(row["id"], *row.get("box", ())): row for row in records}
    assert len(by) == len(records)
    return by


def expect_equal_rows(found: dict[Any, dict[str, Any]], expected: dict[Any, dict[str, Any]]) -> None:
    """The same rows; vectors up to what batch mates change in the last digits."""
    assert sorted(found) == sorted(expected)
    for name, row in expected.items():
        np.testing.assert_allclose(found[name]["vector"], row["vector"], atol=2e-6)
        assert {**found[name], "vector": None} == {**row, "vector": None}
