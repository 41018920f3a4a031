"""Models that find regions, loaded from a folder or the hub, each checked to be of the kind that is asked for.

The one idea: `config.json` alone says what a model is, so a model of the wrong kind is named as what it is, with the
option that takes it, before any weights are read. Image processors are Pillow's: nothing here needs torchvision.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES

from fastgoal.errors import ModelError, first_line

OBJECT_DETECTORS = frozenset(MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES)
PROMPTED_DETECTORS = frozenset({"owlv2", "owlvit"})  # Grounding DINO takes its prompts in another form


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of model. name: with its article, for messages. types: the `model_type`s that belong to it. processor: a
    method that its image processor needs to have. example: what to name instead of a wrong model. files: what a folder
    of it holds."""

    name: str
    types: Collection[str]
    processor: str
    example: str
    files: str = "config.json, weights and preprocessor_config.json"


def load(model: str | Path, kind: Kind, model_class: Any) -> tuple[Any, Any]:
    """The image processor and the float32 model.

    Args:
        model: local folder (never touches the network) or hub id.
        model_class: the class of transformers that loads it.

    Raises:
        ModelError: there is no such model, it is of another kind, or some of its weights or settings are missing.
    """
    local = Path(model).is_dir()
    try:
        found = AutoConfig.from_pretrained(str(model), local_files_only=local).model_type
        if found not in kind.types:
            raise ModelError(f"{found!r} is not {kind.name}", where=model, mend=f"{_name_one(kind)}{_belongs(found)}.")
        processor = AutoImageProcessor.from_pretrained(str(model), backend="pil", local_files_only=local)
        weights, report = model_class.from_pretrained(
            str(model), local_files_only=local, dtype=torch.float32, output_loading_info=True
        )
    except ModelError:
        raise
    except Exception as error:  # whatever a broken file makes transformers raise, the model's files are at fault
        raise _unloadable(error, model, kind) from error
    if missing := sorted(report["missing_keys"]):
        what = f"the {kind.name.split()[-1]} lacks {len(missing)} weights, such as {missing[0]}"
        mend = "Copy the model folder again; the weights do not belong to its config.json."
        raise ModelError(what, where=model, mend=mend)
    if not hasattr(processor, kind.processor):
        mend = "Add the preprocessor_config.json of the model's own family."
        raise ModelError(f"{type(processor).__name__} is not the processor of {kind.name}", where=model, mend=mend)
    return processor, weights


def load_tokenizer(model: str | Path, kind: Kind, words: int) -> Any:
    """The tokenizer of a model that is prompted, with as many tokens as the model has embeddings.

    Raises:
        ModelError: it cannot be loaded, or is another model's (without its files transformers makes an empty one).
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(model), local_files_only=Path(model).is_dir())
    except Exception as error:  # as above
        raise _unloadable(error, model, kind) from error
    if len(tokenizer) != words:
        what = f"its tokenizer has {len(tokenizer)} tokens, but the model {words}"
        raise ModelError(what, where=model, mend="Copy the tokenizer files of the same model into the folder.")
    return tokenizer


def _unloadable(error: Exception, model: str | Path, kind: Kind) -> ModelError:
    network = "" if Path(model).is_dir() else "; a hub id needs the network once"
    mend = f"{_name_one(kind)} with {kind.files}{network}."
    return ModelError(f"{kind.name} cannot be loaded ({first_line(error)})", where=model, mend=mend)


def _name_one(kind: Kind) -> str:
    return f"Name a folder or hub id of {kind.example}"


def _belongs(found: str) -> str:
    """Where a model of a wrong kind would be right."""
    if found == "sam":
        return "; a SAM goes with --regions lism --sam"
    if found in PROMPTED_DETECTORS:
        return "; this one goes with --regions open-vocabulary --detector"
    if found in OBJECT_DETECTORS:
        return "; this one goes with --regions flism --detector"
    return ""
