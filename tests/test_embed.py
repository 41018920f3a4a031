"""The shared embedder against transformers itself and against one item at a time."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.data.images import fit_pixels
from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import DataError
from fastgoal.models.dual_encoder import DualEncoder

TEXTS = ["A red ball.", "A small blue box stands on the right, by a green lamp.", "", "A red ball.", "dog " * 200, "é"]


@pytest.fixture(scope="module")
def encoder(small_clip_folder):
    return DualEncoder.load(small_clip_folder)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    sizes = [(50, 40), (32, 32), (33, 90), (64, 48), (40, 41)]
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def test_texts_equal_transformers_one_by_one(encoder, small_clip_folder):
    clip, tokenizer = CLIPModel.from_pretrained(small_clip_folder), CLIPTokenizer.from_pretrained(small_clip_folder)
    embeddings_ND, truncated_N = embed_texts(encoder, TEXTS, batch=2)
    for embedding_D, text in zip(embeddings_ND, TEXTS, strict=True):
        with torch.no_grad():
            own = clip.get_text_features(**tokenizer([text], truncation=True, return_tensors="pt")).pooler_output[0]
        np.testing.assert_allclose(embedding_D, (own / own.norm()).numpy(), atol=1e-5)
    assert truncated_N.tolist() == [False, False, False, False, True, False]
    assert embeddings_ND.dtype == np.float32


def test_equal_texts_are_exactly_equal_and_order_is_kept(encoder):
    embeddings_ND, _ = embed_texts(encoder, TEXTS, batch=1)
    assert np.array_equal(embeddings_ND[0], embeddings_ND[3])
    reversed_ND, _ = embed_texts(encoder, TEXTS[::-1], batch=4)
    np.testing.assert_allclose(reversed_ND[::-1], embeddings_ND, atol=1e-5)


def test_images_equal_transformers_and_views_equal_pictures(encoder, small_clip_folder, pictures):
    clip = CLIPModel.from_pretrained(small_clip_folder)
    processor = CLIPImageProcessorPil.from_pretrained(small_clip_folder)
    with torch.no_grad():
        own_ND = clip.get_image_features(**processor(pictures, return_tensors="pt")).pooler_output
    embeddings_ND = embed_images(encoder, pictures, batch=2)
    np.testing.assert_allclose(embeddings_ND, (own_ND / own_ND.norm(dim=-1, keepdim=True)).numpy(), atol=1e-5)
    views = [fit_pixels(picture, encoder.fit) for picture in pictures]
    np.testing.assert_allclose(embed_images(encoder, iter(views), batch=5), embeddings_ND, atol=1e-5)


def test_images_are_drawn_only_as_fast_as_they_are_used(encoder, pictures):
    drawn, seen = [], []

    def stream():
        for picture in pictures:
            drawn.append(picture)
            yield picture

    embed_images(encoder, stream(), batch=2, progress=lambda count: seen.append((count, len(drawn))))
    assert seen == [(2, 2), (2, 4), (1, 5)]


def test_nothing_gives_nothing_and_training_state_comes_back(encoder):
    encoder.train()
    texts_ND, truncated_N = embed_texts(encoder, [])
    assert texts_ND.shape == embed_images(encoder, []).shape == (0, encoder.dim)
    assert truncated_N.shape == (0,)
    assert encoder.training
    encoder.eval()


def test_progress_counts_every_text(encoder):
    counts = []
    embed_texts(encoder, TEXTS, batch=2, progress=counts.append)
    assert sum(counts) == len(TEXTS)


def test_a_view_of_another_size_is_refused(encoder):
    with pytest.raises(DataError, match="not the model's input"):
        embed_images(encoder, [np.zeros((16, 16, 3), np.uint8)])
