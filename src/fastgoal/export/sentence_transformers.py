"""sentence-transformers: the plain transformers folder, with the few files that say how it is used as one.

They are written by hand, because the library would guess them, and guesses two things wrong. SigLIP's texts it pads to
the longest of a batch, where the model reads the last of its 64 positions, so that short texts get other embeddings;
and where torchvision is installed it takes the image processor on tensors, whose resize is another than Pillow's. File
formats as in the library itself, from 5.4 on (`Transformer` with a modality configuration).
"""

from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from fastgoal.embed import embed_images, embed_text_batch
from fastgoal.export.parity import Check, Encode, compare, pictures, text_batches
from fastgoal.export.readme import sentence_readme
from fastgoal.files import make_folder, write_file, write_json
from fastgoal.models.dual_encoder import DualEncoder

_MODULES = "sentence_transformers.base.modules"
_NORMALIZE = "1_Normalize"


def write_sentence_transformers(encoder: DualEncoder, folder: Path, metadata: dict[str, Any]) -> list[Check]:
    """Write a folder that `SentenceTransformer` loads, and check it there if the library is installed.

    Raises:
        ModelError: it does not give the model's embeddings.
    """
    encoder.save(folder)
    write_json(
        folder / "modules.json",
        [_module(0, "", "transformer.Transformer"), _module(1, _NORMALIZE, "normalize.Normalize")],
    )
    write_json(folder / "sentence_bert_config.json", _transformer(encoder))
    make_folder(folder / _NORMALIZE)
    names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
    write_json(folder / _NORMALIZE / "config.json", names)
    settings: dict[str, Any] = {"model_type": "SentenceTransformer", "prompts": {}, "default_prompt_name": None}
    write_json(folder / "config_sentence_transformers.json", {**settings, "similarity_fn_name": "cosine"})
    checks = _check(encoder, folder) if find_spec("sentence_transformers") else []
    write_file(folder / "README.md", sentence_readme(encoder, metadata, checks))
    return checks


def _module(number: int, path: str, name: str) -> dict[str, object]:
    return {"idx": number, "name": str(number), "path": path, "type": f"{_MODULES}.{name}"}


def _transformer(encoder: DualEncoder) -> dict[str, Any]:
    def features(kind: str) -> dict[str, str]:
        return {"method": f"get_{kind}_features", "method_output_name": "pooler_output"}

    padding = {"processing_kwargs": {"text": {"padding": "max_length"}}} if encoder.traits.pads_to_limit else {}
    return {
        "transformer_task": "feature-extraction",
        "modality_config": {kind: features(kind) for kind in ("text", "image")},
        "module_output_name": "sentence_embedding",
        "processor_kwargs": {"backend": "pil"},
        **padding,
    }


def _check(encoder: DualEncoder, folder: Path) -> list[Check]:
    library = f"sentence-transformers {version('sentence-transformers')}"
    opened = partial(open_folder, folder)

    def texts() -> Iterator[tuple[torch.Tensor, Any]]:
        for batch in text_batches():
            yield torch.from_numpy(embed_text_batch(encoder, batch)[0]), batch

    def images() -> Iterator[tuple[torch.Tensor, Any]]:
        yield torch.from_numpy(embed_images(encoder, pictures())), pictures()

    return [compare("texts", library, opened, texts()), compare("images", library, opened, images())]


def open_folder(folder: Path) -> Encode:
    """The written folder in sentence-transformers, on the CPU."""
    from sentence_transformers import SentenceTransformer

    encode: Encode = SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode
    return encode
