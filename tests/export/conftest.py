"""A model of every family, as a user has it; and what a picture and texts embed as there."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tests.families import save_metaclip_2, save_siglip

from fastgoal.data.images import read_image
from fastgoal.embed import embed_images, embed_texts
from fastgoal.models.dual_encoder import DualEncoder

TEXTS = ["A red ball lies on a table.", "a", "Ein altes Haus am See, 3.5 m hoch.", "A lamp stands behind it. " * 60]
FAMILIES = ("tiny", "clip with the end as 2", "metaclip_2", "siglip")


def make(name, folder):
    """The folder, and the text limit to load it with."""
    if name == "tiny":
        return "tiny", 248
    if name == "metaclip_2":
        return save_metaclip_2(folder / "metaclip_2"), 120
    if name == "siglip":
        return save_siglip(folder / "siglip"), None
    return folder / "small-clip", None


@pytest.fixture(scope="session")
def families(tmp_path_factory, small_clip_folder):
    """By name: the model, loaded. The one with the end as 2 is shaped as OpenAI's: its config says 2 where the
    tokenizer ends texts with its highest id."""
    folder = tmp_path_factory.mktemp("families")
    shutil.copytree(small_clip_folder, folder / "small-clip")
    config = json.loads((folder / "small-clip/config.json").read_text())
    config["text_config"]["eos_token_id"] = 2
    (folder / "small-clip/config.json").write_text(json.dumps(config))
    made = {name: make(name, folder) for name in FAMILIES}
    return {name: DualEncoder.load(model, text_tokens=tokens) for name, (model, tokens) in made.items()}


@pytest.fixture(scope="session")
def photo():
    """A JPEG that lies on its side, with the turn in its EXIF."""
    pixels = np.random.default_rng(3).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    image, out = Image.fromarray(pixels).resize((211, 130), Image.Resampling.BICUBIC), io.BytesIO()
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(out, "JPEG", exif=turned)
    return out.getvalue()


def ours(encoder, photo):
    """Our own embeddings of the photo, 1 x D, and of the texts, one by one, so that there is no padding in between."""
    images = embed_images(encoder, [read_image(photo)])
    return images, np.concatenate([embed_texts(encoder, [text])[0] for text in TEXTS])
