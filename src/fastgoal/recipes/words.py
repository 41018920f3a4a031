"""Recipes and their outcomes in words and numbers, for the terminal and for JSON."""

from dataclasses import asdict
from typing import Any

from fastgoal.evaluation import EvalResult
from fastgoal.evaluation.published import Published
from fastgoal.evaluation.words import text_limit
from fastgoal.recipes.follow import Outcome
from fastgoal.recipes.recipe import Measure, Recipe, Stage


def line(recipe: Recipe) -> str:
    """One line of the list."""
    how = f"trained on {' then '.join(recipe.trained)}" if recipe.stages else "as released"
    return f"{recipe.name:38} {recipe.source:24} {recipe.method}, {recipe.backbone}, {how}"


def facts(recipe: Recipe) -> dict[str, Any]:
    """Everything about a recipe, ready for `json.dump`."""
    return {
        **asdict(recipe),
        "source": recipe.source,
        "data": list(recipe.data),
        "published": [row.to_json() for row in recipe.published],
    }


def shown(recipe: Recipe) -> str:
    """A recipe in full."""
    parts = [line(recipe).rstrip(), f"  model     {recipe.model}"]
    parts += [f"  obtain    {recipe.obtain}"] * (recipe.obtain is not None)
    for number, stage in enumerate(recipe.stages, start=1):
        parts.append(f"  stage {number}   {_stage(stage)}")
    parts += [f"  measure   {_measure(own)}" for own in recipe.measure]
    parts += [f"  published {row.protocol}: {_figures(row)}" for row in recipe.published]
    parts += [f"  not published: {silent}" for silent in recipe.unpublished]
    parts += [f"  note      {recipe.note}"] * (recipe.note is not None)
    return "\n".join(parts)


def _stage(stage: Stage) -> str:
    plan, config = stage.match, stage.train
    made_of = ", ".join(filter(None, (plan.regions, plan.detector, plan.sam)))
    settings = {
        name: value for name, value in config.trajectory().items() if value != type(config)().trajectory()[name]
    } | {"batch_size": config.batch_size, "learning_rate": config.learning_rate, "epochs": config.epochs}
    told = ", ".join(f"{name} {value}" for name, value in settings.items() if name != "method")
    return f"{stage.data}: pairs by {made_of}, matcher {plan.matcher}; {config.method}, {told}"


def _measure(own: Measure) -> str:
    limit = own.text_tokens or own.pinned.text_tokens
    return f"{own.data}: {own.task}, protocol {own.pinned.name}" + (f", {limit} tokens" if limit else "")


def _figures(row: Published) -> str:
    ways = {"t2i": row.t2i, "i2t": row.i2t}
    return "; ".join(
        f"{way} " + " ".join(f"{name} {value:.2f}" for name, value in figures.items())
        for way, figures in ways.items()
        if figures
    )


def beside(outcome: Outcome) -> str:
    """One's own figures with the published ones, metric by metric."""
    lines = []
    for result, row in outcome.beside:
        part = " (a part of the test set: not comparable)" if result.partial else ""
        limit = f", {text_limit(result)}" if result.other_limit else ""
        lines.append(f"  {result.protocol}: {result.items:,} items{part}{limit}")
        lines += [f"    {way}  {cells}" for way, cells in _compared(result, row)]
    return "\n".join(lines)


def _compared(result: EvalResult, row: Published | None) -> list[tuple[str, str]]:
    lines = []
    for way, own in (("t2i", result.t2i), ("i2t", result.i2t)):
        printed = getattr(row, way) if row is not None else {}
        cells = [
            f"{name} {value:.2f}" + (f" (published {printed[name]:.2f})" if name in printed else "")
            for name, value in own.items()
        ]
        lines += [(way, "  ".join(cells))] * bool(cells)
    return lines
