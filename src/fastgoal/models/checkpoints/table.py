"""Every weight of a CLIP of given sizes: its key and shape in OpenAI's layout, and what it becomes in transformers.

OpenAI's blocks hold query, key and value in one matrix, and multiply by projections from the right; transformers has
three matrices and multiplies from the left. Transformers' own layout is the same table read from its other side.

Shapes: W tower width, M width inside the MLP, D joint dimensions, T text positions, V vocabulary, P pixels of a patch's
side, G patches along a side.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from fastgoal.errors import ModelError
from fastgoal.models.checkpoints.file import Checkpoint
from fastgoal.models.checkpoints.layouts import IGNORED, LONG_CLIP_SECOND_TABLE, Layout
from fastgoal.models.longtext import KEPT_ROWS

SHOWN = 12
"""Keys of each kind of trouble that are named before the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Tower:
    """Sizes of one tower: layers, width W, and width M inside its MLPs."""

    layers: int
    width: int
    inner: int


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the shapes of the weights say of a CLIP."""

    image: Tower
    text: Tower
    patch: int
    grid: int
    positions: int
    vocabulary: int
    dim: int

    @property
    def pixels(self) -> int:
        """Side of the input image."""
        return self.patch * self.grid


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One weight of a checkpoint.

    becomes: transformers names; several share its rows. flipped: transformers holds it transposed.
    """

    key: str
    shape: tuple[int, ...]
    becomes: tuple[str, ...]
    flipped: bool = False


def measure(checkpoint: Checkpoint, layout: Layout) -> Sizes:
    """The sizes that the shapes of some weights say; whether all the others agree is for `check` to see.

    Raises:
        ModelError: one of those weights is missing or has not the right number of dimensions, or image positions that
            are no square grid.
    """
    weights, text = checkpoint.weights, layout.text

    def shape(key: str, dimensions: int) -> tuple[int, ...]:
        if key not in weights or weights[key].ndim != dimensions:
            found = f"has the shape {_times(weights[key].shape)}" if key in weights else "is missing"
            raise _broken(f"{key} {found}", checkpoint)
        return tuple(weights[key].shape)

    if layout.plain:
        conv, grid = (f"vision_model.embeddings.{part}_embedding.weight" for part in ("patch", "position"))
        tokens, table = (f"text_model.embeddings.{part}_embedding.weight" for part in ("token", "position"))
        blocks, inner = ("vision_model.encoder.layers", "text_model.encoder.layers"), "mlp.fc1.bias"
        dim = shape("text_projection.weight", 2)[0]
    else:
        conv, grid = "visual.conv1.weight", "visual.positional_embedding"
        tokens, table = f"{text}token_embedding.weight", f"{text}positional_embedding"
        blocks, inner = ("visual.transformer.resblocks", f"{text}transformer.resblocks"), "mlp.c_fc.bias"
        dim = shape(f"{text}text_projection", 2)[1]
    (image_width, _, patch, _), rows = shape(conv, 4), shape(grid, 2)[0]
    (vocabulary, text_width), positions = shape(tokens, 2), shape(table, 2)[0]
    side = math.isqrt(max(rows - 1, 0))
    if side < 1 or side * side != rows - 1:
        raise _broken(f"{grid} has {rows} rows, which are not one and a square grid of patches", checkpoint)
    image, text_tower = (
        Tower(layers=_layers(weights, block), width=width, inner=shape(f"{block}.0.{inner}", 1)[0])
        for block, width in zip(blocks, (image_width, text_width), strict=True)
    )
    return Sizes(
        image=image, text=text_tower, patch=patch, grid=side, positions=positions, vocabulary=vocabulary, dim=dim
    )


def _layers(weights: Mapping[str, torch.Tensor], block: str) -> int:
    numbered = re.compile(re.escape(block) + r"\.(\d+)\.")
    return len({found[1] for key in weights if (found := numbered.match(key))})


def entries(sizes: Sizes, layout: Layout) -> list[Entry]:
    """Every weight that a checkpoint of these sizes and this layout has."""
    table = list(_entries(sizes, layout.text))
    if layout.plain:
        return [Entry(key=name, shape=_part(entry), becomes=(name,)) for entry in table for name in entry.becomes]
    if layout.second_table:
        table.append(Entry(key=LONG_CLIP_SECOND_TABLE, shape=(sizes.positions, sizes.text.width), becomes=()))
    return table


