"""`fastgoal scenes`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from fastgoal.cli.common import Json, write_result
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.errors import ConfigError


def scenes(
    out: Path,
    /,
    *,
    train: int = 2000,
    val: int = 400,
    test: int = 1000,
    seed: int = 0,
    objects: str = "4-9",
    captions: Literal["long", "short"] = "long",
    contrast: float = 0.5,
    sprites: Annotated[Path | None, Parameter(help="Folder of RGBA images; their file names are their names.")] = None,
    json: Json = None,
) -> None:
    """Draw the built-in data set: pictures with long captions and true boxes.

    The same seed gives the same scenes on any machine. Half of the scenes (see --contrast) come in groups of four that
    differ in one or two details only.

    Example: `fastgoal scenes scenes --train 500 --val 50 --test 100`

    Args:
        out: folder to write; gets `train/`, `val/` and `test/` with `captions.jsonl` and `images/`.
        train: scenes for training.
        val: scenes for validation.
        test: scenes for testing.
        seed: which scenes.
        objects: fewest and most objects in a scene, within 1-10.
        captions: a paragraph about everything, or a phrase about one to three things.
        contrast: share of the groups of four that differ in one or two details only.
    """
    fewest, _, most = objects.partition("-")
    if not (fewest.isdigit() and (most or fewest).isdigit()):
        raise ConfigError(f"'{objects}' is not a range", where="--objects", mend="Write it as 4-9.")
    config = ScenesConfig(
        train=train,
        val=val,
        test=test,
        seed=seed,
        objects=(int(fewest), int(most or fewest)),
        captions=captions,
        contrast=contrast,
        sprites=None if sprites is None else str(sprites),
    )
    result = write_scenes(out, config)
    counts = ", ".join(f"{count} {split}" for split, count in result["counts"].items() if count)
    print(f"{out}: {counts}. Next: fastgoal match {out}/train --out pairs")
    write_result(json, result)
