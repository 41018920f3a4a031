"""What the layout writer lays down reads back through the readers, and stands where the hand-written copies do."""

import json

import pytest
from tests.data.benchmarks import copies
from tests.data.benchmarks.test_readers import copy_of

from fastgoal.data.benchmarks import BENCHMARKS
from fastgoal.data.benchmarks.layout import write_like
from fastgoal.data.scenes import ScenesConfig, draw_samples
from fastgoal.data.source import open_source
from fastgoal.errors import DataError


@pytest.fixture(scope="module")
def drawn():
    return list(draw_samples(ScenesConfig(seed=3), "test", 4))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_reads_back(name, drawn, tmp_path):
    assert write_like(name, tmp_path, drawn) == 4
    source = open_source(name, root=tmp_path)
    assert not source.problems
    captions = [sample.caption for sample in source]
    written = [sample.caption for sample, _ in drawn]
    if name in ("coco", "flickr30k"):
        assert len(captions) == 20
        assert all(part in whole for whole, five in zip(written, zip(*[iter(captions)] * 5, strict=True), strict=True)
                   for part in five)  # fmt: skip
    else:
        assert captions == [" ".join(caption.split()) for caption in written]
    assert len({sample.image for sample in source}) == 4


@pytest.mark.parametrize("name", ["docci", "dci", "coco", "flickr30k"])
def test_a_second_split_joins_the_first(name, drawn, tmp_path):
    write_like(f"{name}/train", tmp_path, drawn[:3])
    write_like(name, tmp_path, drawn[3:])
    train, test = open_source(f"{name}/train", root=tmp_path), open_source(name, root=tmp_path)
    assert len({sample.image for sample in train}) == 3
    assert len({sample.image for sample in test}) == 1
    assert not {sample.image for sample in train} & {sample.image for sample in test}


def shape(value):
    """Fields and kinds of a JSON value, whatever its texts and numbers are."""
    if isinstance(value, dict):
        return {key: shape(own) if key not in ("mask_data", "mask_keys") else "masks" for key, own in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "long-dci"])
def test_files_folders_and_fields_are_those_of_a_copy_by_hand(name, drawn, tmp_path):
    by_hand = copies.sharegpt4v(tmp_path / "hand", 1) if name == "sharegpt4v" else copy_of(name, tmp_path / "hand")
    write_like(name, tmp_path / "written", drawn[:1])
    for root in (by_hand, tmp_path / "written"):
        assert open_source(name, root=root)
    texts = {".json", ".jsonlines"}
    kinds = [
        {
            (path.relative_to(root).parent.as_posix(), path.name if "-data" not in path.name else "*-data.json"):
            json.dumps(shape(json.loads(path.read_text().splitlines()[0])), sort_keys=True)
            for path in root.rglob("*") if path.suffix in texts
        }
        for root in (by_hand, tmp_path / "written")
    ]  # fmt: skip
    assert kinds[0] == kinds[1]
    folders = [{path.relative_to(root).parent.as_posix() for path in root.rglob("*.*")}
               for root in (tmp_path / "written", by_hand)]  # fmt: skip
    assert folders[0] <= folders[1]


def test_docci_tests_on_both_published_splits(drawn, tmp_path):
    write_like("docci", tmp_path, drawn)
    assert [sample.id for sample in open_source("docci", root=tmp_path)] == [
        "qual_test_00000", "test_00000", "test_00001", "test_00002",
    ]  # fmt: skip


def test_what_cannot_be_written(drawn, tmp_path):
    with pytest.raises(DataError, match="no such benchmark"):
        write_like("docs", tmp_path, drawn)
    with pytest.raises(DataError, match="behind 1,000 records"):
        write_like("sharegpt4v/train", tmp_path, drawn)
