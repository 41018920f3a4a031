import json
import math
import os
import queue
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import ModelCard
from transformers import CLIPModel, CLIPProcessor

from fastgoal.errors import ConfigError, FastgoalError
from fastgoal.interrupts import Interrupted
from fastgoal.losses import METHODS
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.training import TrainConfig, batches, loop, train
from fastgoal.training.batches import Collator, PairsDataset, Views
from fastgoal.training.feed import Feed
from fastgoal.training.objective import Objective
from fastgoal.training.order import EpochBatches
from fastgoal.training.validation import RetrievalValidation, mean_recall_at_1

WriteTable = Callable[..., PairsTable]
CONFIG: dict[str, Any] = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-3, "text_tokens": 77, "log_every": 1}


class PowerCutError(Exception):
    """Stands in for a kill."""


def killer(step: int, scores: dict[int, float] | None = None) -> Callable[[DualEncoder], float]:
    """A validation (at every step) that dies at a step; otherwise it gives that call's score."""
    calls = iter(range(1000))

    def validate(_: DualEncoder) -> float:
        number = next(calls)
        if number == step:
            raise PowerCutError
        return (scores or {}).get(number, 0.0)

    return validate


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    measured = {"samples_per_second", "data_wait", "seconds", "memory_mib"}
    return [{name: value for name, value in row.items() if name not in measured} for row in rows]


def weights_of(encoder: DualEncoder) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.fixture
def fresh(small_clip_folder: Path) -> Callable[[], DualEncoder]:
    return lambda: DualEncoder.load(small_clip_folder)


@pytest.mark.parametrize("exact", [False, True])
def test_training_and_its_validation_decode_as_they_are_told(
    write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path, monkeypatch: Any, exact: bool
) -> None:
    seen, read = set(), batches.read_views

    def spy(source: Path, *rest: Any, exact: bool, **named: Any) -> Any:
        seen.add((source.parent.name, exact))
        return read(source, *rest, exact=exact, **named)

    monkeypatch.setattr(batches, "read_views", spy)
    config = TrainConfig(batch_size=4, max_steps=1, text_tokens=77, exact_decode=exact)
    train(write_table(), fresh(), tmp_path / "run", config, val=write_table(name="val"))
    assert seen == {("pairs-data", exact), ("val-data", exact)}


def test_a_run_equals_a_plain_loop(write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path) -> None:
    """AdamW on everything, cosine to 0 per step, the sampler's batches, in the order of the epochs."""
    table, trained, plain = write_table(), fresh(), fresh()
    train(table, trained, tmp_path / "run", TrainConfig(**CONFIG))
    dataset = PairsDataset(table)
    batches = EpochBatches(dataset.id_N, dataset.image_N, batch_size=4, seed=1337)
    collate = Collator.of(plain, Views(table.images, plain.fit, 0), METHODS["goal"])
    optimiser = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: (1 + math.cos(math.pi * step / 9)) / 2)
    losses = []
    for epoch in range(3):
        batches.set_epoch(epoch)
        for positions in batches:
            optimiser.zero_grad()
            loss = Objective(weights=METHODS["goal"])(plain, collate([dataset[i] for i in positions]))["loss"]
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
    rows = history(tmp_path / "run")
    assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-4)
    assert [row["lr"] for row in rows] == pytest.approx([5e-4 * (1 + math.cos(math.pi * i / 9)) for i in range(9)])
    for name, value in plain.state_dict().items():
        # The gradient of a key's bias is 0 but for rounding, which Adam scales up to full steps.
        atol = 1e-3 if name.endswith("k_proj.bias") else 1e-6
        torch.testing.assert_close(trained.state_dict()[name], value, rtol=1e-4, atol=atol)


