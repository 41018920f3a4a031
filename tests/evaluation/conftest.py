"""A little test set on disk: coloured pictures of odd sizes, two captions for some, true boxes for some sentences."""

import json

import numpy as np
import pytest
from PIL import Image

from fastgoal.data.source import open_source
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import LocalPair, Origin, PairsRow, PairsTable, PairsWriter
from fastgoal.regions.region import Region

SIZES = [(64, 48), (40, 40), (48, 90), (33, 65), (80, 50), (50, 51)]
FIRST, SECOND = "A red ball lies on the left.", "A small blue box stands on the right, by lamp {}."


def caption(index: int) -> str:
    return f"{FIRST[:-1]} of table {index}. {SECOND.format(index)}"


@pytest.fixture(scope="session")
def encoder(small_clip_folder):
    return DualEncoder.load(small_clip_folder)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("testset"), np.random.default_rng(0)
    records = []
    for index, (width, height) in enumerate(SIZES):
        coarse = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST).save(folder / f"{index}.png")
        text = caption(index)
        cut = text.index(" A small") + 1
        regions = [
            {"box": [2, 2, width // 2, height // 2], "span": [0, cut - 1]},
            {"box": [width // 2, height // 2, width, height], "span": [0, cut - 1]},
            {"box": [width // 3, 5, width - 3, height - 4], "span": [cut, len(text)]},
            {"box": [0, 0, 9, 9], "span": None},
        ]
        records.append(
            {"id": f"s{index}", "image": f"{index}.png", "caption": text, "regions": regions if index else []}
        )
        if index < 2:
            records.append({"id": f"s{index}b", "image": f"{index}.png", "caption": f"Another word about {index}."})
    (folder / "captions.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    return folder


@pytest.fixture(scope="session")
def source(data_folder):
    return open_source(data_folder)


@pytest.fixture(scope="session")
def table(source, tmp_path_factory):
    """Pairs for every image but the last; sample `s1b` shares its image with `s1` and has none either."""
    folder = tmp_path_factory.mktemp("pairs") / "table"
    with PairsWriter(folder, root=source.root, origin=Origin(matcher="pinned", detector="fixed")) as writer:
        for sample in source:
            width, height = Image.open(source.root / sample.image).size
            cut = sample.caption.find(" A small") + 1
            local = cut > 0 and sample.id != "s5"
            writer.add(
                PairsRow(
                    id=sample.id,
                    image=sample.image,
                    width=width,
                    height=height,
                    caption=sample.caption,
                    sentences=((0, max(cut - 1, 0)), (cut, len(sample.caption))),
                    regions=(
                        Region(box=(0.0, 0.0, width // 2, height // 2), source="fixed"),
                        Region(box=(5.0, 5.0, width, height), source="fixed"),
                    ),
                    pairs=(
                        LocalPair(sentence=1, region=0, similarity=0.3),
                        LocalPair(sentence=0, region=1, similarity=0.2),
                    )
                    * local,
                )
            )
    return PairsTable.open(folder)
