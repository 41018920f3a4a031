"""A few coloured pictures of odd sizes, two sentences about each, and true boxes of both."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.conftest import save_small_clip
from tests.families import save_metaclip_2, save_siglip

from fastgoal.data.source import open_source
from fastgoal.explain.compare import explained
from fastgoal.explain.subjects import subjects
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions import FixedRegions

SIZES = [(64, 48), (40, 40), (48, 90), (80, 50)]
FIRST, SECOND = "A red ball lies on the left of table {}.", "A small blue box stands on the right, by lamp {}."


def picture(width, height, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST)


@pytest.fixture(scope="session")
def encoder(small_clip_folder):
    return DualEncoder.load(small_clip_folder)


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    """The same architecture with other weights."""
    return DualEncoder.load(save_small_clip(tmp_path_factory.mktemp("models") / "other-clip", seed=1))


@pytest.fixture(scope="session")
def metaclip(tmp_path_factory):
    return DualEncoder.load(save_metaclip_2(tmp_path_factory.mktemp("models") / "metaclip"))


@pytest.fixture(scope="session")
def siglip(tmp_path_factory):
    return DualEncoder.load(save_siglip(tmp_path_factory.mktemp("models") / "siglip"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain-data")
    records = []
    for index, (width, height) in enumerate(SIZES):
        picture(width, height, index).save(folder / f"{index}.png")
        first, second = FIRST.format(index), SECOND.format(index)
        caption = f"{first} {second}"
        regions = [
            {"box": [2, 2, width // 2, height // 2], "span": [0, len(first)]},
            {"box": [width // 2, height // 2, width, height], "span": [0, len(first)]},
            {"box": [width // 3, 5, width - 3, height - 4], "span": [len(first) + 1, len(caption)]},
            {"box": [0, 0, 9, 9], "span": None},
        ]
        records.append({"id": f"s{index}", "image": f"{index}.png", "caption": caption, "regions": regions})
    (folder / "captions.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    return folder


@pytest.fixture(scope="session")
def source(folder):
    return open_source(folder)


@pytest.fixture(scope="session")
def every(encoder, other, source):
    """All samples as two models see them."""
    return list(explained([other, encoder], subjects(source), proposer=FixedRegions()))