@pytest.mark.parametrize(
    ("killed_at", "resumed_from", "extra"),
    [
        (3, 2, {"save_every": 2}),  # within the first epoch
        (6, 4, {"save_every": 2}),  # within the second
        (5, 3, {}),  # after the first epoch
        (2, 0, {}),  # before any checkpoint
        (3, 2, {"save_every": 1, "accumulate": 2}),
    ],
)
def test_resumed_weights_are_the_uninterrupted_ones_bit_for_bit(
    write_table: WriteTable,
    fresh: Callable[[], DualEncoder],
    tmp_path: Path,
    killed_at: int,
    resumed_from: int,
    extra: dict[str, Any],
) -> None:
    table, config = write_table(), TrainConfig(**CONFIG, **extra, eval_every=1)
    scores = {100: 1.0}
    straight, halted, resumed = fresh(), fresh(), fresh()
    train(table, straight, tmp_path / "a", config, val=killer(-1, scores))
    with pytest.raises(PowerCutError):
        train(table, halted, tmp_path / "b", config, val=killer(killed_at, scores))
    checkpoints = [int(path.name.split("-")[1]) for path in (tmp_path / "b" / "checkpoints").glob("*")]
    assert max(checkpoints, default=0) == resumed_from
    report = train(table, resumed, tmp_path / "b", config, val=killer(-1, scores), resume=True)
    last = max((tmp_path / "a" / "checkpoints").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    for file in ("model.safetensors", "scheduler.pt"):
        assert (last / file).read_bytes() == (tmp_path / "b" / "checkpoints" / last.name / file).read_bytes()
    assert_equal(weights_of(straight), weights_of(resumed))
    a, b = history(tmp_path / "a"), history(tmp_path / "b")
    assert without_times(a) == without_times(b)
    assert report.steps == a[-1]["step"]


@pytest.mark.parametrize("hit", [1, 3, 9])
def test_a_signal_in_a_validation_saves_before_it_and_resuming_makes_up_for_it(
    write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path, hit: int
) -> None:
    """Scores by step; the best weights are those of the very step whose validation was cut short."""
    table, config = write_table(), TrainConfig(**{**CONFIG, "log_every": 2}, eval_every=1, save_every=100)
    scores = {hit: 5.0}
    straight, resumed = fresh(), fresh()
    expected = train(table, straight, tmp_path / "a", config, val=killer(-1, scores))

    def validate(_: DualEncoder) -> float:
        step = len([row for row in history(tmp_path / "b") if "retrieval" in row])
        if step == hit and not (tmp_path / "b" / "checkpoints").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        return scores.get(step, 0.0)

    with pytest.raises(Interrupted, match="SIGTERM") as caught:
        train(table, fresh(), tmp_path / "b", config, val=validate)
    assert caught.value.code == 143
    assert (tmp_path / "b" / "checkpoints" / f"checkpoint-{hit}").is_dir()
    report = train(table, resumed, tmp_path / "b", config, val=validate, resume=True)
    assert (report.best_step, report.steps, report.validation) == (hit, 9, expected.validation)
    assert_equal(weights_of(straight), weights_of(resumed))
    assert without_times(history(tmp_path / "a")) == without_times(history(tmp_path / "b"))


def test_a_run_killed_behind_the_step_that_ended_its_patience_does_no_further_one(
    write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path
) -> None:
    config, scores = TrainConfig(**CONFIG, eval_every=1, save_every=1, patience=2), {1: 5.0}
    table, straight, resumed = write_table(), fresh(), fresh()
    first = train(table, straight, tmp_path / "run", config, val=killer(-1, scores))
    (tmp_path / "run" / "train.json").unlink()
    again = train(table, resumed, tmp_path / "run", config, val=killer(0), resume=True)
    assert (again.steps, again.best_step) == (first.steps, first.best_step) == (3, 1)
    assert_equal(weights_of(straight), weights_of(resumed))


def test_the_best_weights_are_kept_and_are_a_plain_folder(
    write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    scores = iter([90.0, 10.0, 30.0, 20.0, 30.0, 5.0])  # the first one is of the untrained weights

    def validate(encoder: DualEncoder) -> float:
        seen.append(weights_of(encoder))
        return next(scores)

    encoder = fresh()
    report = train(write_table(), encoder, tmp_path / "run", TrainConfig(**{**CONFIG, "epochs": 5}), val=validate)
    assert report.best_step == 6
    assert report.validation == {"0": 90.0, "3": 10.0, "6": 30.0, "9": 20.0, "12": 30.0, "15": 5.0}
    assert_equal(weights_of(encoder), seen[2])
    stock = CLIPModel.from_pretrained(tmp_path / "run" / "model")
    assert_equal({f"model.{name}": value for name, value in stock.state_dict().items()}, seen[2])
    assert CLIPProcessor.from_pretrained(tmp_path / "run" / "model").tokenizer.model_max_length == 77
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "| weights of step | 6 |" in card
    assert "30.00 % (before training: 90.00)" in card
    said = ModelCard(card).data  # as the hub reads it
    assert (said.license, said.language, said.library_name) == ("unknown", ["en"], "transformers")
    assert [(r.task_name, r.dataset_name, r.metric_value) for r in said.eval_results] == [
        ("validation", "held-out samples", 30.0)
    ]
    assert not encoder.training


def test_patience_stops_and_best_survives_a_resume(
    write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path
) -> None:
    config = TrainConfig(**{**CONFIG, "epochs": 9}, eval_every=1, save_every=3, patience=3)
    table, scores = write_table(), {1: 1.0, 2: 5.0}
    with pytest.raises(PowerCutError):
        train(table, fresh(), tmp_path / "run", config, val=killer(4, scores))
    report = train(table, fresh(), tmp_path / "run", config, val=killer(-1), resume=True)
    assert (report.best_step, report.steps) == (2, 5)  # 3, 4 and 5 were not better


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_samples(
    write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path
) -> None:
    encoder = fresh()
    encoder.model.visual_projection.weight.data[0, 0] = float("nan")
    with pytest.raises(FastgoalError, match=r"nan at step 1 \(samples s\d+, ") as caught:
        train(write_table(), encoder, tmp_path / "run", TrainConfig(**CONFIG))
    written = json.loads((tmp_path / "run" / "nonfinite.json").read_text())
    assert written["step"] == 1
    assert len(written["ids"]) == 4
    assert "learning_rate" in str(caught.value)


def test_what_a_run_leaves_behind(
    write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    level = transformers.logging.get_verbosity()
    encoder = fresh()
    capfd.readouterr()
    report = train(write_table(), encoder, tmp_path / "run", TrainConfig(**CONFIG))
    shown = capfd.readouterr()
    assert shown.out == ""
    first, *others = shown.err.splitlines()
    assert first.startswith("goal: precision ")
    assert all(line.startswith("goal: step ") for line in others)
    assert transformers.logging.get_verbosity() == level
    assert json.loads((tmp_path / "run" / "train.json").read_text()) == json.loads(json.dumps(vars(report)))
    assert report.steps == 9
    assert report.samples_per_second > 0
    rows = history(tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert [row["done"] for row in rows] == pytest.approx([step / 9 for step in range(1, 10)])
    assert 0 < rows[0]["memory_mib"] <= rows[-1]["memory_mib"] == pytest.approx(report.peak_memory_mib, rel=0.1)
    for name in ("loss", "global", "local", "tsl"):
        assert report.loss[name] == {"first": rows[0][name], "last": rows[-1][name]}
    assert report.unpaired == pytest.approx(2 / 11)
    assert rows[4]["loss"] == pytest.approx(rows[4]["global"] + 0.5 * rows[4]["local"] + rows[4]["tsl"])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "best.json", "checkpoints", "history.jsonl", "model", "precision.json", "settings.json", "train.json",
    ]  # fmt: skip


def test_an_image_that_does_not_come_is_named(
    write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path, monkeypatch: Any
) -> None:
    """Reading an image of the second batch hangs until it has been told of."""
    said: queue.Queue[str] = queue.Queue()
    read, count, told = batches.read_views, iter(range(1000)), []

    def hanging(source: Path, *rest: Any, **named: Any) -> Any:
        if next(count) == 5:
            while not (line := said.get(timeout=60)).endswith(f"last image {source.name})"):
                pass  # on a busy machine the first batch may be told of as well
            told.extend([source.name, line])
        return read(source, *rest, **named)

    monkeypatch.setattr(batches, "read_views", hanging)
    monkeypatch.setattr(loop, "Feed", partial(Feed, after=0.01, say=said.put))
    train(write_table(), fresh(), tmp_path / "run", TrainConfig(**{**CONFIG, "epochs": 1}))
    assert told[1] == f"waiting for data for 0 s (the batch of step 2; last image {told[0]})"


def test_a_folder_is_never_taken_over(
    write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path
) -> None:
    table, config = write_table(), TrainConfig(**{**CONFIG, "epochs": 1})
    first = train(table, fresh(), tmp_path / "run", config, progress=False)
    with pytest.raises(ConfigError, match="already holds a run"):
        train(table, fresh(), tmp_path / "run", config)
    other = TrainConfig(**{**CONFIG, "epochs": 1, "seed": 3})
    with pytest.raises(ConfigError, match="seed was 1337, now 3"):
        train(table, fresh(), tmp_path / "run", other, resume=True)
    with pytest.raises(ConfigError, match="data was"):
        train(write_table(name="other", seed=5), fresh(), tmp_path / "run", config, resume=True)
    encoder = fresh()
    again = train(table, encoder, tmp_path / "run", TrainConfig(**{**CONFIG, "epochs": 1, "log_every": 7}), resume=True)
    assert json.loads(json.dumps(vars(again))) == json.loads(json.dumps(vars(first)))
    assert_equal(weights_of(encoder), weights_of(DualEncoder.load(tmp_path / "run" / "model")))


@pytest.mark.parametrize("steps", [3, 4])
def test_a_run_killed_behind_its_last_step_does_no_further_one(
    write_table: WriteTable, fresh: Callable[[], DualEncoder], tmp_path: Path, steps: int
) -> None:
    table, config, encoder, resumed = write_table(), TrainConfig(**CONFIG, max_steps=steps), fresh(), fresh()
    first = train(table, encoder, tmp_path / "run", config)
    for name in ("train.json", "best.json"):
        (tmp_path / "run" / name).unlink()
    again = train(table, resumed, tmp_path / "run", config, resume=True)
    assert (again.steps, again.best_step, again.loss) == (steps, steps, first.loss)
    assert_equal(weights_of(encoder), weights_of(resumed))


def test_the_logit_scale_stays_at_most_100(write_table: WriteTable, encoder: DualEncoder, tmp_path: Path) -> None:
    encoder.model.logit_scale.data.fill_(5.0)
    train(write_table(), encoder, tmp_path / "run", TrainConfig(**{**CONFIG, "epochs": 1}))
    assert encoder.model.logit_scale.item() <= math.log(100) + 1e-6


def test_the_text_limit_is_stretched_as_asked(write_table: WriteTable, encoder: DualEncoder, tmp_path: Path) -> None:
    train(write_table(), encoder, tmp_path / "run", TrainConfig(**{**CONFIG, "epochs": 1, "text_tokens": 120}))
    assert DualEncoder.load(tmp_path / "run" / "model").text_limit == 120


def test_validation_counts_several_captions_of_an_image(write_table: WriteTable, encoder: DualEncoder) -> None:
    table = write_table()
    value = RetrievalValidation.of(table, encoder, 2**20)(encoder)
    rows = list(table)
    collate = Collator.of(encoder, Views(table.images, encoder.fit, 0), METHODS["global"])
    with torch.no_grad():
        batch = collate(rows)
        assert batch.captions is not None
        images = encoder.encode_images(collate_pixels(batch.views_NHWC, encoder)).embedding_BD
        texts = encoder.encode_texts(batch.captions).embedding_BD
    sim = (images @ texts.T).numpy()
    t2i = np.mean([rows[sim[:, j].argmax()].image == rows[j].image for j in range(len(rows))])
    unique = [i for i in range(len(rows)) if rows[i].id != "s20"]
    i2t = np.mean([rows[sim[i].argmax()].image == rows[i].image for i in unique])
    assert value == pytest.approx(50 * (t2i + i2t))


def collate_pixels(views: torch.Tensor, encoder: DualEncoder) -> torch.Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (encoder.fit.mean, encoder.fit.std))
    return (views.permute(0, 3, 1, 2) / 255 - mean) / std


def test_recall_by_hand_and_collapse_scores_nothing() -> None:
    images = np.eye(3, dtype=np.float32)
    texts = np.array([[1, 0, 0], [0, 0.2, 0.9], [0, 0, 1], [0.9, 0, 0.1]], dtype=np.float32)
    # Captions 0, 1, 2, 3 belong to images 0, 1, 2, 0. Caption 1 finds image 2; image 1 finds caption 1.
    assert mean_recall_at_1(images, texts, np.array([0, 1, 2, 0])) == pytest.approx(50 * (3 / 4 + 3 / 3))
    assert mean_recall_at_1(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32), np.arange(3)) == 0
