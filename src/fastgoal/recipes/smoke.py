"""A recipe in seconds: every step of it on drawn scenes and small random models.

The data is laid out as the benchmarks are published, the models are of the real architectures with random weights, and
every training lasts two steps. What a smoke run shows is that the recipe can be followed from end to end; its figures
mean nothing, and are recorded as partial.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    SamConfig,
    SamModel,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from fastgoal.data.benchmarks.layout import write_like
from fastgoal.data.scenes import ScenesConfig, draw_samples
from fastgoal.files import replace_folder, write_file
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.folder import write_folder
from fastgoal.recipes.follow import Outcome, Places, follow
from fastgoal.recipes.recipe import MatchPlan, Measure, Recipe, Stage

SAMPLES = 8
STEPS, BATCH = 2, 4


def smoke(recipe: Recipe, out: Path, *, device: str = "cpu") -> Outcome:
    """Follow the recipe in small; `out` keeps the data and the models for further recipes."""
    data, models = out / "data", out / "models"
    for split in recipe.data:
        _write_data(data, split)
    return follow(
        in_small(recipe, models), Places(data=data, out=out, device=device), allow_partial=True, progress=False
    )


def in_small(recipe: Recipe, models: Path) -> Recipe:
    """The recipe with small random models and two steps for every training; what a stage does stays as it is."""
    model = str(_model(models, "base"))

    def plan(match: MatchPlan) -> MatchPlan:
        return replace(
            match,
            matcher=str(_model(models, "matcher")),
            detector=match.detector and str(_model(models, "detector")),
            sam=match.sam and str(_model(models, "sam")),
        )

    def stage(own: Stage) -> Stage:
        config = replace(own.train, batch_size=BATCH, max_steps=STEPS, precision="fp32")
        return replace(own, match=plan(own.match), train=config)

    def measure(own: Measure) -> Measure:
        return replace(own, match=own.match and plan(own.match))

    return replace(
        recipe,
        model=model,
        stages=tuple(stage(own) for own in recipe.stages),
        measure=tuple(measure(own) for own in recipe.measure),
    )


def _write_data(data: Path, split: str) -> None:
    """The split as published, of drawn scenes, unless it is there; a split that was left half written is made anew."""
    name, _, part = split.partition("/")
    done = data / f".{name}-{part}"
    if not done.exists():
        seed = 1 + (part == "test")
        samples = draw_samples(ScenesConfig(train=SAMPLES, val=0, test=0, seed=seed), "train", SAMPLES)
        write_like(split, data / name, samples)
        write_file(done, "")


def _model(folder: Path, kind: str) -> Path:
    """The folder of a small random model; made if it is not there."""
    path = folder / kind
    if not path.exists():
        aside = folder / f".{kind}"
        shutil.rmtree(aside, ignore_errors=True)
        _MAKE[kind](aside)
        replace_folder(aside, path)
    return path


def _clip(folder: Path, seed: int) -> None:
    """A CLIP of two layers in the bundled model's vocabulary: 64 px in patches of 16, 77 text positions."""
    tokenizer = DualEncoder.load("tiny").tokenizer
    tower = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = {**tower, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 77}
    torch.manual_seed(seed)
    clip = CLIPModel(
        CLIPConfig(text_config=text, vision_config={**tower, "image_size": 64, "patch_size": 16}, projection_dim=24)
    )
    square = {"height": 64, "width": 64}
    write_folder(folder, clip, tokenizer, CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=square))


def _detector(folder: Path) -> None:
    """A YOLOS of one layer that is sure of every box."""
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    yolos = YolosForObjectDetection(YolosConfig(**tower, image_size=[64, 64], num_detection_tokens=8))
    yolos.class_labels_classifier.layers[-1].bias.data[0] = 10.0
    yolos.save_pretrained(folder)
    YolosImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)


def _sam(folder: Path) -> None:
    """A SAM of one layer that is sure of every mask, with edges too sharp for any threshold to matter."""
    torch.manual_seed(0)
    side = {"image_size": 64, "patch_size": 16}
    vision = {"hidden_size": 16, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    decoder = {"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sam = SamModel(
        SamConfig(
            vision_config={**side, **vision, "window_size": 2, "global_attn_indexes": [0], "num_pos_feats": 8},
            prompt_encoder_config={**side, "hidden_size": 16, "mask_input_channels": 4},
            mask_decoder_config={**decoder, "iou_head_hidden_dim": 8, "iou_head_depth": 2},
        )
    )
    for parameter in sam.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    for network in sam.mask_decoder.output_hypernetworks_mlps:
        network.proj_out.weight.data *= 1000
    sam.mask_decoder.iou_prediction_head.proj_out.weight.data.zero_()
    sam.mask_decoder.iou_prediction_head.proj_out.bias.data.fill_(1.0)
    sam.save_pretrained(folder)
    square, coarse = {"height": 64, "width": 64}, {"height": 16, "width": 16}
    processor = {"size": {"longest_edge": 64}, "pad_size": square}
    SamImageProcessorPil(**processor, mask_size={"longest_edge": 16}, mask_pad_size=coarse).save_pretrained(folder)


_MAKE: Mapping[str, Callable[[Path], None]] = {
    "base": partial(_clip, seed=0),
    "matcher": partial(_clip, seed=1),
    "detector": _detector,
    "sam": _sam,
}
