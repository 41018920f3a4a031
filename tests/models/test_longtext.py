"""Stretched text positions against the formula, row by row, and against the model that uses them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPModel, CLIPProcessor

from fastgoal.errors import ModelError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.longtext import stretch, stretch_positions

OLD = torch.randn(77, 5, generator=torch.Generator().manual_seed(0))


def test_248_rows_are_the_published_formula():
    new = stretch_positions(OLD, 248)
    assert new.shape == (248, 5)
    assert torch.equal(new[:20], OLD[:20])
    for i in range(56):
        for j in range(4):
            torch.testing.assert_close(new[20 + 4 * i + j], (4 - j) / 4 * OLD[20 + i] + j / 4 * OLD[21 + i])
    for j in range(4):
        torch.testing.assert_close(new[244 + j], OLD[76] + j / 4 * (OLD[76] - OLD[75]))


@settings(max_examples=50, deadline=None)
@given(length=st.integers(78, 600), rows=st.integers(22, 77))
def test_a_straight_line_stays_straight_at_any_length(length, rows):
    line = torch.arange(rows, dtype=torch.float64)[:, None] * torch.tensor([1.0, -3.0])
    places = torch.arange(length, dtype=torch.float64)
    wanted = torch.where(places < 20, places, 20 + (places - 20) * (rows - 20) / (length - 20))
    torch.testing.assert_close(stretch_positions(line, length)[:, 0], wanted)
    torch.testing.assert_close(stretch_positions(line, length)[:, 1], -3 * wanted)


@pytest.mark.parametrize("length", [3, 20, 76, 77])
def test_shrinking_is_cutting(length):
    new = stretch_positions(OLD, length)
    assert torch.equal(new, OLD[:length])
    new += 1
    assert not torch.equal(new, OLD[:length])  # a copy


@pytest.mark.parametrize(("rows", "length"), [(77, 2), (21, 248), (8, 16)])
def test_tables_without_room_are_refused(rows, length):
    with pytest.raises(ModelError):
        stretch_positions(OLD[:rows], length)


@pytest.mark.parametrize("tokens", [248, 100, 40])
def test_a_stretched_model_is_consistent_and_stock_reads_it(small_clip_folder, tmp_path, tokens):
    encoder = DualEncoder.load(small_clip_folder, text_tokens=tokens)
    encoder.save(tmp_path)
    clip, processor = CLIPModel.from_pretrained(tmp_path), CLIPProcessor.from_pretrained(tmp_path)
    assert encoder.text_limit == processor.tokenizer.model_max_length == tokens
    assert clip.config.text_config.max_position_embeddings == tokens
    for embeddings in (encoder.model.text_model.embeddings, clip.text_model.embeddings):
        assert embeddings.position_embedding.num_embeddings == len(embeddings.position_embedding.weight) == tokens
        assert torch.equal(embeddings.position_ids, torch.arange(tokens)[None])
        assert embeddings.position_embedding.weight.requires_grad
    caption = "A red ball lies on the left of the table. " * 40
    inputs = processor(text=[caption], truncation=True, return_tensors="pt")
    with torch.inference_mode():
        wanted = clip.get_text_features(**inputs).pooler_output
        batch = encoder.tokenize([caption])
        found = encoder.encode_texts(batch).embedding_BD
    assert batch.input_ids_BT.shape == inputs["input_ids"].shape == (1, tokens)
    torch.testing.assert_close(found, torch.nn.functional.normalize(wanted, dim=-1), atol=1e-6, rtol=0)


def test_short_texts_keep_their_embedding_when_the_limit_changes(small_clip_folder):
    clips = [DualEncoder.load(small_clip_folder, text_tokens=tokens) for tokens in (None, 248, 40)]
    with torch.inference_mode():
        own, long, cut = (encoder.encode_texts(encoder.tokenize(["A red ball."])).embedding_BD for encoder in clips)
    torch.testing.assert_close(long, own, atol=1e-6, rtol=0)
    torch.testing.assert_close(cut, own, atol=1e-6, rtol=0)


def test_a_frozen_table_stays_frozen(small_clip_folder):
    clip = CLIPModel.from_pretrained(small_clip_folder).requires_grad_(False)
    stretch(clip, 248)
    assert not clip.text_model.embeddings.position_embedding.weight.requires_grad
