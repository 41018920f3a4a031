"""The pairs table: what is written comes back, and no interruption or mix-up can spoil a finished shard."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fastgoal.errors import DataError
from fastgoal.pairs import LocalPair, Origin, PairsRow, PairsTable, PairsWriter
from fastgoal.regions.region import Region

ORIGIN = Origin(data="d1", matcher="m1", detector="fixed", settings={"rule": "flism", "sizes": (1, 2)})


def row(number: int) -> PairsRow:
    if number % 4 == 3:
        return PairsRow(id=f"s{number}", image="broken.jpg", width=0, height=0, caption="A.", skip="not an image")
    region = Region(box=(0.25, 1.0, 10.1, 20.0), source="detector", score=0.1 * number, label="🐕")
    return PairsRow(
        id=f"s{number}",
        image=f"images/{number}.jpg",
        width=640,
        height=480,
        caption="A dog 👩‍👧 runs.\u2028It barks.",
        sentences=((0, 15), (16, 25)),
        regions=(region, Region(box=(0, 0, 1, 1), source="fixed")),
        pairs=(LocalPair(sentence=1, region=0, similarity=1 / 3), LocalPair(sentence=0, region=1, similarity=-0.1)),
    )


def write(folder: Path, rows: list[PairsRow], shard_rows: int = 4, origin: Origin = ORIGIN) -> None:
    with PairsWriter(folder, root=folder.parent / "data", origin=origin, shard_rows=shard_rows) as writer:
        for item in rows[writer.done :]:
            writer.add(item)


def interrupt(folder: Path, rows: list[PairsRow]) -> None:
    writer = PairsWriter(folder, root=folder.parent / "data", origin=ORIGIN, shard_rows=4)
    for item in rows:
        writer.add(item)
    assert writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None) is None


ROWS = [row(number) for number in range(10)]


def test_rows_come_back_as_they_were_by_index_and_in_order(tmp_path: Path) -> None:
    write(tmp_path / "pairs", ROWS)
    table = PairsTable.open(tmp_path / "pairs")
    assert list(table) == [table[i] for i in range(len(table))] == ROWS
    assert table[-1] == ROWS[-1]
    with pytest.raises(IndexError):
        table[10]
    assert dict(table.manifest.counts) == {"samples": 10, "paired": 8, "skipped": 2}
    assert [shard.rows for shard in table.manifest.shards] == [4, 4, 2]


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    write(tmp_path / "pairs", [])
    assert list(PairsTable.open(tmp_path / "pairs")) == []


def test_any_parquet_reader_sees_the_columns_of_the_contract(tmp_path: Path) -> None:
    write(tmp_path / "pairs", ROWS)
    record = pq.read_table(tmp_path / "pairs" / "shard-00000.parquet").to_pylist()[2]
    assert list(record) == ["id", "image", "width", "height", "caption", "sentences", "regions", "pairs", "skip"]
    assert record["sentences"] == [[0, 15], [16, 25]]
    assert record["regions"][0] == {"box": [0.25, 1.0, 10.1, 20.0], "source": "detector", "score": 0.2, "label": "🐕"}
    assert record["pairs"][0] == {"sentence": 1, "region": 0, "similarity": 1 / 3}


def test_table_and_images_can_move_together_or_apart(tmp_path: Path) -> None:
    write(tmp_path / "a" / "pairs", ROWS)
    assert str(tmp_path) not in (tmp_path / "a" / "pairs" / "manifest.json").read_text()
    (tmp_path / "a").rename(tmp_path / "b")
    moved = PairsTable.open(tmp_path / "b" / "pairs")
    assert Path(moved.images.open(moved[0].image)).resolve() == tmp_path / "b" / "data" / "images" / "0.jpg"
    assert PairsTable.open(tmp_path / "b" / "pairs", root="other").images.open(ROWS[0].image) == Path(
        "other/images/0.jpg"
    )


def test_an_interrupted_run_keeps_finished_shards_and_ends_as_a_straight_one(tmp_path: Path) -> None:
    write(tmp_path / "straight", ROWS)
    interrupt(tmp_path / "resumed", ROWS[:7])
    with pytest.raises(DataError, match=r"interrupted after 4 samples.*again"):
        PairsTable.open(tmp_path / "resumed")
    assert list(PairsTable.open(tmp_path / "resumed", allow_incomplete=True)) == ROWS[:4]
    kept = (tmp_path / "resumed" / "shard-00000.parquet").stat().st_mtime_ns
    write(tmp_path / "resumed", ROWS)
    assert (tmp_path / "resumed" / "shard-00000.parquet").stat().st_mtime_ns == kept
    for file in sorted(path.name for path in (tmp_path / "straight").iterdir()):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes()


def test_a_kill_while_writing_leaves_nothing_that_counts(tmp_path: Path) -> None:
    interrupt(tmp_path / "pairs", ROWS[:4])
    (tmp_path / "pairs" / "shard-00001.parquet").write_bytes(b"renamed, but not yet in the manifest")
    (tmp_path / "pairs" / "shard-00002.parquet.tmp").write_bytes(b"half")
    write(tmp_path / "pairs", ROWS)
    table = PairsTable.open(tmp_path / "pairs")
    table.verify()
    assert list(table) == ROWS


def test_an_overwriting_that_was_killed_leaves_no_shard_of_the_old_table(tmp_path: Path) -> None:
    write(tmp_path / "pairs", ROWS)
    left = (tmp_path / "pairs" / "shard-00002.parquet").read_bytes()
    with PairsWriter(tmp_path / "pairs", root="data", origin=ORIGIN, overwrite=True) as writer:
        writer.add(ROWS[5])
    (tmp_path / "pairs" / "shard-00002.parquet").write_bytes(left)  # as if killed before it was deleted
    with PairsWriter(tmp_path / "pairs", root="data", origin=ORIGIN) as writer:
        assert writer.done == 1
    assert sorted(path.name for path in (tmp_path / "pairs").iterdir()) == ["manifest.json", "shard-00000.parquet"]


def test_other_making_is_refused_by_name_unless_overwritten(tmp_path: Path) -> None:
    interrupt(tmp_path / "pairs", ROWS)
    other = replace(ORIGIN, matcher="m2", settings={**ORIGIN.settings, "rule": "lism"})
    with pytest.raises(DataError, match=r"matcher was 'm1', now 'm2'; rule was 'flism', now 'lism'.*--overwrite"):
        write(tmp_path / "pairs", ROWS, origin=other)
    with PairsWriter(tmp_path / "pairs", root="data", origin=other, overwrite=True) as writer:
        assert not writer.done
        writer.add(ROWS[5])
    assert list(PairsTable.open(tmp_path / "pairs")) == [ROWS[5]]
    assert sorted(path.name for path in (tmp_path / "pairs").iterdir()) == ["manifest.json", "shard-00000.parquet"]


@pytest.mark.parametrize("name", ["shard-00000.parquet", "photo.jpg"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str, overwrite: bool) -> None:
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(DataError, match=f"not empty .it holds {name}"):
        PairsWriter(tmp_path, root=tmp_path, overwrite=overwrite)
    (tmp_path / "manifest.json").write_text('{"name": "my web app"}')
    with pytest.raises(DataError, match="not the manifest of a pairs table"):
        PairsWriter(tmp_path, root=tmp_path, overwrite=overwrite)
    assert (tmp_path / name).read_bytes() == b"precious"


@pytest.mark.parametrize("damage", [b"PAR1", None])
def test_a_damaged_or_missing_shard_is_named(tmp_path: Path, damage: bytes | None) -> None:
    write(tmp_path / "pairs", ROWS)
    shard = tmp_path / "pairs" / "shard-00001.parquet"
    shard.unlink() if damage is None else shard.write_bytes(damage)
    table = PairsTable.open(tmp_path / "pairs")
    assert table[0] == ROWS[0]
    with pytest.raises(DataError, match=r"shard-00001.parquet.*missing or differs"):
        table.verify()
    with pytest.raises(DataError, match="unreadable shard"):
        table[5]
    with pytest.raises(DataError, match="missing or differs"):
        write(tmp_path / "pairs", ROWS)


def test_a_folder_without_or_with_a_later_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a pairs table.*fastgoal match"):
        PairsTable.open(tmp_path)
    write(tmp_path / "pairs", ROWS)
    manifest = tmp_path / "pairs" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema": 99}))
    with pytest.raises(DataError, match="schema version 99"):
        PairsTable.open(tmp_path / "pairs")
