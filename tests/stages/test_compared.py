"""Finished runs against each other: paired by hand, refused where the queries are others, drawn with what is left."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from fastgoal.cli import main
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.demo import TRAINING
from fastgoal.embed import embed_images, embed_texts
from fastgoal.evaluation import EvalResult, ViewSet
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.report import from_metrics
from fastgoal.stages import Arm, Experiment, Heading, carry_out, publish
from fastgoal.stages.compared import Finished, compared

STEPS = replace(TRAINING, method="global", epochs=1, max_steps=3, batch_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_clip_folder):
    """Two runs on one test set, `gentle` and `wild`, and one on another, `elsewhere`."""
    folder = tmp_path_factory.mktemp("compared")
    for seed in (4, 5):
        write_scenes(folder / f"scenes-{seed}", ScenesConfig(train=12, val=4, test=24, seed=seed), progress=False)
    for name, seed, rate, methods in (
        ("gentle", 4, 1e-5, ("global", "goal")),
        ("wild", 4, 3e-3, ("global", "goal")),
        ("elsewhere", 5, 1e-5, ("goal",)),
    ):
        sources = {split: open_source(folder / f"scenes-{seed}" / split) for split in ("train", "val", "test")}
        arms = tuple(Arm(name=m, config=replace(STEPS, method=m, learning_rate=rate)) for m in methods)
        experiment = Experiment(model=str(small_clip_folder), **sources, arms=arms, regions="fixed", text_tokens=77)
        record = carry_out(experiment, folder / name, progress=False)
        publish(experiment, record, Heading(title=name, commands=[name]), folder / name)
    return folder


def finished(folder, *names):
    metrics = {name: json.loads((folder / name / "metrics.json").read_text()) for name in names}
    return [Finished(name=name, folder=folder / name, report=from_metrics(metrics[name])) for name in names]


def values(folder, run, model, protocol="long-retrieval"):
    return EvalResult.load(folder / run / "eval" / model / f"{protocol}.json").queries["t2i"]


def test_differences_are_those_of_the_queries(folder):
    found = compared(finished(folder, "gentle", "wild"), "both")
    between = {(p["a"], p["b"], p["protocol"], p["metric"]): p for p in found.paired}
    for model in ("global", "goal"):
        ours, theirs = values(folder, "wild", model), values(folder, "gentle", model)
        gain_Q = 100 * (ours.values["R@1"] - theirs.values["R@1"])
        told = between[f"{model} (wild)", f"{model} (gentle)", "long-retrieval", "t2i R@1"]
        assert told["difference"] == pytest.approx(gain_Q.mean())
        draws = np.random.default_rng(0).choice(gain_Q, (4000, len(gain_Q))).mean(1)
        assert told["ci95"] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=4.3)  # one query is 4.2 points
    assert {key[2] for key in between} == {"long-retrieval", "joint", "localisation"}
    assert (found.baseline, found.subject) == ("goal (gentle)", "goal (wild)")
    assert found.rivals == [("goal (wild)", "goal (gentle)")]
    assert not [doubt for doubt in found.doubts if "compared" in doubt]


def test_the_other_run_may_judge(folder):
    found = compared(finished(folder, "wild", "gentle"), "both")
    there = compared(finished(folder, "gentle", "wild"), "both")
    key = ("goal (gentle)", "goal (wild)")
    mine = {p["metric"]: p["difference"] for p in found.paired if (p["a"], p["b"]) == key}
    theirs = {p["metric"]: -p["difference"] for p in there.paired if (p["b"], p["a"]) == key}
    assert mine == pytest.approx(theirs)
    assert (found.duels[0].better, found.duels[0].worse) == (there.duels[0].worse, there.duels[0].better)


def test_the_captions_that_changed_most_and_what_came_first(folder):
    (duel,) = compared(finished(folder, "gentle", "wild"), "both").duels
    ours, theirs = values(folder, "wild", "goal"), values(folder, "gentle", "goal")
    change = dict(zip(ours.id_Q, theirs.rank_Q - ours.rank_Q, strict=True))
    assert (duel.better, duel.worse) == (sum(c > 0 for c in change.values()), sum(c < 0 for c in change.values()))
    assert duel.better + duel.worse + duel.equal == 24
    for examples, sign in ((duel.gains, 1), (duel.losses, -1)):
        shown = [sign * change[example.id] for example in examples]
        assert shown == sorted((sign * c for c in change.values() if sign * c > 0), reverse=True)[: len(shown)]
        assert len(shown) == min(4, sum(sign * c > 0 for c in change.values()))
    samples = {sample.id: sample for sample in open_source(folder / "scenes-4" / "test")}
    for example in (*duel.gains, *duel.losses):
        assert example.query == samples[example.id].caption
        assert example.truth.name == samples[example.id].image.rpartition("/")[2]
        for model, run in ((duel.a, "wild"), (duel.b, "gentle")):
            assert example.hits[model][0].name == nearest(folder, run, samples[example.id])


def nearest(folder, run, sample):
    """What the trained model of a run puts first, found anew."""
    encoder = DualEncoder.load(folder / run / "runs" / "goal-1337" / "model")
    source = open_source(folder / "scenes-4" / "test")
    images = list(dict.fromkeys(s.image for s in source))
    image_ND = embed_images(encoder, ViewSet.of(source, encoder.fit))
    return images[int((image_ND @ embed_texts(encoder, [sample.caption])[0][0]).argmax())]


def test_other_test_sets_are_said_and_not_paired(folder):
    found = compared(finished(folder, "gentle", "elsewhere"), "both")
    assert not found.duels
    assert not [p for p in found.paired if "elsewhere" in p["a"] and "gentle" in p["b"]]
    said = "elsewhere is not compared with gentle by"
    assert f"{said} long-retrieval: the test sets differ (24 items each)." in found.doubts


def test_values_that_are_gone_are_said(folder, tmp_path):
    shutil.copytree(folder / "wild", tmp_path / "wild", ignore=shutil.ignore_patterns("*.npz"))
    runs = [*finished(folder, "gentle"), *finished(tmp_path, "wild")]
    found = compared(runs, "both")
    assert not found.duels
    assert any("long-retrieval: run wild has kept no values per query" in doubt for doubt in found.doubts)


def test_a_run_beside_its_own_copy(folder, tmp_path):
    shutil.copytree(folder / "wild", tmp_path / "copy", ignore=shutil.ignore_patterns("runs"))
    found = compared([*finished(folder, "wild"), *finished(tmp_path, "copy")], "both")
    assert found.doubts[0] == "copy has the same figures as wild."
    assert found.models == ["base", "global", "goal"]


def report(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["report", *map(str, arguments)])
    assert end.value.code == 0


def test_the_command_draws_the_page(folder, tmp_path, capsys):
    runs = [folder / name for name in ("wild", "gentle", "elsewhere")]
    report(*runs, "--against", folder / "gentle", "--out", tmp_path / "out", "--json", tmp_path / "r.json")
    printed = capsys.readouterr()
    assert "goal (wild) ranks the caption’s own image better than goal (gentle)" in printed.out
    assert "doubtful: elsewhere is not compared with gentle by long-retrieval" in printed.err
    result = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert result["rivals"] == [["goal (wild)", "goal (gentle)"], ["goal (elsewhere)", "goal (gentle)"]]
    (told,) = result["compared"]
    shown = [*told["gains"], *told["losses"]]
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    for section in ("Side by side", "Where they differ most"):
        assert section in page
        assert section in text
    assert page.count('class="duel"') == len(shown) > 0
    assert page.count("data:image/jpeg") >= 3 * len(shown)
    assert "picture not available" not in page
    assert from_metrics(json.loads((tmp_path / "out" / "metrics.json").read_text())).rivals


def test_pictures_that_are_gone_are_said_and_found_under_another_root(folder, tmp_path, capsys):
    for name in ("gentle", "wild"):
        shutil.copytree(folder / name, tmp_path / name, ignore=shutil.ignore_patterns("runs"))
    runs = (tmp_path / "gentle", tmp_path / "wild")
    report(*runs, "--out", tmp_path / "out")
    assert "picture not available" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    report(*runs, "--out", tmp_path / "out", "--root", folder / "scenes-4" / "test")
    assert "picture not available" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "wild" / "pairs")
    report(*runs, "--out", tmp_path / "out")
    assert "differ most are named only" in capsys.readouterr().err
    assert "test-000" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
