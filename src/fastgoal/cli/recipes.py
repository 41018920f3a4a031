"""`fastgoal recipes`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from fastgoal.cli.common import Device, Json, quiet_libraries, write_result
from fastgoal.errors import ConfigError
from fastgoal.recipes import Places, Recipe, all_recipes, follow, recipe_named
from fastgoal.recipes import smoke as follow_in_small
from fastgoal.recipes.words import beside, facts, line, shown

Data = Annotated[Path | None, Parameter(help="Folder with the local copies, each under its benchmark's name.")]


def recipes(
    action: Literal["list", "show", "run"],
    names: tuple[str, ...] = (),
    /,
    *,
    data: Data = None,
    out: Path = Path("recipes"),
    smoke: bool = False,
    allow_partial: bool = False,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """The rows of both papers' tables as recipes: data, hyper-parameters, protocols, and the figures to compare with.

    Example: `fastgoal recipes run goal-t1-docci-b16-goal --data /data --out reproduced`

    Example: `fastgoal recipes run goal-t1-docci-b16-goal --smoke` (small models and drawn data, in seconds)

    Args:
        action: `list` all (or those whose name contains NAMES), `show` what one says, `run` it.
        names: recipes, or YAML files of your own; `all` runs every one.
        out: pairs, trainings and results; recipes that share a stage share its result.
        smoke: two steps on drawn scenes laid out like the benchmarks, with small random models: shows that it runs.
        allow_partial: accept fewer items than the protocols ask for, and say so.
    """
    quiet_libraries()
    if action == "list":
        found = [own for own in all_recipes().values() if not names or any(name in own.name for name in names)]
        print("\n".join(map(line, found)))
        write_result(json, {"recipes": [facts(own) for own in found]})
        return
    asked = _asked(action, names)
    if action == "show":
        print("\n\n".join(map(shown, asked)))
        write_result(json, {"recipes": [facts(own) for own in asked]})
        return
    outcomes = []
    for number, own in enumerate(asked, start=1):
        print(f"[{number}/{len(asked)}] {own.name}: {own.source}", flush=True)
        outcomes.append(
            follow_in_small(own, out, device=device)
            if smoke
            else follow(own, _places(data, out, device), allow_partial=allow_partial)
        )
        print(beside(outcomes[-1]), flush=True)
    write_result(json, {"outcomes": [outcome.to_json() for outcome in outcomes]})


def _asked(action: str, names: tuple[str, ...]) -> list[Recipe]:
    if not names:
        mend = "See them with `fastgoal recipes list`."
        raise ConfigError("no recipe is named", where=f"recipes {action}", mend=mend)
    return list(all_recipes().values()) if names == ("all",) else [recipe_named(name) for name in names]


def _places(data: Path | None, out: Path, device: str) -> Places:
    if data is None:
        mend = "Name the folder that holds the local copies, or rehearse with --smoke."
        raise ConfigError("a recipe needs its benchmarks", where="--data", mend=mend)
    return Places(data=data, out=out, device=device)
