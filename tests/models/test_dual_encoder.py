"""The dual encoder against transformers itself."""

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import CLIPModel, CLIPProcessor

from fastgoal.models.dual_encoder import DualEncoder


def test_embeddings_equal_transformers(small_clip_folder):
    encoder = DualEncoder.load(small_clip_folder)
    clip = CLIPModel.from_pretrained(small_clip_folder).eval()
    processor = CLIPProcessor.from_pretrained(small_clip_folder)
    texts = ["A red ball.", "A small blue box stands on the right, next to a green lamp " * 3, "", "window"]
    images = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)) for i in range(3)]
    inputs = processor(text=texts, images=images, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        image, (text,) = encoder(inputs["pixel_values"], [encoder.tokenize(texts)])
        wanted_text = clip.get_text_features(inputs["input_ids"], attention_mask=inputs["attention_mask"])
        wanted_image = clip.get_image_features(inputs["pixel_values"])
    torch.testing.assert_close(text.embedding_BD, F.normalize(wanted_text.pooler_output, dim=-1), atol=1e-6, rtol=0)
    torch.testing.assert_close(image.embedding_BD, F.normalize(wanted_image.pooler_output, dim=-1), atol=1e-6, rtol=0)
