"""Following a recipe: match and train stage by stage, then measure, with the published figures beside one's own.

Everything lies in one folder and is named by what it was made from, so that recipes that share a stage share its
result, and a recipe that was interrupted continues.

    OUT/pairs/docci-train-1a2b3c4d/    pairs tables
    OUT/runs/docci-goal-5e6f7a8b/      training runs
    OUT/results/NAME/                  figures, one file per protocol
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fastgoal.data.source import Source, open_source
from fastgoal.errors import DataError, ModelError
from fastgoal.evaluation import EvalResult, JointSet
from fastgoal.evaluation.localisation import pairs_as_truth
from fastgoal.evaluation.published import Published
from fastgoal.evaluation.tasks import TASKS
from fastgoal.matching import MatchSettings, match, usual_rule
from fastgoal.models.baselines import load_retriever
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.recipes.recipe import MatchPlan, Measure, Recipe, Stage
from fastgoal.regions import make_proposer
from fastgoal.stages.kept import kept
from fastgoal.training import train


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things are. data: a folder with one folder per benchmark, under its name. out: see the module."""

    data: Path
    out: Path
    device: str = "cpu"

    def open(self, split: str) -> Source:
        """A benchmark's split, such as `docci/train`."""
        return open_source(split, root=self.data / split.partition("/")[0])


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A recipe's own figures and the published ones, by protocol; `runs` are the folders of its trainings."""

    recipe: Recipe
    results: Mapping[str, EvalResult]
    runs: tuple[Path, ...]

    @property
    def beside(self) -> list[tuple[EvalResult, Published | None]]:
        """Each result with the published row of its protocol, if one is printed."""
        printed = {row.protocol: row for row in self.recipe.published}
        return [(result, printed.get(name)) for name, result in self.results.items()]

    def to_json(self) -> dict[str, Any]:
        """Ready for `json.dump`."""
        return {
            "recipe": self.recipe.name,
            "source": self.recipe.source,
            "runs": [str(run) for run in self.runs],
            "results": {
                name: {**result.to_json(), "published": None if row is None else row.to_json()}
                for (name, result), (_, row) in zip(self.results.items(), self.beside, strict=True)
            },
            "unpublished": list(self.recipe.unpublished),
        }


def follow(recipe: Recipe, places: Places, *, allow_partial: bool = False, progress: bool = True) -> Outcome:
    """Do all that the recipe says; finished parts are kept and the next call continues.

    Raises:
        FastgoalError: data that is not there or not whole (unless `allow_partial`), a model that cannot be loaded,
            whatever a stage refuses.
    """
    try:
        model, runs = recipe.model, []
        for stage in recipe.stages:
            runs.append(_train(stage, model, places, allow_partial, progress))
            model = str(runs[-1] / "model")
        results = {}
        for own in recipe.measure:
            results[own.pinned.name] = _measure(own, model, recipe, places, allow_partial, progress)
    except ModelError as error:
        if recipe.obtain is None or str(error.where) != recipe.model:
            raise
        raise ModelError(error.what, where=error.where, mend=f"To obtain it: {recipe.obtain}.") from error
    return Outcome(recipe=recipe, results=results, runs=tuple(runs))


def _train(stage: Stage, model: str, places: Places, allow_partial: bool, progress: bool) -> Path:
    """The run folder of a stage, named by everything that its weights depend on."""
    if stage.items is not None and not allow_partial:
        _expect_images(places.open(stage.data), stage)
    table = _pairs(stage.data, stage.match, places, progress)
    config = stage.train
    made_of = {"model": model, "data": stage.data, "match": asdict(stage.match), "train": config.trajectory()}
    folder = places.out / "runs" / f"{stage.data.partition('/')[0]}-{config.method}-{_short(made_of)}"
    encoder = DualEncoder.load(model, device=places.device)
    train(table, encoder, folder, config, resume=True, progress=progress)
    return folder


def _expect_images(source: Source, stage: Stage) -> None:
    found = len({sample.image for sample in source})
    if found != stage.items:
        what = f"{stage.items:,} images expected, but the data has {found:,}"
        raise DataError(what, where=stage.data, mend="Get it whole, or say with --allow-partial that a part will do.")


def _pairs(data: str, plan: MatchPlan, places: Places, progress: bool) -> PairsTable:
    folder = places.out / "pairs" / f"{data.replace('/', '-')}-{_short(asdict(plan))}"
    proposer = make_proposer(plan.regions, detector=plan.detector, sam=plan.sam, device=places.device)
    settings = MatchSettings(rule=usual_rule(plan.regions))
    match(places.open(data), DualEncoder.load(plan.matcher, device=places.device), proposer, folder, settings, progress)
    return PairsTable.open(folder)


def _measure(
    own: Measure, model: str, recipe: Recipe, places: Places, allow_partial: bool, progress: bool
) -> EvalResult:
    protocol = replace(own.pinned, partial=allow_partial)
    if own.text_tokens is not None:
        protocol = replace(protocol, text_tokens=own.text_tokens)
    encoder = load_retriever(model, device=places.device, text_tokens=own.text_tokens, pinned=own.pinned.text_tokens)
    encoder.name = recipe.name
    data: Any = places.open(own.data)
    key = {
        "model": encoder.fingerprint,
        "text_tokens": protocol.text_tokens,
        "data": data.key,
        "partial": allow_partial,
    }
    if own.match is not None:
        table = _pairs(own.data, own.match, places, progress)
        key["pairs"] = JointSet.of(table).fingerprint
        data = table if own.task == "joint" else pairs_as_truth(table)
    path = places.out / "results" / recipe.name / f"{protocol.name}-{own.data.replace('/', '-')}.json"
    return kept(path, key, lambda: TASKS[own.task].measure(encoder, data, protocol=protocol))


def _short(made_of: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:8]
