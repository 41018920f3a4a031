"""When bfloat16 is chosen, with clocks and processors made up; what measuring leaves behind; that a run keeps it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.training import TrainConfig, precision, train
from fastgoal.training.precision import Precision, choose_precision, cpu_has_bf16, settled_precision

CONFIG: dict[str, Any] = {"max_steps": 2, "batch_size": 4, "learning_rate": 1e-3, "text_tokens": 77, "log_every": 1}


@pytest.fixture
def measurable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has bfloat16, and no model too small for it."""
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(precision, "SMALL", 0)


def clock(monkeypatch: pytest.MonkeyPatch, seconds: dict[torch.dtype | None, list[float]]) -> list[int]:
    """Let the passes take these times, in their order; returns the sizes of the batches."""
    left: dict[torch.dtype | None, Iterator[float]] = {dtype: iter(own) for dtype, own in seconds.items()}
    sizes: list[int] = []

    def fake(_: DualEncoder, pixels_BCHW: torch.Tensor, __: object, dtype: torch.dtype | None) -> float:
        sizes.append(len(pixels_BCHW))
        return next(left[dtype])

    monkeypatch.setattr(precision, "_seconds", fake)
    return sizes


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen", "says"),
    [
        ([9.0, 1.0, 1.0, 7.0], [0.1, 0.5, 0.5, 9.0], "bf16", "bf16 took 0.50 times as long here (measured, batch 2)"),
        ([0.1, 1.0, 1.0, 1.0], [0.1, 2.3, 2.3, 2.3], "fp32", "bf16 took 2.30 times as long here (measured, batch 2)"),
        ([0.1, 1.0, 1.0, 1.0], [0.1, 0.9, 0.9, 0.9], "fp32", "bf16 took 0.90 times as long here (measured, batch 2)"),
    ],
)
def test_bf16_is_taken_where_it_is_clearly_faster(
    encoder: DualEncoder, measurable: None, monkeypatch: pytest.MonkeyPatch, fp32, bf16, chosen, says
) -> None:
    """By the median of three, the first pass of each left out."""
    clock(monkeypatch, {None: fp32, torch.bfloat16: bf16})
    assert choose_precision(encoder, 16) == Precision(chosen=chosen, reason=says)


def test_the_measured_batch_is_never_larger_than_the_runs(
    encoder: DualEncoder, measurable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(precision.MOST, "cpu", 8)
    for asked, measured in ((5, 5), (64, 8)):
        sizes = clock(monkeypatch, {None: [1.0] * 4, torch.bfloat16: [1.0] * 4})
        assert choose_precision(encoder, asked).reason.endswith(f"batch {measured})")
        assert set(sizes) == {measured}


def test_a_batch_without_room_is_halved(
    encoder: DualEncoder, measurable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(precision.MOST, "cpu", 8)

    def fails(largest: int) -> Callable[..., float]:
        def seconds(_: object, pixels_BCHW: torch.Tensor, *__: object) -> float:
            if len(pixels_BCHW) > largest:
                raise torch.OutOfMemoryError
            return 1.0

        return seconds

    monkeypatch.setattr(precision, "_seconds", fails(3))
    assert choose_precision(encoder, 8).reason == "bf16 took 1.00 times as long here (measured, batch 2)"
    monkeypatch.setattr(precision, "_seconds", fails(0))
    assert choose_precision(encoder, 8).chosen == "bf16"


def test_nothing_is_measured_where_the_answer_is_known(encoder: DualEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = clock(monkeypatch, {})
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    assert choose_precision(encoder, 16) == Precision(chosen="fp32", reason="this CPU has no bf16 instructions")
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    assert choose_precision(encoder, 16).reason == "the model is too small for bf16 to pay on a CPU"
    monkeypatch.setattr(precision, "MOST", {})
    assert choose_precision(encoder, 16).reason == "bf16 is not used on a device of type cpu"
    assert sizes == []


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="there is no other source to compare with")
def test_the_processor_is_asked_what_the_kernel_knows() -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    assert cpu_has_bf16() == bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def test_measuring_leaves_no_trace(encoder: DualEncoder, measurable: None) -> None:
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    torch.manual_seed(5)
    state, training = torch.get_rng_state(), encoder.training
    choice = choose_precision(encoder, 4)
    assert "measured, batch 2" in choice.reason
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert [name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])] == []
    assert encoder.training == training


def test_both_types_run_what_they_are_called(encoder: DualEncoder, measurable: None) -> None:
    """Each pass embeds noise and texts at the limit, in the type that is timed."""
    seen: list[tuple[torch.dtype, tuple[int, ...]]] = []
    layer = encoder.model.text_model.encoder.layers[0].mlp.fc1
    layer.register_forward_hook(lambda _, __, output: seen.append((output.dtype, tuple(output.shape[:2]))))
    choose_precision(encoder, 4)
    assert seen == [(dtype, (2, 77)) for _ in range(4) for dtype in (torch.float32, torch.bfloat16)]


def test_what_is_asked_for_is_not_measured(encoder: DualEncoder, tmp_path: Path, measurable: None) -> None:
    for asked in ("fp32", "bf16"):
        choice = settled_precision(asked, encoder, 4, tmp_path / f"{asked}.json")
        assert choice == Precision(chosen=asked, reason="as asked")
    assert (choice.dtype, Precision(chosen="fp32", reason="").dtype) == (torch.bfloat16, None)


def test_a_run_keeps_what_it_began_with(
    write_table: Callable[..., PairsTable],
    small_clip_folder: Path,
    tmp_path: Path,
    measurable: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The same device, but another day: the clock would now say otherwise."""
    table, config, run = write_table(), TrainConfig(**CONFIG), tmp_path / "run"
    clock(monkeypatch, {None: [3.0] * 4, torch.bfloat16: [1.0] * 4})
    first = train(table, DualEncoder.load(small_clip_folder), run, config)
    wanted = {"chosen": "bf16", "reason": "bf16 took 0.33 times as long here (measured, batch 2)"}
    assert first.precision == json.loads((run / "precision.json").read_text()) == wanted
    assert json.loads((run / "train.json").read_text())["precision"] == wanted
    assert f"goal: precision bf16: {wanted['reason']}\n" in capfd.readouterr().err
    (run / "train.json").unlink()
    clock(monkeypatch, {})
    again = train(table, DualEncoder.load(small_clip_folder), run, config, resume=True, progress=False)
    assert again.precision == wanted
    assert "precision" not in capfd.readouterr().err


def test_the_choice_reaches_the_towers(
    write_table: Callable[..., PairsTable], small_clip_folder: Path, tmp_path: Path, measurable, monkeypatch
) -> None:
    """`auto` that chose a type trains to the same weights as that type asked for, bit for bit."""
    table, found = write_table(), {}
    for name, asked, fp32 in (("a", "auto", 3.0), ("b", "bf16", 0.0), ("c", "auto", 1.0), ("d", "fp32", 0.0)):
        clock(monkeypatch, {None: [fp32] * 4, torch.bfloat16: [1.0] * 4})
        encoder = DualEncoder.load(small_clip_folder)
        train(table, encoder, tmp_path / name, TrainConfig(**CONFIG, precision=asked), progress=False)
        found[name] = encoder.model.visual_projection.weight.detach()
    assert torch.equal(found["a"], found["b"])
    assert torch.equal(found["c"], found["d"])
    assert not torch.equal(found["a"], found["c"])
