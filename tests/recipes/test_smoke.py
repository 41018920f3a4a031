"""Every recipe from end to end in small, and what is shared and kept between them."""

import json
from dataclasses import replace

import pytest

from fastgoal.cli import main
from fastgoal.errors import DataError, ModelError
from fastgoal.recipes import Places, all_recipes, follow, recipe_named, smoke
from fastgoal.recipes.smoke import SAMPLES, STEPS, in_small


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("smoke")


@pytest.mark.parametrize("name", all_recipes())
def test_it_can_be_followed(name, out):
    recipe = recipe_named(name)
    outcome = smoke(recipe, out)
    assert len(outcome.results) == len(recipe.measure)
    assert all(result.partial for result in outcome.results.values() if result.expected)
    assert len(outcome.runs) == len(recipe.stages)
    for run, stage in zip(outcome.runs, recipe.stages, strict=True):
        report = json.loads((run / "train.json").read_text())
        assert (report["method"], report["steps"]) == (stage.train.method, STEPS)
        kept = {name: report["config"][name] for name in ("learning_rate", "pairs_per_sample", "in_image_negatives")}
        assert kept == {name: getattr(stage.train, name) for name in kept}


def test_recipes_that_share_a_stage_share_its_run(out):
    table_1, table_7 = (
        smoke(recipe_named(f"goal-{name}"), out).runs for name in ("t1-docci-b16-goal", "t7-b16-goal-from-docci")
    )
    assert table_1 == table_7
    assert smoke(recipe_named("goal-t1-docci-b16-global"), out).runs != table_1


def test_a_second_call_reads_what_is_there(out, monkeypatch):
    recipe = recipe_named("fast-t5-docci-two-stages")
    first = smoke(recipe, out)

    def refuse(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr("fastgoal.evaluation.retrieval.embed_texts", refuse)
    again = smoke(recipe, out)
    assert again.runs == first.runs
    assert {k: v.to_json() for k, v in again.results.items()} == {k: v.to_json() for k, v in first.results.items()}


def test_a_part_of_the_test_set_is_refused_unless_asked_for(out):
    recipe = recipe_named("goal-t7-b16-clip")
    smoke(recipe, out)
    places = Places(data=out / "data", out=out)
    with pytest.raises(DataError, match="1,000 items expected, but the data has 8"):
        follow(in_small(recipe, out / "models"), places)
    trained = recipe_named("goal-t1-docci-b16-global")
    with pytest.raises(DataError, match="9,647 images expected, but the data has 8"):
        follow(in_small(trained, out / "models"), places)


def test_a_model_that_is_not_there_is_told_how_to_obtain(out):
    recipe = recipe_named("goal-t7-b16-long-clip")
    smoke(recipe, out)
    with pytest.raises(ModelError, match=r"fastgoal convert longclip-B\.pt longclip-b16"):
        follow(recipe, Places(data=out / "data", out=out), allow_partial=True)


def test_figures_of_other_pairs_are_not_taken_for_those_of_these(out):
    """The test pairs of two detectors, by one matcher: what is kept of the first is not the second's result."""
    recipe = recipe_named("goal-t1-docci-b16-goal")
    joint = next(own for own in recipe.measure if own.task == "joint")
    fixed = replace(joint, match=replace(joint.match, regions="fixed", detector=None, sam=None))
    first, second = (smoke(replace(recipe, measure=(own,)), out).results["docci-joint"] for own in (joint, fixed))
    assert first.pairs["matcher"] == second.pairs["matcher"]
    assert first.pairs["fingerprint"] != second.pairs["fingerprint"]


def test_the_command_line_lists_shows_and_runs(out, tmp_path, capsys):
    def run(*words):
        with pytest.raises(SystemExit) as end:
            main(["recipes", *map(str, words)])
        assert end.value.code == 0
        return capsys.readouterr().out

    listed = run("list")
    assert len(listed.splitlines()) == len(all_recipes())
    assert "GOAL, tables 1, 3, 6" in next(line for line in listed.splitlines() if "goal-t1-docci-b16-goal " in line)
    shown = run("show", "goal-t1-docci-b16-goal")
    assert "published docci-test: t2i R@1 79.47 R@5 96.65" in shown
    assert "not published: learning rate" in shown
    told = run("run", "goal-t1-docci-b16-goal", "--smoke", "--out", out, "--json", tmp_path / "result.json")
    assert f"docci-test: {SAMPLES} items (a part of the test set: not comparable)" in told
    assert "(published 79.47)" in told
    record = json.loads((tmp_path / "result.json").read_text())["outcomes"][0]
    assert record["results"]["docci-joint"]["published"]["t2i"] == {"mAP@10": 63.27}
