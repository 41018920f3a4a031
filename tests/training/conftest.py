"""A small pairs table: random pictures, captions of three sentences, some samples without a pair, one image twice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import LocalPair, PairsRow, PairsTable, PairsWriter
from fastgoal.regions.region import Region

WORDS = [
    "red",
    "blue",
    "green",
    "small",
    "large",
    "old",
    "brown",
    "white",
    "ball",
    "box",
    "lamp",
    "chair",
    "dog",
    "tree",
]
SIZES = ((48, 36), (36, 60), (40, 40), (64, 32))


def make_row(number: int, rng: np.random.Generator, folder: Path, *, image: str | None = None) -> PairsRow:
    width, height = SIZES[number % len(SIZES)]
    name = image or f"{number}.png"
    if image is None:
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)
    sentences = [f"A {' '.join(rng.choice(WORDS, 3))}." for _ in range(3)]
    starts = np.cumsum([0] + [len(sentence) + 1 for sentence in sentences[:-1]]).tolist()
    regions = (
        Region(box=(0.0, 0.0, width / 2, height / 2), source="fixed"),
        Region(box=(4.0, 5.0, 21.0, 30.0), source="proposal"),
    )
    pairs = (LocalPair(sentence=2, region=1, similarity=0.4), LocalPair(sentence=0, region=0, similarity=0.3))
    return PairsRow(
        id=f"s{number}",
        image=name,
        width=width,
        height=height,
        caption=" ".join(sentences),
        sentences=tuple((start, start + len(text)) for start, text in zip(starts, sentences, strict=True)),
        regions=regions,
        pairs=() if number % 5 == 3 else pairs,
    )


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[..., PairsTable]:
    """Write rows (default: 11 samples, the last with the first one's image) as a table."""

    def write(rows: list[PairsRow] | None = None, *, count: int = 11, name: str = "pairs", seed: int = 0) -> PairsTable:
        data, rng = tmp_path / f"{name}-data", np.random.default_rng(seed)
        data.mkdir(exist_ok=True)
        if rows is None:
            rows = [make_row(number, rng, data) for number in range(count - 1)]
            rows.append(make_row(20, rng, data, image="0.png"))
        with PairsWriter(tmp_path / name, root=data) as writer:
            for row in rows:
                writer.add(row)
        return PairsTable.open(tmp_path / name)

    return write


@pytest.fixture
def encoder(small_clip_folder: Path) -> DualEncoder:
    return DualEncoder.load(small_clip_folder)
