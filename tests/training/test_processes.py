"""Whole runs on several ranks against one process: losses, weights, resuming on another number of ranks, and ends."""

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.ranks import environment, on_ranks

from fastgoal.errors import ConfigError, FastgoalError
from fastgoal.interrupts import Interrupted
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.training import TrainConfig, team, train
from fastgoal.training.team import Team, TeamError, own_device

WriteTable = Callable[..., PairsTable]
CONFIG = TrainConfig(batch_size=5, learning_rate=1e-4, text_tokens=77, log_every=1, max_steps=20, save_every=2)
"""Of eleven samples the last batch of an epoch has one, which is dropped; fives go to four ranks as 2, 1, 1, 1."""
LONG = replace(CONFIG, save_every=20, eval_every=10)
WAYS = {
    "copied": {},
    "cached": {"micro_batch": 1},
    "sharded": {"shard": True},
    "averaged": {"accumulate": 2},
    "adapted": {"image_tower": "lora", "text_tower": "frozen"},
}


def losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def trained(table: PairsTable, model: Path, run: Path, config: TrainConfig, **options: Any) -> dict[str, torch.Tensor]:
    encoder = DualEncoder.load(model)
    train(table, encoder, run, config, progress=False, **options)
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def assert_near(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        # The gradient of a key's bias is 0 but for rounding, which Adam scales up to full steps.
        atol = 5e-3 if name.endswith("k_proj.bias") else 1e-4
        torch.testing.assert_close(
            found[name], value, rtol=1e-3, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(
    ("size", "way"), [(2, "copied"), (4, "copied"), (2, "cached"), (2, "sharded"), (2, "averaged"), (2, "adapted")]
)
def test_twenty_steps_are_those_of_one_process(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path, size: int, way: str
) -> None:
    shared = {name: value for name, value in WAYS[way].items() if name not in ("micro_batch", "shard")}
    table, alone = write_table(), replace(LONG, **shared)
    wanted = trained(table, small_clip_folder, tmp_path / "alone", alone, val=table)
    config = replace(LONG, **WAYS[way])
    of_ranks = on_ranks(size, lambda team: trained(table, small_clip_folder, tmp_path / "team", config, val=table))
    assert losses(tmp_path / "team") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    assert len(losses(tmp_path / "team")) == 20
    for weights in of_ranks:
        assert_near(weights, wanted)
    saved = DualEncoder.load(tmp_path / "team" / "model").state_dict()
    assert all(torch.equal(saved[name], value) for name, value in of_ranks[0].items())
    report = json.loads((tmp_path / "team" / "train.json").read_text())
    assert report["steps"] == 20
    assert (
        report["validation"].keys() == json.loads((tmp_path / "alone" / "train.json").read_text())["validation"].keys()
    )


@pytest.mark.parametrize(("sizes", "shard"), [((2, 1), False), ((1, 3), False), ((3, 2), True)])
def test_a_run_goes_on_with_another_number_of_ranks(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path, sizes: tuple[int, int], shard: bool
) -> None:
    table, config = write_table(), replace(CONFIG, max_steps=6, shard=shard)
    wanted = trained(table, small_clip_folder, tmp_path / "alone", replace(config, shard=False))

    def until_it_fails(team: Team) -> None:
        with pytest.raises(ZeroDivisionError):
            trained(table, small_clip_folder, tmp_path / "run", replace(config, eval_every=3), val=failing(3))

    def to_the_end(team: Team) -> dict[str, torch.Tensor]:
        settings = replace(config, eval_every=3)
        return trained(table, small_clip_folder, tmp_path / "run", settings, val=failing(9), resume=True)

    run_on(sizes[0], until_it_fails)
    for weights in run_on(sizes[1], to_the_end):
        assert_near(weights, wanted)
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)


def test_a_checkpoint_without_a_ranks_file_is_named_and_passed_over(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table, config = write_table(), replace(CONFIG, max_steps=6, eval_every=5)

    def begun(team: Team) -> None:
        with pytest.raises(ZeroDivisionError):
            trained(table, small_clip_folder, tmp_path / "run", config, val=failing(2))

    run_on(2, begun)
    (tmp_path / "run" / "checkpoints" / "checkpoint-4" / "rng_state_1.pth").unlink()
    run_on(2, lambda _: trained(table, small_clip_folder, tmp_path / "run", config, val=failing(9), resume=True))
    said = capfd.readouterr().err
    assert said.count("checkpoint-4 is not whole (rng_state_1.pth): continuing from checkpoint-2") == 1
    assert len(losses(tmp_path / "run")) == 6


def run_on(size: int, work: Callable[[Team], Any]) -> list[Any]:
    return on_ranks(size, work) if size > 1 else [work(Team())]


def failing(at: int) -> Callable[[DualEncoder], float]:
    """A validation that scores higher each time, and fails the `at`-th time from the start of training on."""
    calls = iter(range(1, 100))

    def validate(encoder: DualEncoder) -> float:
        call = next(calls)
        return call / (at - call)

    return validate


# Ends


def outcome(work: Callable[[], Any]) -> str:
    """What a rank ends with, as its user would read it."""
    try:
        work()
    except Interrupted as error:
        return f"interrupted {error.code}"
    except FastgoalError as error:
        return str(error)
    return "done"


def test_a_rank_that_fails_tells_the_others_why(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path
) -> None:
    table = write_table()

    def work(team: Team) -> str:
        calls = iter(range(9))

        def validate(encoder: DualEncoder) -> float:
            if next(calls) == 1 and team.rank == 1:
                raise FastgoalError("a cable came loose", mend="Push it in")
            return 1.0

        config = replace(CONFIG, eval_every=4)
        return outcome(lambda: trained(table, small_clip_folder, tmp_path / "run", config, val=validate))

    said = on_ranks(3, work)
    assert said[1] == "a cable came loose. Push it in"
    for rank in (0, 2):
        assert said[rank] == (
            "another process of this run has ended (rank 1: a cable came loose. Push it in). "
            "Mend what it says; the newest checkpoint is kept, and --resume continues from it."
        )
    assert (tmp_path / "run" / "checkpoints" / "checkpoint-2").exists()


def test_a_rank_that_is_killed_ends_the_others_within_seconds(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path
) -> None:
    table = write_table()

    def work(team: Team) -> str:
        def validate(encoder: DualEncoder) -> float:
            if team.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return 1.0

        return outcome(lambda: trained(table, small_clip_folder, tmp_path / "run", CONFIG, val=validate))

    said = on_ranks(2, work, timeout=60, gone={1})
    assert "another process of this run has ended (it said nothing, so it was killed)" in said[0]


@pytest.mark.parametrize("where", ["step", "validation"])
def test_a_signal_to_one_rank_stops_all_at_the_same_step(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path, where: str
) -> None:
    table = write_table()
    trained(table, small_clip_folder, tmp_path / "alone", CONFIG)

    def work(team: Team) -> str:
        calls = iter(range(9))

        def validate(encoder: DualEncoder) -> float:
            if next(calls) == 1 and team.rank == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return 1.0

        config = replace(CONFIG, eval_every=3)
        if where == "step" and team.rank == 1:
            stop_at(3, signal.SIGTERM)
        return outcome(lambda: trained(table, small_clip_folder, tmp_path / "run", config, val=validate))

    assert on_ranks(2, work) == ["interrupted 143"] * 2
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {"checkpoint-2", "checkpoint-3"}
    config = replace(CONFIG, eval_every=3)
    trained(table, small_clip_folder, tmp_path / "run", config, val=lambda _: 1.0, resume=True)
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)


def stop_at(step: int, number: signal.Signals) -> None:
    """Send this process a signal while it makes its `step`-th step."""
    made, plain = iter(range(1, 99)), torch.optim.AdamW.step

    def stepping(self: torch.optim.AdamW, *args: Any, **options: Any) -> Any:
        if next(made) == step:
            os.kill(os.getpid(), number)
        return plain(self, *args, **options)

    torch.optim.AdamW.step = stepping  # type: ignore[method-assign]


def test_a_loss_that_is_not_a_number_names_the_samples_of_all(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path
) -> None:
    table = write_table()

    def work(team: Team) -> str:
        encoder = DualEncoder.load(small_clip_folder)
        encoder.model.visual_projection.weight.data[0, 0] = float("nan")
        return outcome(lambda: train(table, encoder, tmp_path / "run", CONFIG, progress=False))

    for said in on_ranks(2, work):
        assert "the loss became nan at step 1" in said
    assert len(json.loads((tmp_path / "run" / "nonfinite.json").read_text())["ids"]) == 5


def test_a_rank_that_waits_for_another_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second rank comes once the first one has spoken."""
    monkeypatch.setattr(team, "PATIENCE", 0.01)
    spoken = get_context("fork").Event()
    monkeypatch.setattr(sys, "stderr", Listener(spoken))

    def work(team: Team) -> bool:
        heard = team.rank == 0 or spoken.wait(60)
        return all(team.all(heard))

    assert on_ranks(2, work) == [True, True]


class Listener(io.StringIO):
    """Sets the event when rank 0 says that it waits."""

    def __init__(self, spoken: Any) -> None:
        super().__init__()
        self._spoken = spoken

    def write(self, text: str) -> int:
        if "rank 0: waiting for the other processes for 0 s" in text:
            self._spoken.set()
        return len(text)


# What is refused


def test_ranks_that_run_different_things_are_refused(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path
) -> None:
    table = write_table()

    def work(team: Team) -> str:
        config = replace(CONFIG, seed=7 + team.rank)
        return outcome(lambda: trained(table, small_clip_folder, tmp_path / "run", config))

    said = on_ranks(2, work)
    assert said[0].startswith("rank 0: the processes differ in seed: 7 here, 8 on rank 1.")
    assert said[1].startswith("rank 1: the processes differ in seed: 8 here, 7 on rank 0.")


def test_a_batch_has_to_be_enough_for_all(write_table: WriteTable, small_clip_folder: Path, tmp_path: Path) -> None:
    table, config = write_table(), replace(CONFIG, batch_size=2)
    for said in on_ranks(3, lambda team: outcome(lambda: trained(table, small_clip_folder, tmp_path / "r", config))):
        assert said.startswith("batch_size: a batch of 2 samples for 3 processes. batch_size counts the samples of all")


def test_one_process_has_nobody_to_share_with(write_table: WriteTable, small_clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody to share the weights with"):
        trained(write_table(), small_clip_folder, tmp_path / "run", replace(CONFIG, shard=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not set"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE: 'two' is not a whole number"),
        (environment(2, 2, 1), "a rank of 2 in a team of 2"),
    ],
)
def test_an_environment_that_contradicts_itself(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], message: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        Team.join(torch.device("cpu"))


def test_others_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(1, 2, 1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(team, "JOINING", timedelta(seconds=1))
    with pytest.raises(TeamError, match="the other processes cannot be reached"):
        Team.join(torch.device("cpu"))


def test_more_ranks_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(1, 2, 1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="process 1 of this node has no GPU of its own"):
        own_device("cuda")
    assert own_device("cpu") == "cpu"
