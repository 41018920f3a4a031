"""The settings of a training run: one frozen dataclass, checked when it is built.

The defaults of `goal` are the papers' (batch 16, ten epochs, AdamW at 5e-6 falling to 0 along a cosine, weight decay
0.05, seed 1337, 248 tokens where the model can be stretched to them). The four methods of the ablation are settings of
the loss weights, not code paths:

    method   global  local  tsl
    global   1       0      0
    local    0       1      0
    no-tsl   1       0.5    0
    goal     1       0.5    1
"""

import difflib
import math
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

import yaml

from fastgoal.errors import ConfigError
from fastgoal.losses import METHODS, LossWeights
from fastgoal.training.trackers import expect_known

Method = Literal["global", "local", "no-tsl", "goal"]

MINIMA: dict[str, float] = {
    "global_weight": 0,
    "local_weight": 0,
    "tsl_weight": 0,
    "pairs_per_sample": 1,
    "hard_negatives": 0,
    "lora_rank": 1,
    "epochs": 1,
    "max_steps": 1,
    "batch_size": 2,
    "micro_batch": 1,
    "accumulate": 1,
    "length_window": 1,
    "stream_block": 1,
    "weight_decay": 0,
    "warmup_steps": 0,
    "seed": 0,
    "text_tokens": 8,
    "eval_every": 1,
    "patience": 1,
    "save_every": 1,
    "keep_checkpoints": 1,
    "log_every": 1,
    "num_workers": 0,
    "view_cache_mb": 0,
}
ABOVE_ZERO = ("learning_rate", "clip_norm")
WITHOUT_EFFECT = (
    "log_every",
    "num_workers",
    "view_cache_mb",
    "keep_checkpoints",
    "save_every",
    "log_to",
    "micro_batch",
    "checkpoint_activations",
)
"""Fields that may change between a run and its continuation: the weights do not depend on them, or like on the machine,
in rounding only (`micro_batch`; so a run that ran out of memory can go on in less)."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What is trained, for how long, and how it is watched. Units are in the names or below."""

    method: Method = "goal"
    """The named loss weights; the next three replace one of them each."""
    global_weight: float | None = None
    """Weight of the contrast of whole images with whole captions."""
    local_weight: float | None = None
    """Weight of the contrast of regions with sentences."""
    tsl_weight: float | None = None
    """Weight of the token similarity loss."""
    tsl_target: Literal["diagonal", "matrix"] = "diagonal"
    """`diagonal` compares each pooled feature with its own local embedding (the released code), `matrix` all with all
    against ones on the diagonal (the papers' Eq. 14 as printed)."""
    tsl_stop_gradient: bool = False
    """No gradient into the local side of the token similarity loss."""
    patch_rule: Literal["overlap", "inside", "area"] = "overlap"
    """Which patches belong to a region: every overlapping one, those inside, or all by the area they share."""
    pairs_per_sample: int = 1
    """Local pairs of a sample that take part, best first; together they count as much as a single one."""
    pair_weights: Literal["uniform", "similarity"] = "uniform"
    """How several pairs of a sample share its weight: equally, or by their similarity."""
    in_image_negatives: bool = False
    """With several pairs per sample: regions of one image are negatives of each other's sentences."""
    hard_negatives: float = 0.0
    """Times the similarity of their captions is added to the logits of two samples that are negatives (0: nothing)."""
    image_tower: Literal["full", "lora", "frozen"] = "full"
    """What of the image tower learns: all of it, low-rank adapters that are merged in the end, or nothing."""
    text_tower: Literal["full", "lora", "frozen"] = "full"
    """The same for the text tower."""
    lora_rank: int = 8
    """Rank of the adapters (their alpha is twice the rank)."""
    epochs: int = 10
    """Passes over the samples."""
    max_steps: int | None = None
    """Stop after so many optimiser steps instead."""
    batch_size: int = 16
    """Samples that are negatives of each other."""
    micro_batch: int | None = None
    """Samples encoded at once; the gradient is that of the whole batch all the same (cached gradients). Default: the
    whole batch."""
    checkpoint_activations: bool = False
    """Compute each layer of the towers again on the way back instead of keeping what is inside: less memory, more time,
    the same gradient."""
    shard: bool = False
    """Of several processes, let each keep a part of every weight and of the optimiser's state (FSDP2), for models that
    do not fit a device otherwise. Default: each keeps a copy (DDP)."""
    accumulate: int = 1
    """Average the gradient over so many batches before a step. That saves memory but is NOT a larger contrastive batch:
    samples are only compared within their own batch (`micro_batch` saves it for one large batch)."""
    length_window: int = 16
    """Batches whose samples are sorted by the length of their captions together, so that little is padded; the samples
    of a window and the order of its batches stay random (1: nothing is sorted)."""
    stream: bool = False
    """Read the table shard by shard in a few lanes, instead of in an order over all samples: for data larger than
    memory, or in object storage (see docs/remote.md). `length_window` then has no effect."""
    stream_block: int = 1024
    """Rows of a lane that are shuffled among themselves."""
    learning_rate: float = 5e-6
    """The peak, reached after the warm-up."""
    weight_decay: float = 0.05
    """AdamW's weight decay, on all parameters as in the papers' code."""
    warmup_steps: int = 0
    """Steps in which the learning rate rises from 0."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls to 0 (or stays)."""
    clip_norm: float | None = None
    """Clip the gradient to this norm (default: no clipping, as in the papers' code)."""
    seed: int = 1337
    """Keys the order of the samples, together with the epoch and their ids."""
    text_tokens: int | None = None
    """The text limit, to which the model is stretched or cut (default: 248, or the model's own where that is longer or
    cannot change, as in SigLIP)."""
    eval_every: int | None = None
    """Validate every so many steps (default: after each epoch)."""
    patience: int | None = None
    """Stop after so many validations without a new best (default: never)."""
    save_every: int | None = None
    """Checkpoint every so many steps (default: after each epoch)."""
    keep_checkpoints: int = 2
    """Newest checkpoints that stay."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What the towers run in; weights and optimiser are float32 always. `auto` times both where the run begins, and
    takes bf16 if that is clearly faster (see `fastgoal.training.precision`)."""
    compile: bool = False
    """Compile the towers (torch.compile): the first steps wait for it, minutes on a CPU. It needs Triton on a GPU, and
    on a CPU a C++ compiler; there it gained nothing as far as measured (`tiny`, ViT-B/16)."""
    exact_decode: bool = False
    """Decode all pixels of every JPEG. By default one is decoded at a half, a quarter or an eighth of its size where
    that still has all the pixels its views ask for: faster, and nearly the same pixels. Matching and evaluation are
    exact always."""
    num_workers: int = 0
    """Processes that decode and tokenise (0: this one)."""
    view_cache_mb: int = 512
    """MiB for decoded views and tokens."""
    log_every: int = 10
    """Steps per line of history.jsonl."""
    log_to: tuple[str, ...] = ()
    """Trackers that get each line of the history too, such as `tensorboard` or `wandb`."""

    def __post_init__(self) -> None:
        for name, kind in _field_types().items():
            object.__setattr__(self, name, _typed(getattr(self, name), kind, name))
        for name, low in MINIMA.items():
            _check(name, getattr(self, name), lambda value, low=low: value >= low, f"at least {low:g}")
        for name in ABOVE_ZERO:
            _check(name, getattr(self, name), lambda value: value > 0, "greater than 0")
        expect_known(self.log_to)
        _ = self.weights  # refuses weights that are all 0
        if self.image_tower == self.text_tower == "frozen":
            mend = "Let one tower learn, in full or with adapters."
            raise ConfigError("both towers are frozen", where="image_tower, text_tower", mend=mend)
        if self.in_image_negatives and self.pairs_per_sample == 1:
            mend = "Set pairs_per_sample to 2 or more."
            raise ConfigError("one pair per sample has no in-image negatives", where="in_image_negatives", mend=mend)
        if self.shard and (self.compile or "lora" in (self.image_tower, self.text_tower)):
            mend = "Leave shard out: adapters need little memory, and compiled towers are not cut up."
            raise ConfigError("weights are not shared out with adapters or compile", where="shard", mend=mend)

    @property
    def weights(self) -> LossWeights:
        """The method's loss weights with the replaced ones in place."""
        named = METHODS[self.method]
        return LossWeights(
            global_=named.global_ if self.global_weight is None else self.global_weight,
            local=named.local if self.local_weight is None else self.local_weight,
            tsl=named.tsl if self.tsl_weight is None else self.tsl_weight,
        )

    def to_mapping(self) -> dict[str, Any]:
        """The settings as plain values (what `from_mapping` takes)."""
        return {**asdict(self), "log_to": list(self.log_to)}

    def trajectory(self) -> dict[str, Any]:
        """The settings that the final weights depend on."""
        return {name: value for name, value in self.to_mapping().items() if name not in WITHOUT_EFFECT}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, where: object = None) -> Self:
        """Settings by name, as YAML or JSON gives them.

        Raises:
            ConfigError: an unknown name (with the nearest known one), a wrong type, or a value out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                mend = f"Did you mean {near[0]!r}?" if near else f"Known settings: {', '.join(known)}."
                raise ConfigError(f"unknown setting {name!r}", where=where, mend=mend)
        try:
            return cls(**values)
        except ConfigError as error:
            place = ": ".join(str(part) for part in (where, error.where) if part is not None)
            raise ConfigError(error.what, where=place or None, mend=error.mend) from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Settings from a YAML file of `name: value` lines.

        Raises:
            ConfigError: a file that is missing or not YAML, and whatever `from_mapping` refuses.
        """
        return cls.from_mapping(read_settings(path), where=path)


