"""Training on a streamed table: few shards in memory, the same whoever reads it, resumed as straight; and samples
whose images cannot be read, in any order of training."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training.conftest import make_row
from tests.training.ranks import on_ranks

from fastgoal.errors import DataError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable, PairsWriter
from fastgoal.training import TrainConfig, train
from fastgoal.training.lanes import LaneBatches
from fastgoal.training.streamed import StreamedPairs

CONFIG = TrainConfig(
    method="goal",
    stream=True,
    stream_block=3,
    batch_size=4,
    max_steps=9,
    save_every=2,
    learning_rate=1e-3,
    text_tokens=77,
    log_every=1,
    view_cache_mb=0,
    precision="fp32",
)


class PowerCutError(Exception):
    """Stands in for a kill."""


@pytest.fixture
def table(tmp_path: Path) -> PairsTable:
    """23 rows in shards of three; one was skipped, and some have no pair."""
    data, rng = tmp_path / "data", np.random.default_rng(0)
    data.mkdir()
    with PairsWriter(tmp_path / "pairs", root=data, shard_rows=3) as writer:
        for number in range(23):
            row = make_row(number, rng, data)
            writer.add(replace(row, pairs=(), skip="broken") if number == 7 else row)
    return PairsTable.open(tmp_path / "pairs")


def trained(table: PairsTable, model: Path, run: Path, config: TrainConfig = CONFIG, **options: Any) -> Any:
    encoder = DualEncoder.load(model)
    report = train(table, encoder, run, config, progress=False, **options)
    return {name: value.clone() for name, value in encoder.state_dict().items()}, report


def assert_equal(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def test_few_shards_are_in_memory_at_a_time(table: PairsTable) -> None:
    batches = LaneBatches([3] * 7 + [2], batch_size=2, seed=0, block=3)
    dataset, most, read = StreamedPairs(table, batches), 0, []
    for batch in batches:
        read += [dataset[row].id for row in batch]
        most = max(most, len(dataset.table._shards))
    assert len(set(read)) == len(read) == 22  # the last batch would be of one, and is dropped
    assert 2 <= most <= 2 * 3  # two lanes, each in a block that lies in three shards at most
    assert (len(dataset), dataset.unpaired) == (22, 4)
    assert len(StreamedPairs(table, batches, paired_only=True)) == 18


def test_a_table_that_keeps_few_shards_reads_the_same_rows(table: PairsTable) -> None:
    few = table.keeping(2)
    order = np.random.default_rng(0).permutation(len(table)).tolist()
    assert [few[i] for i in order] == [table[i] for i in order]
    assert list(few) == list(table)
    assert len(few._shards) == 2


@pytest.mark.parametrize("method", ["goal", "local", "global"])
def test_rows_of_no_use_are_counted(table: PairsTable, small_clip_folder: Path, tmp_path: Path, method: Any) -> None:
    config = replace(CONFIG, method=method, max_steps=None, epochs=1)
    _, report = trained(table, small_clip_folder, tmp_path / "run", config)
    assert report.passed_over == (5 if method == "local" else 1)
    assert report.samples == (18 if method == "local" else 22)
    assert report.steps == 6
    assert report.unreadable == 0


def test_an_interrupted_run_ends_as_a_straight_one(table: PairsTable, small_clip_folder: Path, tmp_path: Path) -> None:
    """Stopped in the middle of the second epoch, and of a shard."""
    trained(table, small_clip_folder, tmp_path / "straight")
    config, calls = replace(CONFIG, eval_every=1), iter(range(100))

    def die(_: DualEncoder) -> float:
        if next(calls) == 8:  # behind step 8 of 9; the first call is before step 1
            raise PowerCutError
        return 0.0

    with pytest.raises(PowerCutError):
        trained(table, small_clip_folder, tmp_path / "run", config, val=die)
    _, report = trained(table, small_clip_folder, tmp_path / "run", config, val=lambda _: 1.0, resume=True)
    assert report.steps == 9
    assert losses(tmp_path / "run") == losses(tmp_path / "straight")
    weights = [
        load_file(tmp_path / name / "checkpoints/checkpoint-9/model.safetensors") for name in ("run", "straight")
    ]
    assert_equal(*weights)


def test_two_workers_and_a_single_shard_do_not_hang(
    write_table: Callable[..., PairsTable], small_clip_folder: Path, tmp_path: Path
) -> None:
    table, config = write_table(count=6), replace(CONFIG, max_steps=4)
    wanted, _ = trained(table, small_clip_folder, tmp_path / "alone", config)
    found, _ = trained(table, small_clip_folder, tmp_path / "workers", replace(config, num_workers=2))
    assert_equal(found, wanted)


def test_ranks_learn_what_one_process_learns(table: PairsTable, small_clip_folder: Path, tmp_path: Path) -> None:
    trained(table, small_clip_folder, tmp_path / "alone")
    on_ranks(2, lambda team: trained(table, small_clip_folder, tmp_path / "team")[1].steps)
    assert losses(tmp_path / "team") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    report = json.loads((tmp_path / "team" / "train.json").read_text())
    assert report["passed_over"] == json.loads((tmp_path / "alone" / "train.json").read_text())["passed_over"] > 0


# Images that cannot be read


def spoil(table: PairsTable, *numbers: int) -> None:
    for number in numbers:
        (Path(table.root) / f"{number}.png").write_bytes(b"no image")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cached", [None, 1])
def test_unreadable_images_are_left_out_counted_and_named(
    table: PairsTable,
    small_clip_folder: Path,
    tmp_path: Path,
    stream: bool,
    cached: int | None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    spoil(table, 2, 5)
    config = replace(CONFIG, stream=stream, max_steps=None, epochs=2, micro_batch=cached)
    _, report = trained(table, small_clip_folder, tmp_path / "run", config)
    assert report.unreadable == 4
    assert {one["id"] for one in report.unreadable_samples} == {"s2", "s5"}
    assert all("not an image" in one["reason"] for one in report.unreadable_samples)
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("left out: ")]
    assert len(said) == 1 and "not an image" in said[0]
    assert json.loads((tmp_path / "run" / "train.json").read_text())["unreadable"] == 4


def test_ranks_leave_out_the_same_samples(table: PairsTable, small_clip_folder: Path, tmp_path: Path) -> None:
    spoil(table, 2, 5, 11)
    trained(table, small_clip_folder, tmp_path / "alone")
    on_ranks(2, lambda team: trained(table, small_clip_folder, tmp_path / "team")[1].steps)
    assert losses(tmp_path / "team") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    counts = [json.loads((tmp_path / name / "train.json").read_text())["unreadable"] for name in ("team", "alone")]
    assert counts[0] == counts[1] > 0


def test_a_whole_batch_may_be_lost(table: PairsTable, small_clip_folder: Path, tmp_path: Path) -> None:
    """In batches of two some have no sample left, or one, which has no negatives."""
    spoil(table, 2, 5, 11, 12, 13, 14, 15)
    config = replace(CONFIG, batch_size=2, max_steps=None, epochs=1, stream_block=1)
    _, report = trained(table, small_clip_folder, tmp_path / "run", config)
    assert report.unreadable == 6  # the seventh would be alone in the last batch, which is dropped
    assert all(np.isfinite(losses(tmp_path / "run")))
    assert 0.0 in losses(tmp_path / "run")


@pytest.mark.parametrize("left", [0, 8])
def test_more_than_half_unreadable_is_an_error(
    table: PairsTable, small_clip_folder: Path, tmp_path: Path, left: int
) -> None:
    spoil(table, *range(left, 23))
    with pytest.raises(DataError, match=r"of \d+ images cannot be read .first: sample 's\d+': not an image"):
        trained(table, small_clip_folder, tmp_path / "run", replace(CONFIG, max_steps=None, epochs=2))


def test_validation_passes_over_unreadable_images(table: PairsTable, small_clip_folder: Path, tmp_path: Path) -> None:
    spoil(table, 2)
    config = replace(CONFIG, max_steps=2)
    _, report = trained(table, small_clip_folder, tmp_path / "run", config, val=table)
    assert len(report.validation) >= 1
    spoil(table, *range(23))
    with pytest.raises(DataError, match="no image to validate on can be read"):
        trained(table, small_clip_folder, tmp_path / "other", config, val=table)