def _part(entry: Entry) -> tuple[int, ...]:
    shape = entry.shape[::-1] if entry.flipped else entry.shape
    return (shape[0] // len(entry.becomes), *shape[1:]) if shape else shape


def _entries(sizes: Sizes, text: str) -> Iterator[Entry]:
    width, embeddings = sizes.image.width, "vision_model.embeddings"
    yield Entry(key="logit_scale", shape=(), becomes=("logit_scale",))
    yield Entry(key="visual.class_embedding", shape=(width,), becomes=(f"{embeddings}.class_embedding",))
    yield _weight("visual.conv1.weight", (width, 3, sizes.patch, sizes.patch), f"{embeddings}.patch_embedding")
    yield _weight("visual.positional_embedding", (sizes.grid**2 + 1, width), f"{embeddings}.position_embedding")
    yield from _norm("visual.ln_pre", width, "vision_model.pre_layrnorm")  # transformers spells it so
    yield from _blocks("visual.transformer.resblocks", sizes.image, "vision_model.encoder.layers")
    yield from _norm("visual.ln_post", width, "vision_model.post_layernorm")
    yield _weight("visual.proj", (width, sizes.dim), "visual_projection", flipped=True)
    width, embeddings = sizes.text.width, "text_model.embeddings"
    yield _weight(f"{text}token_embedding.weight", (sizes.vocabulary, width), f"{embeddings}.token_embedding")
    yield _weight(f"{text}positional_embedding", (sizes.positions, width), f"{embeddings}.position_embedding")
    yield from _blocks(f"{text}transformer.resblocks", sizes.text, "text_model.encoder.layers")
    yield from _norm(f"{text}ln_final", width, "text_model.final_layer_norm")
    yield _weight(f"{text}text_projection", (width, sizes.dim), "text_projection", flipped=True)


def _blocks(block: str, tower: Tower, layer: str) -> Iterator[Entry]:
    width, inner = tower.width, tower.inner
    for number in range(tower.layers):
        own, new = f"{block}.{number}", f"{layer}.{number}"
        for kind, shape in (("weight", (3 * width, width)), ("bias", (3 * width,))):
            becomes = tuple(f"{new}.self_attn.{part}_proj.{kind}" for part in "qkv")
            yield Entry(key=f"{own}.attn.in_proj_{kind}", shape=shape, becomes=becomes)
        yield from _linear(f"{own}.attn.out_proj", width, width, f"{new}.self_attn.out_proj")
        yield from _norm(f"{own}.ln_1", width, f"{new}.layer_norm1")
        yield from _linear(f"{own}.mlp.c_fc", inner, width, f"{new}.mlp.fc1")
        yield from _linear(f"{own}.mlp.c_proj", width, inner, f"{new}.mlp.fc2")
        yield from _norm(f"{own}.ln_2", width, f"{new}.layer_norm2")


def _weight(key: str, shape: tuple[int, ...], module: str, *, flipped: bool = False) -> Entry:
    return Entry(key=key, shape=shape, becomes=(f"{module}.weight",), flipped=flipped)


def _linear(key: str, rows: int, columns: int, module: str) -> Iterator[Entry]:
    yield Entry(key=f"{key}.weight", shape=(rows, columns), becomes=(f"{module}.weight",))
    yield Entry(key=f"{key}.bias", shape=(rows,), becomes=(f"{module}.bias",))


def _norm(key: str, width: int, module: str) -> Iterator[Entry]:
    for kind in ("weight", "bias"):
        yield Entry(key=f"{key}.{kind}", shape=(width,), becomes=(f"{module}.{kind}",))


def check(table: Sequence[Entry], checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint unless it has every weight of the table, of its shape and finite, and none besides.

    Raises:
        ModelError: names the keys at fault, up to `SHOWN` of each kind.
    """
    weights, expected = checkpoint.weights, {entry.key: entry.shape for entry in table}
    missing = [key for key in expected if key not in weights]
    others = [key for key in weights if key not in expected and not _ignored(key)]
    shapes = [
        f"{key} is {_times(weights[key].shape)} where {_times(shape)} belongs"
        for key, shape in expected.items()
        if key in weights and tuple(weights[key].shape) != shape and not (shape == () and weights[key].numel() == 1)
    ]
    bad = [key for key in expected if key in weights and not _usable(weights[key])]
    troubles = (("missing ", missing), ("unknown ", others), ("", shapes), ("not finite numbers in ", bad))
    found = [f"{what}{_list(keys)}" for what, keys in troubles if keys]
    if found:
        raise _broken("; ".join(found), checkpoint)


def _usable(weight: torch.Tensor) -> bool:
    return weight.is_floating_point() and bool(torch.isfinite(weight).all())


def _ignored(key: str) -> bool:
    return key in IGNORED or key.endswith(".position_ids")


def translate(table: Sequence[Entry], checkpoint: Checkpoint, layout: Layout) -> dict[str, torch.Tensor]:
    """The checked weights under transformers names, in the precision they are stored in."""
    weights = dict(checkpoint.weights)
    translated: dict[str, torch.Tensor] = {}
    if layout.second_table:
        first, second = weights["positional_embedding"], weights[LONG_CLIP_SECOND_TABLE]
        weights["positional_embedding"] = torch.cat([first[:KEPT_ROWS], second[KEPT_ROWS:]])
    for entry in table:
        if entry.becomes:
            weight = weights[entry.key].reshape(entry.shape)
            parts = (weight.T if entry.flipped else weight).chunk(len(entry.becomes)) if entry.shape else (weight,)
            translated |= dict(zip(entry.becomes, parts, strict=True))
    return translated


def restore(table: Sequence[Entry], translated: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The way back: a checkpoint's weights from those under transformers names."""
    weights: dict[str, torch.Tensor] = {}
    for entry in table:
        parts = [translated[name] for name in entry.becomes]
        weight = torch.cat(parts) if len(parts) > 1 else parts[0]
        weights[entry.key] = (weight.T if entry.flipped else weight).reshape(entry.shape).contiguous()
    return weights


def _broken(what: str, checkpoint: Checkpoint) -> ModelError:
    mend = "Use the whole, plain checkpoint of one model, without added or removed parts"
    return ModelError(f"its weights are not those of one CLIP: {what}", where=checkpoint.path, mend=mend)


def _list(items: Sequence[str]) -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
