"""ONNX: `image.onnx` and `text.onnx`, and beside them what turns files and texts into their inputs.

The exporter is torch's older one, which traces: it has the same arguments in every torch from 2.6 to 2.13, and takes a
second where the one on `torch.export` takes ten for the same graph. Tracing freezes what Python decides on the way,
which is why the files are run in onnxruntime at batches and lengths that were never traced, before they count.

Shapes: B items, T tokens, D joint dimensions, C channels, H = W = side of the model's input.
"""

import shutil
import warnings
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from fastgoal.errors import ConfigError
from fastgoal.export.parity import Check, Encode, compare, id_batches, pixel_batches, text_batches
from fastgoal.export.readme import onnx_readme
from fastgoal.files import write_file
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import forget_calls

OPSET = 17
"""The first with layer norms as one operator, so that as many runtimes as possible read it."""
IMAGE, TEXT, WORDS = "image.onnx", "text.onnx", "tokenizer.json"


class ImageTower(nn.Module):
    """pixel_values (normalised B x C x H x W) to image_embeds (B x D, unit length)."""

    def __init__(self, encoder: DualEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        return self.encoder.encode_images(pixels_BCHW).embedding_BD


class TextTower(nn.Module):
    """input_ids (B x T) to text_embeds (B x D, unit length). No mask: texts are read at their end token, before which
    no padding stands, or the family was trained without one."""

    def __init__(self, encoder: DualEncoder) -> None:
        super().__init__()
        self.model, self.family = encoder.model, encoder.family

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        return self.family.encode_texts(self.model, ids_BT)[0]


def write_onnx(encoder: DualEncoder, folder: Path, metadata: dict[str, Any]) -> list[Check]:
    """Write both towers, the tokenizer, the image preprocessing and a README into a folder, and check them.

    Raises:
        ConfigError: onnx or onnxruntime is not installed.
        ModelError: the files do not give the model's embeddings.
    """
    expect_installed()
    text_axes = {0: "batch"} if encoder.traits.pads_to_limit else {0: "batch", 1: "length"}
    pixels_BCHW = torch.zeros(2, 3, encoder.fit.size, encoder.fit.size)
    ids_BT = encoder.tokenize(["a", "a b c"]).input_ids_BT
    _trace(ImageTower(encoder), pixels_BCHW, folder / IMAGE, ("pixel_values", "image_embeds"), {0: "batch"})
    _trace(TextTower(encoder), ids_BT, folder / TEXT, ("input_ids", "text_embeds"), text_axes)
    encoder.image_processor.save_pretrained(folder)
    _write_tokenizer(encoder, folder / WORDS)
    checks = [_check_images(encoder, folder), _check_texts(encoder, folder)]
    write_file(folder / "README.md", onnx_readme(encoder, metadata, checks, opset=OPSET))
    return checks


def expect_installed() -> None:
    """Raises ConfigError where onnx or onnxruntime is not there."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        mend = "Install them: pip install 'fastgoal[onnx]'."
        raise ConfigError(f"ONNX needs onnx and onnxruntime ({error})", where="--format onnx", mend=mend) from None


def _trace(tower: nn.Module, example: torch.Tensor, path: Path, names: tuple[str, str], axes: dict[int, str]) -> None:
    scratch = path.with_suffix(".tracing")
    scratch.mkdir()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that tracing may freeze something: the check finds out
        torch.onnx.export(
            tower.eval(),
            (example,),
            str(scratch / path.name),
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={names[0]: axes, names[1]: {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    gather_files(scratch / path.name, path)


def gather_files(traced: Path, path: Path) -> None:
    """Move a traced model to `path`. Beyond 2 GiB, the most that one ONNX file holds, torch leaves a file for every
    weight; they become one, `NAME.data`."""
    if len(list(traced.parent.iterdir())) == 1:
        traced.replace(path)
    else:
        import onnx

        data = f"{path.name}.data"
        onnx.save_model(onnx.load(traced), path, save_as_external_data=True, location=data, size_threshold=0)
        path.with_name(data).chmod(path.stat().st_mode)  # onnx would keep the weights from everybody else
    shutil.rmtree(traced.parent)


def _write_tokenizer(encoder: DualEncoder, path: Path) -> None:
    """tokenizer.json that cuts and pads by itself, as the model wants it, for who has nothing but `tokenizers`."""
    tokenizer, limit = encoder.tokenizer, encoder.text_limit
    forget_calls(tokenizer)
    words = tokenizer.backend_tokenizer
    words.enable_truncation(limit)
    words.enable_padding(
        pad_id=tokenizer.pad_token_id,
        pad_token=tokenizer.pad_token,
        length=limit if encoder.traits.pads_to_limit else None,
    )
    words.save(str(path))
    forget_calls(tokenizer)


def open_tower(path: Path, name: str) -> Encode:
    """A written tower in onnxruntime, on as many threads as torch uses. name: of its input."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # what it says beyond errors is about its own optimisations
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda value: session.run(None, {name: value})[0]


def _check_images(encoder: DualEncoder, folder: Path) -> Check:
    with torch.no_grad():
        pairs = ((encoder.encode_images(batch).embedding_BD, batch.numpy()) for batch in pixel_batches(encoder))
        return compare(IMAGE, _library(), partial(open_tower, folder / IMAGE, "pixel_values"), pairs)


def _check_texts(encoder: DualEncoder, folder: Path) -> Check:
    """Random tokens at every length, then texts through the tokenizer's file."""
    words = Tokenizer.from_file(str(folder / WORDS))

    def pairs() -> Iterator[tuple[torch.Tensor, Any]]:
        for ids_BT in id_batches(encoder):
            yield encoder.family.encode_texts(encoder.model, ids_BT)[0], ids_BT.numpy()
        for texts in text_batches():
            written_BT = np.array([encoding.ids for encoding in words.encode_batch(texts)], np.int64)
            yield encoder.encode_texts(encoder.tokenize(texts)).embedding_BD, written_BT

    with torch.no_grad():
        return compare(TEXT, _library(), partial(open_tower, folder / TEXT, "input_ids"), pairs())


def _library() -> str:
    return f"onnxruntime {version('onnxruntime')}"
