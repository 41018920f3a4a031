"""`fastgoal convert`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from fastgoal.cli.common import Json, quiet_libraries, write_result
from fastgoal.errors import ConfigError
from fastgoal.models.checkpoints import DEFAULT_TOKENIZER, Conversion, Wishes
from fastgoal.models.checkpoints import convert as convert_file
from fastgoal.models.checkpoints.settings import Triple
from fastgoal.models.checkpoints.table import Tower

_COLOURS = "Of red, green and blue (default: OpenAI's)."


def convert(
    checkpoint: Path,
    out: Path,
    /,
    *,
    tokenizer: str = DEFAULT_TOKENIZER,
    activation: Literal["quick_gelu", "gelu"] | None = None,
    heads: Annotated[str | None, Parameter(help="Attention heads: IMAGE or IMAGE,TEXT (default: by width).")] = None,
    model_config: Annotated[Path | None, Parameter(help="open_clip's JSON of the model.")] = None,
    mean: Annotated[Triple | None, Parameter(negative="", help=_COLOURS)] = None,
    std: Annotated[Triple | None, Parameter(negative="", help=_COLOURS)] = None,
    json: Json = None,
) -> None:
    """Turn a checkpoint of OpenAI CLIP, Long-CLIP, GOAL or open_clip into a model folder.

    The layout is told from the keys. No code in the file is ever run. What a state dict does not say is taken from the
    flags, else from open_clip's JSON, else assumed and printed.

    Example: `fastgoal convert longclip-B.pt longclip-B --tokenizer openai/clip-vit-base-patch16`

    Args:
        checkpoint: a file of `torch.save` (.pt, .pth, .bin) or safetensors.
        out: folder of the new model, which every command and stock `CLIPModel` load.
        tokenizer: a folder or hub id; checkpoints have none.
        activation: default `quick_gelu` for OpenAI, Long-CLIP and GOAL, `gelu` for open_clip.
    """
    quiet_libraries()
    wishes = Wishes(activation=activation, heads=_counts(heads), model_config=model_config, mean=mean, std=std)
    done = convert_file(checkpoint, out, tokenizer=tokenizer, wishes=wishes)
    print(describe(checkpoint, done, out))
    write_result(json, {"checkpoint": str(checkpoint), "out": str(out), **done.to_json()})


def _counts(text: str | None) -> tuple[int, ...] | None:
    parts = [] if text is None else text.split(",")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        mend = "Give one or two whole numbers, as in 16 or 16,12."
        raise ConfigError(f"'{text}' is not IMAGE or IMAGE,TEXT", where="--heads", mend=mend)
    return tuple(int(part) for part in parts) or None


def describe(checkpoint: Path, done: Conversion, out: Path) -> str:
    """What was recognised, and what was assumed."""
    sizes, settings, said = done.sizes, done.settings, done.settings.from_where
    image, text = _tower(sizes.image, settings.image_heads), _tower(sizes.text, settings.text_heads)
    return "\n".join(
        (
            f"{checkpoint}: {done.layout}",
            f"  image tower {image}; {sizes.pixels} pixels in patches of {sizes.patch}",
            f"  text tower  {text}; {sizes.positions} positions, {sizes.vocabulary:,} tokens of {done.tokenizer}",
            f"  joint space {sizes.dim} dimensions",
            f"  heads       {said['heads']}",
            f"  activation  {settings.activation} ({said['activation']})",
            f"  images      mean and deviation {said['images']}",
            f"{out}: reads {sizes.positions} tokens",
        )
    )


def _tower(tower: Tower, heads: int) -> str:
    return f"{tower.layers} layers, {tower.width} wide, {heads} heads of {tower.width // heads}"
