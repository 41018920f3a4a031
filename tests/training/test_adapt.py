"""What learns and what stays: against counts and products written out by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import save_small_clip
from tests.families import save_metaclip_2, save_siglip
from transformers import AutoModel, CLIPModel

from fastgoal.cli import main
from fastgoal.errors import ConfigError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.families import FAMILIES
from fastgoal.pairs import PairsTable
from fastgoal.training import TrainConfig, train
from fastgoal.training.adapt import TOWERS, adapted, plain

WriteTable = Callable[..., PairsTable]
SETTINGS = {"batch_size": 4, "learning_rate": 1e-3, "text_tokens": 77, "epochs": 1}
LORA = TrainConfig(image_tower="lora", text_tower="frozen", lora_rank=3)


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def state(encoder: DualEncoder) -> dict[str, torch.Tensor]:
    return {name.removeprefix("model."): value.clone() for name, value in encoder.state_dict().items()}


def part(name: str) -> str:
    return "image" if name.startswith("vis") else "text" if name.startswith("text") else "scale"


@pytest.mark.parametrize(("frozen", "learns"), [("image_tower", "text"), ("text_tower", "image")])
def test_a_frozen_tower_stays(write_table: WriteTable, encoder: DualEncoder, tmp_path: Path, frozen, learns) -> None:
    before = state(encoder)
    train(write_table(), encoder, tmp_path / "run", TrainConfig(**SETTINGS, **{frozen: "frozen"}), progress=False)
    assert {part(name) for name in changed(before, state(encoder))} == {learns, "scale"}
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_adapters_are_on_every_linear_layer_of_the_tower_and_nothing_else_learns(encoder: DualEncoder) -> None:
    with adapted(encoder, LORA):
        learning = {name: p.numel() for name, p in encoder.model.named_parameters() if p.requires_grad}
    # Per layer: four projections of 32 x 32, and 32 -> 64 -> 32; two matrices of rank 3 each.
    per_layer = 4 * 3 * (32 + 32) + 2 * 3 * (32 + 64)
    assert learning.pop("logit_scale") == 1
    assert sum(learning.values()) == 2 * per_layer
    assert all(name.startswith("vision_model.encoder.layers.") for name in learning)


def test_text_positions_learn_with_adapters(encoder: DualEncoder) -> None:
    with adapted(encoder, TrainConfig(image_tower="frozen", text_tower="lora")):
        learning = {name.split(".lora_")[0] for name, p in encoder.model.named_parameters() if p.requires_grad}
    assert "text_model.embeddings.position_embedding.weight" in learning
    assert {part(name) for name in learning} == {"text", "scale"}


@torch.no_grad()
def test_merging_adds_the_product_of_the_adapters(encoder: DualEncoder) -> None:
    before, pixels = state(encoder), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with adapted(encoder, LORA):
        torch.manual_seed(1)
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn_like(parameter))
        with_adapters = encoder.encode_images(pixels).embedding_BD
        pairs = dict(encoder.model.named_parameters())
        merged = plain(encoder)
        torch.testing.assert_close(merged.encode_images(pixels).embedding_BD, with_adapters)
    torch.testing.assert_close(encoder.encode_images(pixels).embedding_BD, with_adapters)
    key = "vision_model.encoder.layers.1.mlp.fc1"
    low, high = pairs[f"{key}.lora_A.default.weight"], pairs[f"{key}.lora_B.default.weight"]
    assert low.shape == (3, 32)
    torch.testing.assert_close(state(encoder)[f"{key}.weight"], before[f"{key}.weight"] + 6 / 3 * high @ low)
    assert changed(state(merged), state(encoder)) == set()


def test_what_is_saved_is_a_plain_model_that_resumes_bit_for_bit(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path
) -> None:
    table, config = write_table(), TrainConfig(**{**SETTINGS, "epochs": 2}, image_tower="lora", text_tower="lora")
    straight, cut = DualEncoder.load(small_clip_folder), DualEncoder.load(small_clip_folder)
    train(table, straight, tmp_path / "straight", config, progress=False)
    calls = iter(range(9))

    def validate(_: DualEncoder) -> float:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        train(table, cut, tmp_path / "cut", config, val=validate, progress=False)
    torch.manual_seed(99)  # another start of the random numbers, as in another process
    again = DualEncoder.load(small_clip_folder)
    train(table, again, tmp_path / "cut", config, val=lambda _: 1.0, resume=True, progress=False)
    kept = CLIPModel.from_pretrained(tmp_path / "straight" / "model").state_dict()
    assert changed(kept, state(straight)) == set()
    last = [_tensors(tmp_path / run) for run in ("straight", "cut")]
    assert any("lora_" in name for name in last[0])
    assert changed(*last) == set()
    start = state(DualEncoder.load(small_clip_folder))
    assert {part(name) for name in changed(start, kept)} == {"image", "text", "scale"}


SAVE = {"clip": save_small_clip, "metaclip_2": save_metaclip_2, "siglip": save_siglip}


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_learns_by_adapters_of_one_tower(write_table: WriteTable, tmp_path: Path, kind: str) -> None:
    model, table, out = SAVE[kind](tmp_path / "model"), write_table(), tmp_path / "run"
    given = ["--method", "no-tsl", "--max-steps", "2", "--batch-size", "4", "--learning-rate", "1e-3"]
    given += ["--image-tower", "lora", "--text-tower", "frozen", "--lora-rank", "2"]
    with pytest.raises(SystemExit) as ended:
        main(["train", str(table.folder), "--model", str(model), "--out", str(out), *given])
    assert ended.value.code == 0
    before, after = (AutoModel.from_pretrained(folder).state_dict() for folder in (model, out / "model"))
    if kind != "siglip":  # stretched before anything learns
        positions = "text_model.embeddings.position_embedding.weight"
        assert (len(before[positions]), len(after[positions])) == (77, 248)
        after[positions] = before[positions]
    projections = (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
        "mlp.fc1",
        "mlp.fc2",
    )
    layers = {f"vision_model.encoder.layers.{i}.{name}.weight" for i in range(2) for name in projections}
    assert changed(before, after) == {*layers, "logit_scale", *(["logit_bias"] if kind == "siglip" else [])}


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_weight_of_every_family_is_of_a_tower_or_a_scale(tmp_path: Path, kind: str) -> None:
    encoder = DualEncoder.load(SAVE[kind](tmp_path / "model"))
    parts = {name.split(".")[0] for name, _ in encoder.model.named_parameters()}
    towers = {part for own in TOWERS.values() for part in own}
    assert parts - towers == {"logit_scale"} | ({"logit_bias"} if kind == "siglip" else set())
    for tower, parameter in (("image_tower", "vision_model"), ("text_tower", "text_model")):
        other = "text_tower" if tower == "image_tower" else "image_tower"
        with adapted(encoder, TrainConfig(**{tower: "lora", other: "frozen"})):
            low = {name for name, p in encoder.model.named_parameters() if p.requires_grad and ".lora_" in name}
        assert len(low) == 2 * 2 * 6 and all(name.startswith(f"{parameter}.encoder.layers.") for name in low)


def _tensors(run: Path) -> dict[str, torch.Tensor]:
    """Of the newest checkpoint."""
    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    return load_file(newest / "model.safetensors")


def test_two_frozen_towers_are_refused() -> None:
    with pytest.raises(ConfigError, match="both towers are frozen"):
        TrainConfig(image_tower="frozen", text_tower="frozen")
