"""Compiled towers: how many graphs, the same losses, and nothing left behind. The compiler is one that only counts,
which needs no C++; and the towers have one layer, because torch takes seconds for each graph."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.families import save_siglip
from torch import nn

from fastgoal.errors import ConfigError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.training import TrainConfig, compiling, train
from fastgoal.training.compiling import compiled, expect_compiler

WriteTable = Callable[..., PairsTable]
Load = Callable[[], DualEncoder]
CONFIG: dict[str, Any] = {"max_steps": 3, "batch_size": 4, "learning_rate": 1e-3, "text_tokens": 77, "log_every": 1}
SEVERAL = ((4, 20), (3, 77), (32, 8), (8, 32), (5, 5), (2, 4), (7, 61))
"""Items and tokens: varied, and equal to each other and to the towers' width."""
SINGLE = ((1, 12), (1, 3))


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The graphs that were compiled; they are run as they are."""
    found: list[Any] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(compiling, "BACKEND", backend)
    return found


def shallow(encoder: DualEncoder) -> DualEncoder:
    for tower in (encoder.model.vision_model, encoder.model.text_model):
        tower.encoder.layers = nn.ModuleList(tower.encoder.layers[:1])
    return encoder


@pytest.fixture
def load(small_clip_folder: Path) -> Load:
    return lambda: shallow(DualEncoder.load(small_clip_folder))


def embed(encoder: DualEncoder, items: int, tokens: int) -> torch.Tensor:
    pixels = torch.randn(items, 3, encoder.fit.size, encoder.fit.size)
    images, (texts,) = encoder(pixels, [encoder.tokenize(["a " * (tokens - 2)] * items)])
    return images.embedding_BD @ texts.embedding_BD.T


def test_varied_sizes_make_two_graphs_per_tower(load: Load, graphs: list[Any]) -> None:
    encoder = load()
    with compiled(encoder, True):
        for shapes, count in ((SEVERAL, 2), (SINGLE, 4), (SEVERAL, 4)):
            for items, tokens in shapes:
                embed(encoder, items, tokens).sum().backward()
                assert len(graphs) == count, (items, tokens)
        with torch.inference_mode():
            for items, tokens in (*SEVERAL, *SINGLE):
                embed(encoder, items, tokens)
    assert len(graphs) == 8


@pytest.mark.parametrize("first", [(32, 77), (8, 32)])
def test_sizes_that_are_equal_by_chance_cost_one_graph_more(
    load: Load, graphs: list[Any], first: tuple[int, int]
) -> None:
    """As many items, or tokens, as the towers are wide."""
    encoder = load()
    with compiled(encoder, True):
        for items, tokens in (first, (4, 20), (5, 31), (7, 61)):
            embed(encoder, items, tokens)
    assert 2 < len(graphs) <= 4


def test_siglip_compiles_once_per_tower(tmp_path: Path, graphs: list[Any]) -> None:
    encoder = shallow(DualEncoder.load(save_siglip(tmp_path / "siglip")))
    with compiled(encoder, True):
        for items in (4, 3, 24, 32):
            embed(encoder, items, 9)
    assert len(graphs) == 2


@pytest.mark.parametrize("extra", [{}, {"image_tower": "lora", "text_tower": "frozen"}])
def test_compiled_losses_are_the_eager_ones(
    write_table: WriteTable, load: Load, graphs: list[Any], tmp_path: Path, extra: dict[str, str]
) -> None:
    """An epoch with a shorter last batch and samples without a pair."""
    if extra:
        pytest.importorskip("peft")
    table, rows, ends = write_table(), {}, {}
    for compile_ in (False, True):
        encoder, run = load(), tmp_path / f"{compile_}"
        train(table, encoder, run, TrainConfig(**CONFIG, **extra, compile=compile_), progress=False)
        rows[compile_] = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        ends[compile_] = encoder.state_dict()
    assert len(graphs) == 1 + 2  # one of them is the trial before the training
    for eager, ours in zip(rows[False], rows[True], strict=True):
        for name in ("loss", "global", "local", "tsl"):
            assert ours[name] == pytest.approx(eager[name], abs=1e-4)
    assert ends[False].keys() == ends[True].keys()


def test_nothing_of_it_is_left(load: Load, graphs: list[Any]) -> None:
    encoder, plain = load(), load()
    with compiled(encoder, True):
        inside = embed(encoder, 2, 8)
        assert list(encoder.state_dict()) == list(plain.state_dict())
        assert encoder.fingerprint == plain.fingerprint
    count = len(graphs)
    assert embed(encoder, 1, 8).shape == (1, 1)
    assert len(graphs) == count == 2
    assert inside.shape == (2, 2)


def test_a_resumed_run_goes_on_compiled(write_table: WriteTable, load: Load, graphs: list[Any], tmp_path: Path) -> None:
    """Cut short, it ends with the weights of the uninterrupted run, bit for bit; each call in one process compiles."""
    table, config, counts = write_table(), TrainConfig(**CONFIG, compile=True, save_every=1, eval_every=1), []
    straight, resumed = load(), load()

    def call(encoder: DualEncoder, name: str, scores: list[float]) -> None:
        """Scores for one validation after another; without a next one it dies."""
        left = iter(scores)
        counts.append(-len(graphs))
        try:
            train(table, encoder, tmp_path / name, config, val=lambda _: next(left), resume=True, progress=False)
        finally:
            counts[-1] += len(graphs)

    call(straight, "a", [0.0, 1.0, 2.0, 3.0])
    with pytest.raises(StopIteration):
        call(load(), "b", [0.0, 1.0])
    call(resumed, "b", [2.0, 3.0])
    assert counts == [1 + 2] * 3
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_without_a_compiler_training_does_not_begin(
    write_table: WriteTable, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler found\nand a long story")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    with pytest.raises(ConfigError, match=r"^compile: .*no compiler found\)\. Install a C\+\+ compiler") as caught:
        train(write_table(), load(), tmp_path / "run", TrainConfig(**CONFIG, compile=True))
    assert "long story" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_is_missing_depends_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """No device of this kind is here, so that the trial fails in any case."""
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: 1 / 0)
    with pytest.raises(ConfigError, match="Install Triton, or set compile to false"):
        expect_compiler(torch.device("cuda"))
