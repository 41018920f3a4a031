"""A recipe: one row of a paper's table, as what has to be trained and measured to have it again.

    paper, tables, method, backbone, trained    the row, as printed
    model, obtain      the model to start from, and how to get it where it is no model of the hub
    stages             data to match and train on, in order; none for a model as released
    measure            what is evaluated afterwards
    unpublished        what the paper does not say, and what stands here instead

Each is a YAML file in `rows/` that is read without looking into any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from fastgoal.errors import ConfigError
from fastgoal.evaluation.protocols import Protocol, protocol_named, protocol_of
from fastgoal.evaluation.published import Published, all_published
from fastgoal.training.config import TrainConfig, read_settings

NOT_STATED = "not stated"
Task = Literal["retrieval", "joint", "localize"]


@dataclass(frozen=True, kw_only=True)
class MatchPlan:
    """How local pairs are made: see `make_proposer`; `lism` regions go with LISM's rule. matcher: the CLIP that
    compares."""

    regions: str
    matcher: str
    detector: str | None = None
    sam: str | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training: the benchmark's split, its pairs, the settings. items: how many images it has, where that is
    published."""

    data: str
    items: int | None = None
    match: MatchPlan
    train: TrainConfig


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One evaluation. match: the pairs of the test set, where the task needs them. protocol: another than the one
    pinned for the data. text_tokens: another text limit than the protocol's; the model's own is stretched to it."""

    data: str
    task: Task
    protocol: str | None = None
    text_tokens: int | None = None
    match: MatchPlan | None = None

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ConfigError(f"{self.task!r} is no task", mend=f"Use {', '.join(get_args(Task))}.")
        if (self.match is None) != (self.task == "retrieval"):
            mend = "`joint` and `localize` need a `match`, `retrieval` has no use for one."
            raise ConfigError(f"{self.task} on {self.data}", mend=mend)

    @property
    def pinned(self) -> Protocol:
        """The protocol that its figures are stored under."""
        general = {"retrieval": "long-retrieval", "joint": "joint", "localize": "localisation"}[self.task]
        kind = protocol_named(general).task
        if self.protocol is not None:
            return protocol_named(self.protocol)
        return protocol_of(self.data, kind) or protocol_named(general)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """See the module. name: of its file."""

    name: str
    paper: str
    tables: tuple[str, ...]
    method: str
    backbone: str
    trained: tuple[str, ...]
    model: str
    obtain: str | None = None
    stages: tuple[Stage, ...] = ()
    measure: tuple[Measure, ...]
    unpublished: tuple[str, ...] = ()
    note: str | None = None

    @property
    def source(self) -> str:
        """As it is cited: `GOAL, tables 1, 3`."""
        return f"{self.paper}, table{'s' * (len(self.tables) > 1)} {', '.join(self.tables)}"

    @property
    def data(self) -> tuple[str, ...]:
        """Every split it reads, in the order of use."""
        return tuple(dict.fromkeys([stage.data for stage in self.stages] + [own.data for own in self.measure]))

    @property
    def published(self) -> tuple[Published, ...]:
        """The printed figures of the row, one entry per protocol."""
        protocols = {own.pinned.name for own in self.measure}
        return tuple(
            row
            for row in all_published()
            if (row.paper, row.method, row.backbone) == (self.paper, self.method, self.backbone)
            and row.table in self.tables
            and row.protocol in protocols
            and row.trained in (self.trained, (NOT_STATED,))
        )


def read_recipe(path: Path) -> Recipe:
    """A recipe from its YAML file.

    Raises:
        ConfigError: a file that cannot be read, an unknown or missing field, or a value that cannot be used.
    """
    record = read_settings(path)
    try:
        return _build(Recipe, {"name": path.stem, **record, **_parts(record)})
    except ConfigError as error:
        place = ": ".join(str(part) for part in (path.name, error.where) if part is not None)
        raise ConfigError(error.what, where=place, mend=error.mend) from None


def _parts(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are lists; a list that is missing is for `_build` to miss."""
    parts: dict[str, Any] = {
        name: tuple(str(one) if name == "tables" else _text(name, one) for one in _listed(name, record[name]))
        for name in ("tables", "trained", "unpublished")
        if name in record
    }
    for name, read in (("stages", _stage), ("measure", _measure)):
        if name in record:
            parts[name] = tuple(read(one) for one in _listed(name, record[name]))
    return parts


def _stage(given: Any) -> Stage:
    values = _with_match(_mapping("Stage", given))
    if "train" in values:
        values["train"] = TrainConfig.from_mapping(_mapping("train", values["train"]))
    return _build(Stage, values)


def _measure(given: Any) -> Measure:
    return _build(Measure, _with_match(_mapping("Measure", given)))


def _with_match(values: Mapping[str, Any]) -> dict[str, Any]:
    match = {"match": _build(MatchPlan, _mapping("match", values["match"]))} if "match" in values else {}
    return {**values, **match}


def _listed(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{value!r} is not a list", where=where, mend="Write [one, another], or one per line with -.")
    return value


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{value!r} has no fields", where=where, mend="Write {name: value, ...}.")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):  # YAML reads an unquoted `a: b` as a mapping
        raise ConfigError(f"{value!r} is not a text", where=where, mend="Put it in quotation marks.")
    return value


Part = TypeVar("Part", Recipe, Stage, Measure, MatchPlan)


def _build(kind: type[Part], values: Mapping[str, Any]) -> Part:
    """The dataclass of these values, its texts and numbers checked.

    Raises:
        ConfigError: an unknown or missing field, or a value of another type.
    """
    types = get_type_hints(kind)
    mend = f"A {kind.__name__} has: {', '.join(types)}."
    if unknown := [name for name in values if name not in types]:
        raise ConfigError(f"unknown field {unknown[0]!r}", where=kind.__name__, mend=mend)
    for name, value in values.items():
        if types[name] in (str, str | None) and not isinstance(value, types[name]):
            _text(name, value)
        if types[name] == int | None and (isinstance(value, bool) or not isinstance(value, int | None)):
            raise ConfigError(f"{value!r} is not a whole number", where=name, mend="Leave it out, or write a number.")
    try:
        return kind(**values)
    except TypeError as error:  # a field is missing, and the message names it
        raise ConfigError(str(error).partition(") ")[2], where=kind.__name__, mend=mend) from None


@cache
def all_recipes() -> Mapping[str, Recipe]:
    """Every recipe by name, in the order of the papers and their tables."""
    paths = sorted(Path(str(files("fastgoal.recipes"))).joinpath("rows").glob("*.yaml"), key=_order)
    return {path.stem: read_recipe(path) for path in paths}


def _order(path: Path) -> tuple[bool, int, str]:
    paper, table, _ = path.stem.split("-", maxsplit=2)
    return paper != "goal", int(table.removeprefix("t")), path.stem


def recipe_named(name: str) -> Recipe:
    """The recipe of that name, or one's own from a YAML file.

    Raises:
        ConfigError: there is none; names the closest.
    """
    if name in all_recipes():
        return all_recipes()[name]
    if name.endswith((".yaml", ".yml")):
        return read_recipe(Path(name))
    close = get_close_matches(name, all_recipes(), n=1)
    mend = f"Did you mean '{close[0]}'?" if close else "See them with `fastgoal recipes list`."
    raise ConfigError(f"no recipe is called '{name}'", mend=mend)
