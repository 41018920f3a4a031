"""The same data here and in a real S3 API: samples, matching, training, streaming."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
import torch
from tests.remote.conftest import forget_all

from fastgoal.cli import main
from fastgoal.data.samples import Sample
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.errors import DataError
from fastgoal.matching import MatchSettings, match
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions import make_proposer
from fastgoal.remote import shelf
from fastgoal.remote.place import Url
from fastgoal.remote.shelf import local
from fastgoal.training import TrainConfig, train
from fastgoal.training.lanes import LaneBatches
from fastgoal.training.streamed import FetchAhead

Upload = Callable[[Path, str], Url]
CONFIG: dict[str, Any] = {
    "batch_size": 4,
    "max_steps": 5,
    "learning_rate": 1e-3,
    "text_tokens": 77,
    "precision": "fp32",
    "stream_block": 3,
}


def write_tars(folder: Path, scenes: Path, per_tar: int = 5) -> Path:
    """The scenes of a folder as WebDataset tars."""
    folder.mkdir(parents=True)
    lines = [json.loads(line) for line in (scenes / "captions.jsonl").read_text().splitlines()]
    for start in range(0, len(lines), per_tar):
        with tarfile.open(folder / f"{start:04d}.tar", "w") as tar:
            for line in lines[start : start + per_tar]:
                add(tar, f"{line['id']}.png", (scenes / line["image"]).read_bytes())
                add(tar, f"{line['id']}.json", json.dumps({"caption": line["caption"]}).encode())
    return folder


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, ScenesConfig(train=13, val=0, test=0, seed=5), progress=False)
    return folder / "train"


@pytest.fixture
def tars(scenes: Path, tmp_path: Path) -> Path:
    return write_tars(tmp_path / "here" / "tars", scenes)


def matched(data: Path | Url, model: Path, out: Path) -> PairsTable:
    source = open_source(data)
    match(source, DualEncoder.load(model), make_proposer("fixed"), out, MatchSettings(shard_rows=4), progress=False)
    return PairsTable.open(out)


def trained(table: PairsTable, model: Path, run: Path, **settings: Any) -> dict[str, torch.Tensor]:
    encoder = DualEncoder.load(model)
    train(table, encoder, run, TrainConfig.from_mapping({**CONFIG, **settings}), progress=False)
    return encoder.state_dict()


def test_matching_and_training_are_those_of_local_data(
    upload: Upload, tars: Path, small_clip_folder: Path, tmp_path: Path, s3: s3fs.S3FileSystem, monkeypatch: Any
) -> None:
    shards = upload(tars, "tars")
    here, there = (matched(data, small_clip_folder, tmp_path / name) for data, name in ((tars, "a"), (shards, "b")))
    assert list(there) == list(here)
    assert there.manifest.shards == here.manifest.shards
    assert there.manifest.origin == here.manifest.origin
    assert (there.manifest.root, there.root) == ("s3://bucket/tars", shards)
    forget_all(monkeypatch)
    remote = PairsTable.open(upload(tmp_path / "b", "pairs"))
    for stream in (False, True):
        wanted = trained(here, small_clip_folder, tmp_path / f"run-a-{stream}", stream=stream)
        found = trained(remote, small_clip_folder, tmp_path / f"run-b-{stream}", stream=stream)
        assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def test_a_table_uploaded_beside_its_data_finds_it_there(
    upload: Upload, tars: Path, small_clip_folder: Path, tmp_path: Path
) -> None:
    table = matched(tars, small_clip_folder, tars.parent / "pairs")
    pairs = upload(tars.parent, "all") / "pairs"
    moved = PairsTable.open(pairs)
    assert moved.root == Url("s3://bucket/all/tars")
    assert moved.images.open(moved[3].image) == table.images.open(table[3].image)
    moved.verify()
    other = PairsTable.open(pairs, root=tars)
    assert other.images.open(other[3].image) == table.images.open(table[3].image)


def test_parquet_shards_with_images_inside_and_beside(
    upload: Upload, scenes: Path, tmp_path: Path, s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.loads(line) for line in (scenes / "captions.jsonl").read_text().splitlines()]
    captions = {"id": [line["id"] for line in lines], "caption": [line["caption"] for line in lines]}
    inside, beside = tmp_path / "inside", tmp_path / "beside"
    for folder in (inside, beside):
        folder.mkdir()
    images = [(scenes / line["image"]).read_bytes() for line in lines]
    for part, own in enumerate((slice(0, 7), slice(7, 13))):
        columns = {name: values[own] for name, values in captions.items()}
        pq.write_table(pa.table({"image": images[own], **columns}), inside / f"{part}.parquet")
    pq.write_table(pa.table({"image": [line["image"] for line in lines], **captions}), beside / "table.parquet")
    for line, image in zip(lines, images, strict=True):
        (beside / line["image"]).parent.mkdir(exist_ok=True)
        (beside / line["image"]).write_bytes(image)
    asked: list[Url] = []
    list_all = shelf.files_under
    monkeypatch.setattr(shelf, "files_under", lambda folder: asked.append(folder) or list_all(folder))
    for folder, listings in ((inside, 1), (beside, 1)):
        source, here = open_source(upload(folder, folder.name)), open_source(folder)
        found = list(source)
        assert [(s.id, s.image, s.caption) for s in found] == [(s.id, s.image, s.caption) for s in here]
        opened = [source.images.open(sample.image) for sample in found]
        assert [raw if isinstance(raw, bytes) else raw.read_bytes() for raw in opened] == images
        assert source.key == here.key
        assert len(asked) == listings
        asked.clear()
    single = open_source("s3://bucket/inside/1.parquet")
    assert [sample.id for sample in single] == captions["id"][7:]


def test_an_id_in_two_shards_is_refused_the_second_time(upload: Upload, scenes: Path, tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", scenes, per_tar=7)
    with tarfile.open(tars / "0000.tar") as tar:
        first = tar.getnames()[0].removesuffix(".png")
    picture = next((scenes / "images").iterdir()).read_bytes()
    with tarfile.open(tars / "0009.tar", "w") as tar:
        for name, content in ((f"{first}.png", picture), (f"{first}.txt", b"A red ball.")):
            add(tar, name, content)
    source = open_source(upload(tars, "twice"))
    assert len(source) == len(list(source)) == 13
    (problem,) = source.problems.first
    assert f"id {first!r} is used a second time" in problem.what
    assert "s3://bucket/twice/0000.tar" in problem.what and "s3://bucket/twice/0009.tar" in str(problem.where)


def test_a_tar_that_was_cut_off_before_its_upload_is_counted(upload: Upload, tars: Path) -> None:
    cut = sorted(tars.iterdir())[1]
    cut.write_bytes(cut.read_bytes()[:9000])
    entries = list(open_source(upload(tars, "cut")).checked())
    problems = [entry for entry in entries if isinstance(entry, DataError)]
    assert len(problems) == 1 and "cut off or broken" in problems[0].what
    assert problems[0].where == f"s3://bucket/cut/{cut.name}"
    assert 8 <= sum(isinstance(entry, Sample) for entry in entries) < 13


def test_more_data_than_the_shelf_holds(
    upload: Upload, tars: Path, small_clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = upload(tars, "tars")
    largest = max(path.stat().st_size for path in tars.iterdir())
    monkeypatch.setenv("FASTGOAL_CACHE_GB", str(1.5 * largest / 1e9))
    there = matched(shards, small_clip_folder, tmp_path / "b")
    assert list(there) == list(matched(tars, small_clip_folder, tmp_path / "a"))
    trained(there, small_clip_folder, tmp_path / "run", stream=True)
    kept = [path.stat().st_size for path in shelf.folder().iterdir()]
    assert largest / 3 < sum(kept) <= 1.5 * largest


def test_the_next_block_is_fetched_while_one_is_used(
    upload: Upload, tars: Path, small_clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(tars, "tars")
    matched(Url("s3://bucket/tars"), small_clip_folder, tmp_path / "pairs")
    table = PairsTable.open(upload(tmp_path / "pairs", "pairs"))
    for path in shelf.folder().iterdir():
        path.unlink()
    batches = LaneBatches([4, 4, 4, 1], batch_size=2, seed=1, block=2)
    ahead = FetchAhead(table, batches)
    ahead.begun(0)
    ahead.settle()
    soon = [row for lane in (0, 1) for block in list(batches.blocks(lane))[:2] for row in rows_of(batches, block)]
    monkeypatch.setattr(shelf, "copy", None)  # whatever is fetched from here on fails
    for file in table.files(soon):
        assert local(file).is_file()
    ahead.close()


def rows_of(batches: LaneBatches, block: tuple[int, int]) -> list[int]:
    return batches.sequence().table_rows(*block).tolist()


def test_commands_take_urls(
    upload: Upload, tars: Path, small_clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(tars, "tars")
    monkeypatch.chdir(tmp_path)

    def run(*command: str) -> int:
        with pytest.raises(SystemExit) as end:
            main(list(command))
        return int(end.value.code or 0)

    model = str(small_clip_folder)
    assert run("match", "s3://bucket/tars", "--out", "pairs", "--regions", "none") == 0
    upload(tmp_path / "pairs", "pairs")
    assert run("check", "s3://bucket/tars", "--model", model) == 0
    command = ["--model", model, "--out", "run", "--method", "global", "--stream", "--max-steps", "2"]
    assert run("train", "s3://bucket/pairs", "--root", "s3://bucket/tars", *command, "--val", "s3://bucket/pairs") == 0
    assert json.loads((tmp_path / "run" / "train.json").read_text())["steps"] == 2
    assert run("check", "s3://bucket/tars", "--model", model, "--fix", "clean") == 2
    assert run("caption", "s3://bucket/tars", "--captioner", model, "--out", "captions") == 2
    assert not {path.name for path in tmp_path.iterdir()} & {"s3:", "clean", "captions"}
