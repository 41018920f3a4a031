"""Model folders: reading and writing plain transformers folders, and saying what is wrong with one.

A name is a local folder (never touches the network), `tiny` (bundled with the package) or a hub id. A new folder is
written aside and renamed, so it is whole or absent. Into one that is there already, whole files are moved, config.json
last: without it nothing is taken for a model.
"""

import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast

from fastgoal.errors import ModelError, first_line
from fastgoal.files import ASIDE, force_to_disk, replace_folder, writing
from fastgoal.models.families import family_named
from fastgoal.models.tokens import forget_calls

BUNDLED = "tiny"
CONFIG = "config.json"
_WRITING = ".writing"
"""Where a model is made whose folder is there already."""
_FILES = {
    "config": (CONFIG,),
    "weights": (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ),
    "tokenizer": ("tokenizer.json", "vocab.json"),
    "image processor": ("preprocessor_config.json", "processor_config.json"),
}
_FILE_ERRORS = ("inline_container", "PytorchStreamWriter", "iostream error")
"""How to tell the `RuntimeError`s of torch that are about the file it writes."""
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def read_folder(name: str) -> tuple[Any, Any, Any]:
    """Model (float32), tokenizer and Pil image processor of a folder, a hub id or the bundled model.

    Raises:
        ModelError: nothing there, another architecture, incomplete weights, or files that cannot be read.
    """
    family = family_named(read_model_type(name), name)
    return read_parts(name, family.Model, family.ImageProcessor)


def read_parts(name: str, model_class: Any, image_processor_class: Any) -> tuple[Any, Any, Any]:
    """The same with the transformers classes given.

    Raises:
        ModelError: nothing there, incomplete weights, or files that cannot be read.
    """
    with _reading(name) as (source, options):
        model, loading = model_class.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
        tokenizer = _tokenizer(source, name, options)
        image_processor = image_processor_class.from_pretrained(source, **options)
    _check_weights(loading, name)
    return model, tokenizer, image_processor


def read_model_type(name: str) -> object:
    """What config.json says the architecture is.

    Raises:
        ModelError: nothing there, or a file that cannot be read.
    """
    with _reading(name) as (source, options):
        return PreTrainedConfig.get_config_dict(source, **options)[0].get("model_type")


def read_tokenizer(name: str) -> tuple[Any, int]:
    """The tokenizer of a folder, a hub id or the bundled model, and the model's text limit; weights are not read.

    Raises:
        ModelError: nothing there, another architecture, or files that cannot be read.
    """
    family = family_named(read_model_type(name), name)
    with _reading(name) as (source, options):
        config = family.Model.config_class.from_pretrained(source, **options)
        tokenizer = _tokenizer(source, name, options)
    return tokenizer, int(config.text_config.max_position_embeddings)


