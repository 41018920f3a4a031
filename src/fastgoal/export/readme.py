"""The README of an export: the hub's metadata, what the files are, and an example that runs as it stands.

The example for ONNX is the whole way from files and texts to similarities in libraries that have nothing to do with
torch; a test runs it as it is printed here.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastgoal.export.parity import Check
from fastgoal.files import shown_name
from fastgoal.hub import front_matter
from fastgoal.models.dual_encoder import DualEncoder

TAGS = ["image-text-retrieval", "long-captions", "fastgoal"]

_CROP = """\
    short, side = fit["size"]["shortest_edge"], fit["crop_size"]["height"]
    image = image.resize([int(short * length / min(image.size)) for length in image.size], fit["resample"])
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))"""
_SQUASH = """\
    image = image.resize((fit["size"]["width"], fit["size"]["height"]), fit["resample"])"""
_ONNX = """\
```python
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps
from tokenizers import Tokenizer

with open("preprocessor_config.json") as file:
    fit = json.load(file)
tokenizer = Tokenizer.from_file("tokenizer.json")  # cuts at {limit} tokens and pads by itself
image_tower = onnxruntime.InferenceSession("image.onnx")
text_tower = onnxruntime.InferenceSession("text.onnx")


def pixels(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
{fit}
    values = np.asarray(image, np.float32) / 255
    return ((values - fit["image_mean"]) / fit["image_std"]).transpose(2, 0, 1).astype(np.float32)


def encode_images(paths):
    return image_tower.run(None, {{"pixel_values": np.stack([pixels(path) for path in paths])}})[0]


def encode_texts(texts):
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    return text_tower.run(None, {{"input_ids": np.array(ids, np.int64)}})[0]


similarity = encode_images(["photo.jpg"]) @ encode_texts(["A red ball on a wooden table.", "A blue lamp."]).T
print(similarity)
```"""


def onnx_readme(encoder: DualEncoder, metadata: dict[str, Any], checks: Sequence[Check], *, opset: int) -> str:
    """README.md beside `image.onnx` and `text.onnx`."""
    side, dim = encoder.fit.size, encoder.dim
    length = encoder.text_limit if encoder.traits.pads_to_limit else "length"
    example = _ONNX.format(limit=encoder.text_limit, fit=_CROP if encoder.fit.mode == "crop" else _SQUASH)
    return f"""{_head(encoder, metadata, "onnx", "zero-shot-image-classification")}

# {shown_name(encoder.name)} in ONNX

{_made(encoder)}

| file | input | output |
|---|---|---|
| `image.onnx` | `pixel_values`: float32, normalised, batch x 3 x {side} x {side} | `image_embeds`: batch x {dim} |
| `text.onnx` | `input_ids`: int64, batch x {length} | `text_embeds`: batch x {dim} |

Embeddings have unit length, so that their products are cosine similarities. Batches may have any size, and texts any
length up to {encoder.text_limit} tokens{_always(encoder)}. There is no attention mask: {_mask(encoder)}.
`tokenizer.json` and `preprocessor_config.json` say how texts and images become these inputs. Everything is float32, in
opset {opset}.

## Use

In this folder, with `pip install onnxruntime tokenizers numpy pillow`:

{example}

## Checked

{_checked(checks)}
"""


_SENTENCES = """\
```python
from PIL import Image
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(".")
images = model.encode([Image.open("photo.jpg")])
texts = model.encode(["A red ball on a wooden table.", "A blue lamp."])
print(model.similarity(images, texts))
```"""
_OPEN_CLIP = """\
```python
import open_clip
import torch
from PIL import Image

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:.")
tokenizer = open_clip.get_tokenizer("local-dir:.")
with torch.no_grad():
    images = model.eval().encode_image(preprocess(Image.open("photo.jpg"))[None], normalize=True)
    texts = model.encode_text(tokenizer(["A red ball on a wooden table.", "A blue lamp."]), normalize=True)
print(images @ texts.T)
```"""


def sentence_readme(encoder: DualEncoder, metadata: dict[str, Any], checks: Sequence[Check]) -> str:
    """README.md of a folder for sentence-transformers."""
    found = _checked(checks) if checks else "Not checked: sentence-transformers was not installed."
    return f"""{_head(encoder, metadata, "sentence-transformers", "zero-shot-image-classification")}

# {shown_name(encoder.name)} for sentence-transformers

{_made(encoder)}

`encode` takes texts and Pillow images (or paths and addresses of images), in one list or in several, and gives
embeddings of unit length. It is a plain transformers folder besides.

## Use

In this folder, with `pip install 'sentence-transformers>=5.4' pillow`:

{_SENTENCES}

## Checked

{found}
"""


def open_clip_readme(encoder: DualEncoder, metadata: dict[str, Any], checks: Sequence[Check]) -> str:
    """README.md of a folder for open_clip."""
    return f"""{_head(encoder, metadata, "open_clip", "zero-shot-image-classification")}

# {shown_name(encoder.name)} for open_clip

{_made(encoder)}

`open_clip_model.safetensors` has open_clip's keys, `open_clip_config.json` the sizes, the activation and the image
preprocessing. From a folder open_clip takes the tokenizer beside them; on the hub, `hf_tokenizer_name` in that file has
to be the name of the repository.

## Use

In this folder, with a recent `open_clip_torch` (which needs torchvision) and `transformers`:

{_OPEN_CLIP}

## Checked

{_checked(checks)}

open_clip itself did not run: its keys and fields are read back by `fastgoal convert`.
"""


def _head(encoder: DualEncoder, metadata: dict[str, Any], library: str, task: str) -> str:
    kind = str(encoder.model.config.model_type)
    return front_matter({**metadata, "library_name": library, "pipeline_tag": task, "tags": [kind, *TAGS]})


def _made(encoder: DualEncoder) -> str:
    kind = f"A {encoder.traits.title} dual encoder: images, and texts of at most {encoder.text_limit} tokens"
    return f"{kind}, in one space of {encoder.dim} dimensions. Written by fastgoal {version('fastgoal')}."


def _always(encoder: DualEncoder) -> str:
    return ", to which every one of them is padded" if encoder.traits.pads_to_limit else ""


def _mask(encoder: DualEncoder) -> str:
    if encoder.traits.pads_to_limit:
        return "padding is a part of a text, as in the model's training"
    return "the text tower reads a text where it ends, whatever padding follows"


def _checked(checks: Sequence[Check]) -> str:
    rows = [f"| {c.what} | {c.library} | {c.items} | {c.difference:.1e} |" for c in checks]
    head = "Against the model in PyTorch, on one machine:"
    return "\n".join([head, "", "| | computed by | items | largest difference |", "|---|---|---|---|", *rows])