class _Loader(yaml.SafeLoader):
    """YAML as safe_load reads it, but a name that is there twice is an error: the first value would be dropped."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"{twice!r} is there twice", mend="Remove one of them.")
        return super().construct_mapping(node, deep)


def read_settings(path: str | Path) -> Mapping[str, Any]:
    """The `name: value` lines of a YAML file, names and values unchecked.

    Raises:
        ConfigError: a file that is missing, not YAML, or not of that form.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except ConfigError as error:
        raise ConfigError(error.what, where=path, mend=error.mend) from None
    except OSError as error:
        raise ConfigError("cannot read the settings", where=path, mend=f"{error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        what = f"not a YAML file ({' '.join(str(error).split())})"
        raise ConfigError(what, where=path, mend="Write one `name: value` per line.") from None
    if not isinstance(values, Mapping | None):
        raise ConfigError("not a list of settings", where=path, mend="Write one `name: value` per line.")
    return values or {}


def _field_types() -> dict[str, Any]:
    return get_type_hints(TrainConfig)


def _check(name: str, value: Any, holds: Any, rule: str) -> None:
    if value is not None and not (holds(value) and math.isfinite(value)):
        raise ConfigError(f"{value} is out of range", where=name, mend=f"Set {name} to a number {rule}.")


def _typed(value: Any, kind: Any, name: str) -> Any:
    """`value` as the field's type; the only conversions are exact ones (an int for a float, a list for a tuple)."""
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    if value is None and types.NoneType in options:
        return None
    option = options[0]
    if get_origin(option) is Literal:
        if value in get_args(option):
            return value
        choices = [str(choice) for choice in get_args(option)]
        near = difflib.get_close_matches(str(value), choices, n=1)
        mend = (f"Did you mean {near[0]!r}? " if near else "") + f"Choose from: {', '.join(choices)}."
        raise ConfigError(f"{value!r} is not a choice", where=name, mend=mend)
    return _plain(value, option, name)


def _plain(value: Any, kind: Any, name: str) -> Any:
    if get_origin(kind) is tuple:
        if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
            return tuple(value)
        raise ConfigError(f"{value!r} is not a list of names", where=name, mend=f"Write {name}: [name, ...].")
    if kind is float:
        number = _number(value)
        if number is not None:
            return number
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]
    raise ConfigError(f"{value!r} is {type(value).__name__}, not {wanted}", where=name, mend=f"Set {name} to {wanted}.")


def _number(value: Any) -> float | None:
    """A float; also from text, because YAML 1.1 reads `5e-6` (without a point) as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