@contextmanager
def _reading(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where a model lies and how transformers is to open it; what goes wrong inside is said as a `ModelError`."""
    source, local = _locate(name)
    if local:
        _check_files(Path(source), name)
    try:
        yield source, {"local_files_only": local}
    except ModelError:
        raise
    except Exception as error:  # whatever a broken file makes transformers raise, the user's files are at fault
        raise _unloadable(error, name, local) from error


def expect_free(folder: Path, but: Collection[str] = ()) -> None:
    """Refuse a folder for a new model that holds something else than the files called `but`, or a model whose writing
    was cut short.

    Raises:
        ModelError: it does, or a file has its name.
    """
    if folder.exists() and not folder.is_dir():
        raise ModelError("a file has this name", where=folder, mend="Choose another folder.")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    cut_short = CONFIG not in names and bool(names & {_WRITING, CONFIG + ASIDE})
    if names - set(but) and not cut_short:
        raise ModelError("the folder is not empty", where=folder, mend="Choose another folder.")


def write_folder(folder: Path, model: Any, tokenizer: Any, image_processor: Any) -> None:
    """Write config, safetensors, tokenizer, processor_config.json and, for older readers, preprocessor_config.json.

    Raises:
        DataError: the disk refuses.
    """
    new = not folder.exists()
    aside = written_under(folder) if new else folder / _WRITING
    with writing_weights(folder):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        forget_calls(tokenizer)
        model.save_pretrained(aside)
        family_named(model.config.model_type, folder).Processor(image_processor, tokenizer).save_pretrained(aside)
        image_processor.save_pretrained(aside)
        if new:
            replace_folder(aside, folder)
        else:
            _move_files(aside, folder)


def written_under(folder: Path) -> Path:
    """The name of a new model folder until it is whole."""
    return folder.with_name(f".{folder.name}.writing")


def _move_files(aside: Path, folder: Path) -> None:
    """At any moment `folder` is a whole model, or none and says so by what is left in it (see `expect_free`)."""
    config = folder / CONFIG
    last = config.with_name(CONFIG + ASIDE)
    config.unlink(missing_ok=True)
    for file in sorted(aside.iterdir()):
        force_to_disk(file)
        file.replace(last if file.name == CONFIG else folder / file.name)
    aside.rmdir()
    force_to_disk(folder)
    last.replace(config)
    force_to_disk(folder)


@contextmanager
def writing_weights(path: Path) -> Iterator[None]:
    """`files.writing` for code of safetensors and torch, which report the disk's refusals in errors of their own."""
    with writing(path):
        try:
            yield
        except SafetensorError as error:
            raise OSError(str(error)) from error
        except RuntimeError as error:
            if not any(sign in str(error) for sign in _FILE_ERRORS):
                raise
            raise OSError("torch could not write the whole file") from error


def _locate(name: str) -> tuple[str, bool]:
    if name == BUNDLED:
        return str(files("fastgoal") / "assets" / BUNDLED), True
    if Path(name).is_dir():
        return name, True
    if name.startswith("open_clip:"):
        what = "models of open_clip can be evaluated but not trained"
        raise ModelError(what, where=name, mend="Give it to `fastgoal eval` only, or train a transformers folder")
    if not HUB_ID.fullmatch(name):
        raise ModelError("there is no such model folder", where=name, mend="Check the path, or give a hub id or `tiny`")
    return name, False


def _check_files(folder: Path, name: str) -> None:
    """One of each kind must be there: without a tokenizer, for one, transformers makes up an empty one."""
    if not folder.is_dir():
        raise ModelError("there is no such model folder", where=name, mend="Install the package again, with its assets")
    for kind, choices in _FILES.items():
        if not any((folder / file).is_file() for file in choices):
            raise ModelError(f"the folder has no {kind}", where=name, mend=f"Put {' or '.join(choices[:2])} there")


def _check_weights(loading: Mapping[str, Any], name: str) -> None:
    if other := sorted(key for key, *_ in loading["mismatched_keys"]):
        what = f"{len(other)} of its weights have another shape than config.json says, the first {other[0]}"
        raise ModelError(what, where=name, mend="Use the config.json and the weights of one checkpoint")
    if missing := sorted(loading["missing_keys"]):
        what = f"{len(missing)} of its weights are missing, the first {missing[0]}"
        raise ModelError(what, where=name, mend="Use a complete checkpoint")


def _tokenizer(source: str, name: str, options: Mapping[str, Any]) -> Any:
    """The tokenizer, of the kind that reports character offsets: from tokenizer.json where transformers would take a
    slow one (SigLIP's, if SentencePiece is installed).
    """
    tokenizer = AutoTokenizer.from_pretrained(source, **options)
    if tokenizer.is_fast:
        return tokenizer
    try:
        return PreTrainedTokenizerFast.from_pretrained(source, **options)
    except Exception as error:  # whatever is wrong with the file, or that it is not there
        what = "its tokenizer has no tokenizer.json, and only from that are character offsets known"
        raise ModelError(what, where=name, mend="Put the model's tokenizer.json there") from error


def _unloadable(error: Exception, name: str, local: bool) -> ModelError:
    reason = first_line(error)
    if "weights only load failed" in reason.lower():
        mend = "Use a checkpoint with model.safetensors"
        return ModelError("its weights are a pickle that may run code", where=name, mend=mend)
    return ModelError(f"the model cannot be loaded: {reason}", where=name, mend=_mend(local))


def _mend(local: bool) -> str:
    if local:
        return "Check that its files are whole and belong together"
    return "Check the id and the connection, or give a local folder"
