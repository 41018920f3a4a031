"""Recipes as files: complete, strict, and each with the printed figures of its row."""

from pathlib import Path

import pytest

from fastgoal.errors import ConfigError
from fastgoal.evaluation.published import all_published
from fastgoal.losses import LossWeights
from fastgoal.recipes.recipe import all_recipes, read_recipe, recipe_named

RECIPES = all_recipes()
OWN = """
paper: Mine
tables: [1]
method: GOAL
backbone: ViT-B/16
trained: [docci]
model: tiny
stages:
  - data: docci/train
    match: {regions: fixed, matcher: tiny}
    train: {method: goal, max_steps: 2}
measure:
  - {data: docci/test, task: retrieval}
"""


def test_every_printed_row_has_a_recipe_and_every_recipe_its_row():
    """But for Table XIII, whose models' text limits are not published."""
    covered = [row for recipe in RECIPES.values() for row in recipe.published]
    missing = [row for row in all_published() if row not in covered and row.table not in ("XIII", "robustness")]
    assert {(row.paper, row.table, row.method, row.protocol) for row in missing} == set()
    assert [recipe.name for recipe in RECIPES.values() if not recipe.published] == []


def test_the_ablation_is_there_in_full():
    """GOAL, Tables 1 to 4: two backbones, two data sets, four methods."""
    weights = {"global": (1, 0, 0), "local": (0, 1, 0), "no-tsl": (1, 0.5, 0), "goal": (1, 0.5, 1)}
    for table, data in (("t1", "docci"), ("t2", "dci")):
        for size, model in (("b16", "openai/clip-vit-base-patch16"), ("l14", "openai/clip-vit-large-patch14")):
            for method, (global_, local, tsl) in weights.items():
                recipe = RECIPES[f"goal-{table}-{data}-{size}-{method}"]
                (stage,) = recipe.stages
                assert recipe.model == model
                assert stage.train.weights == LossWeights(global_=global_, local=local, tsl=tsl)
                assert (stage.train.epochs, stage.train.batch_size, stage.train.text_tokens) == (10, 16, 248)
                assert stage.train.learning_rate == pytest.approx(5e-6)
                assert stage.match.regions == "lism"
                assert [own.pinned.name for own in recipe.measure] == [f"{data}-test", f"{data}-joint"]


def test_two_stages_train_one_after_the_other():
    first, second = RECIPES["fast-t5-docci-two-stages"].stages
    assert (first.data, first.train.batch_size, second.data, second.train.batch_size) == (
        "glit100k/train", 256, "docci/train", 64,
    )  # fmt: skip


def test_what_a_paper_leaves_out_is_named():
    assert all(recipe.unpublished for recipe in RECIPES.values() if recipe.stages)


def test_one_s_own_recipe_is_read_from_its_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(OWN)
    assert recipe_named(str(path)).stages[0].train.max_steps == 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("model: tiny\n", "", "'model'"),
        ("model: tiny\n", "model: tiny\nmodle: x\n", "'modle'"),
        ("task: retrieval", "task: guess", "'guess' is no task"),
        ("task: retrieval", "task: joint", "joint on docci/test"),
        ("max_steps: 2", "max_step: 2", "max_steps"),
        ("regions: fixed, ", "", "'regions'"),
        ("paper: Mine", "paper: [", "not a YAML file"),
        ("model: tiny\n", "model: tiny\nunpublished:\n  - rate (here: 1)\n", "is not a text"),
        ("measure:\n", "measures:\n", "'measures'"),
        ("measure:\n  - {data: docci/test, task: retrieval}", "measure: 5", "5 is not a list"),
        ("stages:\n", "unpublished: 3\nstages:\n", "3 is not a list"),
        ("task: retrieval", "task: retrieval, text_tokens: many", "'many' is not a whole number"),
        ("data: docci/test", "data: 7", "7 is not a text"),
        ("model: tiny\n", "model: {tiny: 1}\n", "is not a text"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(tmp_path, old, new, says):
    path = tmp_path / "mine.yaml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(ConfigError, match=says) as caught:
        read_recipe(path)
    assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ("7", "7 is not a list"),
        ("[a]", "'a' has no fields"),
        ("[{data: docci/train}]", "'match' and 'train'"),
        ("[{data: docci/train, match: fixed, train: {}}]", "'fixed' has no fields"),
        ("[{data: docci/train, match: {regions: fixed, matcher: tiny}, train: 3}]", "3 has no fields"),
    ],
)
def test_wrong_stages_are_refused_by_name(tmp_path, stages, says):
    path = tmp_path / "mine.yaml"
    path.write_text(
        OWN[: OWN.index("stages:")] + f"stages: {stages}\nmeasure: [{{data: docci/test, task: retrieval}}]\n"
    )
    with pytest.raises(ConfigError, match=says) as caught:
        read_recipe(path)
    assert "mine.yaml" in str(caught.value)


def test_an_unknown_name_gets_the_closest():
    with pytest.raises(ConfigError, match="Did you mean 'goal-t1-docci-b16-goal'"):
        recipe_named("goal-t1-docci-b16-gaol")


def test_no_recipe_reads_another_file():
    for path in Path(str(__import__("fastgoal").__file__)).parent.glob("recipes/rows/*.yaml"):
        assert read_recipe(path) == RECIPES[path.stem]
