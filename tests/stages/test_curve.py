"""The curve over alpha: every point is what evaluating that blend gives, and finished points are kept."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fastgoal.cli import main
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.sentences import first_sentences
from fastgoal.data.source import open_source
from fastgoal.evaluation import PROTOCOLS, compare, evaluate_retrieval
from fastgoal.models.blend import blend
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.stages import curve as module
from fastgoal.stages.curve import measure_curve


@pytest.fixture(scope="module")
def setting(tmp_path_factory, small_clip_folder):
    folder = tmp_path_factory.mktemp("curve")
    write_scenes(folder / "scenes", ScenesConfig(train=1, val=1, test=6), progress=False)
    tuned = DualEncoder.load("tiny", text_tokens=100)
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    tuned.save(folder / "tuned")
    return folder


def models(folder):
    return DualEncoder.load("tiny"), DualEncoder.load(folder / "tuned")


def measured(folder, out, alphas):
    long = open_source(folder / "scenes" / "test")
    return measure_curve(*models(folder), long, first_sentences(long), out, alphas=alphas, progress=False)


@pytest.fixture(scope="module")
def found(setting):
    return measured(setting, setting / "out", (0.5, 1.0))


def test_points_are_evaluations_of_the_blends(setting, found):
    base, tuned = models(setting)
    long = open_source(setting / "scenes" / "test")
    sources = {"long": long, "short": first_sentences(long)}
    first = {}
    assert [point.alpha for point in found.points] == [0, 0.5, 1]
    for point in found.points:
        for kind, source in sources.items():
            own = evaluate_retrieval(blend(base, tuned, point.alpha), source, protocol=PROTOCOLS[f"{kind}-retrieval"])
            first.setdefault(kind, own)
            assert (own.t2i, own.i2t) == (point.results[kind].t2i, point.results[kind].i2t)
            assert own.text_tokens == 100
            wanted = compare(own, first[kind], "i2t R@1")
            assert point.change[kind]["i2t R@1"]["difference"] == wanted["difference"]
            assert point.change[kind]["i2t R@1"]["ci95"] == wanted["ci95"]
    assert found.points[0].change["long"]["t2i R@1"] | {"difference": 0.0} == found.points[0].change["long"]["t2i R@1"]


def test_it_is_written_for_programs_and_for_people(setting, found):
    record = json.loads((setting / "out" / "curve.json").read_text())
    assert [point["alpha"] for point in record["points"]] == [0, 0.5, 1]
    assert record["points"][2]["change"]["short"]["t2i R@1"]["ci95"]
    picture = np.asarray(Image.open(setting / "out" / "curve.png").convert("L"))
    assert picture.shape[0] > 500
    assert picture.std() > 5


def test_finished_points_are_kept_and_others_added(setting, found, monkeypatch):
    asked = []
    real = evaluate_retrieval

    def counting(encoder, source, **options):
        asked.append(encoder.name)
        return real(encoder, source, **options)

    monkeypatch.setattr(module, "evaluate_retrieval", counting)
    again = measured(setting, setting / "out", (0.5, 1.0))
    assert asked == []
    assert again.to_json() == found.to_json()
    (setting / "out" / "curve" / "0.5-short.key.json").unlink()  # killed between a result and its key
    measured(setting, setting / "out", (0.5, 0.75, 1.0))
    assert asked == ["alpha 0.5", "alpha 0.75", "alpha 0.75"]


def test_other_weights_or_data_are_measured_again(setting, found, monkeypatch, tmp_path):
    asked = []
    real = evaluate_retrieval
    monkeypatch.setattr(module, "evaluate_retrieval", lambda *a, **o: asked.append(1) or real(*a, **o))
    long = open_source(setting / "scenes" / "test", limit=5)
    base, tuned = models(setting)
    measure_curve(base, tuned, long, first_sentences(long), setting / "other", alphas=[0], progress=False)
    assert len(asked) == 2
    measure_curve(tuned, base, long, first_sentences(long), setting / "other", alphas=[0], progress=False)
    assert len(asked) == 4


def test_the_command_prints_a_table_and_writes_the_model(setting, tmp_path, capsys):
    command = ["blend", "tiny", str(setting / "tuned"), str(tmp_path / "out"), "--alpha", "0.5"]
    command += ["--curve", str(setting / "scenes" / "test"), "--alphas", "0,1", "--json", str(tmp_path / "done.json")]
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert printed.count("alpha 1") == 2
    assert "0.5 of tiny" in printed
    done = json.loads((tmp_path / "done.json").read_text())
    assert [point["alpha"] for point in done["curve"]["points"]] == [0, 1]
    assert DualEncoder.load(tmp_path / "out").fingerprint == blend(*models(setting), 0.5).fingerprint
