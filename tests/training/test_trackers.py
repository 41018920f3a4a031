"""Trackers: a wrong or missing one is refused before anything is computed, and one that is there gets every line."""

import importlib.util
import json
from dataclasses import replace
from functools import partial

import pytest
from transformers import TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from fastgoal.errors import ConfigError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.training import TrainConfig, train
from fastgoal.training.trackers import TRACKERS, expect_trackers


def test_every_name_is_one_that_the_trainer_knows():
    assert set(TRACKERS) <= set(INTEGRATION_TO_CALLBACK)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tensorbord", r"^log_to: unknown tracker 'tensorbord'\. Did you mean 'tensorboard'\?$"),
        ("all", r"^log_to: unknown tracker 'all'\. Choose from: azure_ml, .*, wandb\.$"),
    ],
)
def test_an_unknown_name_is_no_setting(name, said):
    with pytest.raises(ConfigError, match=said):
        TrainConfig(log_to=("wandb", name))


def test_what_is_not_installed_is_named_before_the_run_begins(tmp_path, encoder, write_table, monkeypatch):
    monkeypatch.setitem(TRACKERS, "comet_ml", ("no_such_module", "json"))
    with pytest.raises(ConfigError) as caught:
        train(write_table(), encoder, tmp_path / "run", TrainConfig(log_to=("comet_ml",)))
    assert str(caught.value) == (
        "log_to: comet_ml needs no_such_module, not installed here. Run: pip install no_such_module."
    )
    assert not (tmp_path / "run").exists()


def test_a_package_of_another_name_is_named_as_it_is_installed(monkeypatch):
    monkeypatch.setattr("fastgoal.training.trackers.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"comet_ml needs comet-ml, .*pip install comet-ml\."):
        expect_trackers(["comet_ml"])
    with pytest.raises(ConfigError, match=r"pip install dagshub mlflow\."):
        expect_trackers(["dagshub"])


class Tracker(TrainerCallback):
    """Fails from the event `failing` on, as it would without its server."""

    failing, events = "", []

    def _meet(self, event):
        self.events.append(event)
        if event == self.failing:
            raise OSError("no server\nand a long story")

    def on_train_begin(self, args, state, control, **kwargs):
        self._meet("begin")

    def on_log(self, args, state, control, **kwargs):
        self._meet("log")


@pytest.fixture
def tracker(monkeypatch):
    monkeypatch.setitem(INTEGRATION_TO_CALLBACK, "wandb", Tracker)
    monkeypatch.setitem(TRACKERS, "wandb", ())
    monkeypatch.setattr(Tracker, "events", [])
    return partial(monkeypatch.setattr, Tracker, "failing")


SHORT = TrainConfig(max_steps=3, batch_size=4, text_tokens=77, log_every=1, log_to=("wandb",))


def test_a_tracker_that_fails_later_is_left_alone_and_training_goes_on(tmp_path, encoder, write_table, tracker, capsys):
    tracker("log")
    report = train(write_table(), encoder, tmp_path / "run", SHORT, progress=False)
    assert report.steps == 3
    assert Tracker.events == ["begin", "log"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wandb failed (no server); it is left alone")


def test_a_tracker_that_cannot_begin_is_refused_and_can_be_resumed_without(tmp_path, encoder, write_table, tracker):
    tracker("begin")
    table = write_table()
    with pytest.raises(ConfigError, match=r"^log_to: wandb failed \(no server\)\. Set it up"):
        train(table, encoder, tmp_path / "run", SHORT, progress=False)
    assert train(table, encoder, tmp_path / "run", replace(SHORT, log_to=()), resume=True).steps == 3


def test_one_that_works_gets_every_line(tmp_path, encoder, write_table, tracker):
    train(write_table(), encoder, tmp_path / "run", SHORT, progress=False)
    assert Tracker.events == ["begin", "log", "log", "log"]


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_gets_what_the_history_gets(tmp_path, small_clip_folder, write_table):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = TrainConfig(max_steps=3, eval_every=2, batch_size=4, text_tokens=77, log_every=1, log_to=("tensorboard",))
    train(write_table(), DualEncoder.load(small_clip_folder), tmp_path / "run", config, val=lambda _: 7.0)
    (events,) = (tmp_path / "run" / "runs").iterdir()
    told = EventAccumulator(str(events)).Reload()
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    for name in {name for row in rows for name in row} - {"step"}:
        ours = [(row["step"], row[name]) for row in rows if name in row and row["step"]]
        theirs = [(event.step, event.value) for event in told.Scalars(f"train/{name}") if event.step]
        assert theirs == [(step, pytest.approx(value, rel=1e-6)) for step, value in ours], name
