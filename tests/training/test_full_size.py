"""Two steps at the widths people train: a CLIP like ViT-B/16 with a vocabulary of 49,408 tokens and random weights, but
two layers of each tower's twelve, which are all alike."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.training import TrainConfig, train

VOCABULARY, LAYERS = 49_408, 2
IMAGE_LAYER, TEXT_LAYER = 7_087_872, 3_152_384
"""Weights of one layer."""


def openai_sized_tokenizer(small: CLIPTokenizer) -> CLIPTokenizer:
    """The small tokenizer with its vocabulary filled up to OpenAI's size; begin and end stay the two highest ids."""
    vocabulary = sorted(small.get_vocab(), key=small.get_vocab().__getitem__)
    *tokens, begin, end = vocabulary
    tokens += [f"filler{i}</w>" for i in range(VOCABULARY - len(vocabulary))]
    merges = [tuple(pair) for pair in json.loads(small.backend_tokenizer.to_str())["model"]["merges"]]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate([*tokens, begin, end])}, merges=merges, model_max_length=77)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, small_clip_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("models") / "vit-b-16"
    tokenizer = openai_sized_tokenizer(CLIPTokenizer.from_pretrained(small_clip_folder))
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**ids, "vocab_size": VOCABULARY, "num_hidden_layers": LAYERS},
        vision_config={"patch_size": 16, "num_hidden_layers": LAYERS},
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessorPil(), tokenizer).save_pretrained(folder)
    return folder


def test_two_steps_of_goal(wide, write_table, tmp_path):
    encoder = DualEncoder.load(str(wide))
    left_out = (12 - LAYERS) * (IMAGE_LAYER + TEXT_LAYER)
    assert sum(p.numel() for p in encoder.parameters()) + left_out == 149_620_737
    assert (encoder.grid, encoder.dim, encoder.text_limit) == (14, 512, 77)
    before = encoder.model.visual_projection.weight.detach().clone()
    config = TrainConfig(method="goal", max_steps=2, batch_size=4, learning_rate=1e-5, precision="fp32")
    report = train(write_table(), encoder, tmp_path / "run", config, progress=False)
    assert report.steps == 2
    assert encoder.text_limit == 248
    assert all(np.isfinite(value) for term in report.loss.values() for value in term.values())
    assert {"loss", "global", "local", "tsl"} == set(report.loss)
    assert not torch.equal(before, encoder.model.visual_projection.weight)
    again = CLIPModel.from_pretrained(tmp_path / "run" / "model")
    assert again.text_model.embeddings.position_embedding.num_embeddings == 248
