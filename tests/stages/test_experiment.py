"""An experiment from samples to the published page, small, real, and killed on the way."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from fastgoal.data.images import read_image
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import ConfigError
from fastgoal.evaluation import EvalResult
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.stages import Arm, Experiment, Heading, Mixture, Record, carry_out, publish
from fastgoal.stages.outcome import forgotten
from fastgoal.training import TrainConfig

STEPS = TrainConfig(max_steps=2, batch_size=4, learning_rate=1e-3, epochs=1)
HALF = Mixture(name="goal, half blended", arm="goal")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment") / "scenes"
    write_scenes(folder, ScenesConfig(train=12, val=4, test=8, seed=4), progress=False)
    sources = {split: open_source(folder / split) for split in ("train", "val", "test")}
    arms = (
        Arm(name="global", config=replace(STEPS, method="global")),
        Arm(name="goal with true pairs", config=STEPS, pairs="true"),
        Arm(name="goal", config=STEPS),
    )
    return Experiment(model="tiny", **sources, arms=arms, mixtures=(HALF,), seeds=(1, 2), text_tokens=248)


@pytest.fixture(scope="module")
def finished(experiment, tmp_path_factory):
    out = tmp_path_factory.mktemp("experiment") / "out"
    return out, carry_out(experiment, out, progress=False)


def test_every_model_sits_every_protocol_once_per_seed(finished):
    _, record = finished
    trained = ["global", "goal with true pairs", "goal", "goal, half blended"]
    assert list(record.results) == ["base", "base cut at 77", *trained]
    for name in trained:
        assert {protocol: len(runs) for protocol, runs in record.results[name].items()} == {
            "long-retrieval": 2, "joint": 2, "localisation": 2,
        }  # fmt: skip
    assert record.results["base"]["long-retrieval"][0].text_tokens == 248
    assert record.results["base cut at 77"]["long-retrieval"][0].text_tokens == 77


def test_a_mixture_is_halfway_for_every_seed(finished):
    _, record = finished
    base = DualEncoder.load("tiny", text_tokens=248).state_dict()
    for tuned, mixed in zip(record.folders["goal"], record.folders[HALF.name], strict=True):
        tuned, mixed = DualEncoder.load(tuned).state_dict(), DualEncoder.load(mixed).state_dict()
        assert all(torch.allclose(mixed[key], (base[key] + tuned[key]) / 2, atol=1e-7) for key in base)
        assert any(not torch.equal(mixed[key], tuned[key]) for key in base)


def test_the_cards_say_what_was_measured(experiment, finished):
    _, record = finished
    for name in ("global", "goal with true pairs", "goal"):
        for seed, folder in enumerate(record.folders[name]):
            said = ModelCard.load(Path(folder) / "README.md").data
            assert (said.license, said.language) == ("apache-2.0", ["en"])  # the bundled model's, and the captions'
            found = {(r.task_name, r.dataset_name, r.metric_name): r.metric_value for r in said.eval_results}
            for protocol, each in record.results[name].items():
                for metric, value in each[seed].t2i.items():
                    assert found[protocol, experiment.test.name, f"{metric}, text to image"] == pytest.approx(
                        value, abs=0.006
                    )
            assert ("validation", "val", "R@1, mean of both directions") in found


def test_contrasts_are_differences_of_the_means_over_seeds(finished):
    _, record = finished
    for found in record.paired:
        ways = found["metric"].split()
        figures = {}
        for name in (found["a"], found["b"]):
            runs = record.results[name][found["protocol"]]
            figures[name] = np.mean([getattr(run, ways[0])[ways[1]] for run in runs])
        assert found["difference"] == pytest.approx(figures[found["a"]] - figures[found["b"]], abs=1e-6)
    assert {(found["a"], found["b"]) for found in record.paired} == {
        ("global", "base"), ("goal with true pairs", "base"), ("goal", "base"),
        ("goal with true pairs", "global"), ("goal", "global"), (HALF.name, "base"), (HALF.name, "global"),
    }  # fmt: skip


def test_the_joint_set_is_made_of_true_pairs_where_the_truth_is_known(experiment, finished):
    _, record = finished
    truth = {sample.id: sample for sample in experiment.test}
    for row in record.tables["test"]:
        sentence, box = row.sentences[row.pairs[0].sentence], row.regions[row.pairs[0].region].box
        assert any(given.span == sentence and given.box == box for given in truth[row.id].regions)


def test_a_second_call_repeats_nothing(experiment, finished, monkeypatch):
    out, record = finished

    def trained():
        return {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors") if "blended" not in str(path)}

    weights = trained()
    assert len(weights) >= 6

    def refuse(*_, **__):
        raise AssertionError("evaluated again")

    monkeypatch.setattr("fastgoal.stages.exam.Exam._evaluate", refuse)
    again = carry_out(experiment, out, progress=False)
    assert trained() == weights
    assert again.paired == record.paired
    assert again.match["images_per_second"] == record.match["images_per_second"] > 0


def test_results_of_other_weights_are_not_taken_for_these(experiment, finished):
    out, record = finished
    path = out / "eval" / "base" / "long-retrieval.json"
    key = path.with_suffix(".key.json")
    changed = json.loads(key.read_text()) | {"model": "other weights"}
    stale = json.loads(path.read_text()) | {"items": 999_999}
    key.write_text(json.dumps(changed))
    path.write_text(json.dumps(stale))
    carry_out(experiment, out, progress=False)
    assert EvalResult.load(path).items == record.results["base"]["long-retrieval"][0].items


def test_what_is_published_follows_the_contract(experiment, finished, tmp_path):
    _, record = finished
    _, files = publish(experiment, record, Heading(title="A test", commands=["fastgoal demo"]), tmp_path)
    metrics = json.loads(files.metrics.read_text())
    assert list(metrics["models"]) == list(record.results)
    result = metrics["models"]["base"]["long-retrieval"]
    for field in ("protocol", "items", "model", "text_tokens", "truncated_share", "image_fit", "seconds", "versions"):
        assert field in result
    assert set(result["t2i"]) == set(result["ci95"]["t2i"]) == {"R@1", "R@5", "R@25", "R@50"}
    assert {"a", "b", "metric", "difference", "ci95"} <= set(metrics["paired"][0])
    assert metrics["match"]["samples"] == 12
    page = files.page.read_text(encoding="utf-8")
    assert page.count("<img") >= 10
    assert "http://" not in page.replace("http://www.w3.org", "")


STOCK = """
import sys, torch, json
from PIL import Image
from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
folder, image, caption = sys.argv[1:]
model = CLIPModel.from_pretrained(folder).eval()
text = CLIPTokenizer.from_pretrained(folder)([caption], truncation=True, return_tensors="pt")
both = CLIPProcessor.from_pretrained(folder)(text=[caption], truncation=True, padding=True, return_tensors="pt")
assert both["input_ids"].tolist() == text["input_ids"].tolist()
pixels = CLIPImageProcessorPil.from_pretrained(folder)([Image.open(image)], return_tensors="pt")
with torch.no_grad():
    found = model.get_image_features(**pixels).pooler_output, model.get_text_features(**text).pooler_output
assert "fastgoal" not in sys.modules
print(json.dumps([torch.nn.functional.normalize(one)[0].tolist() for one in found]))
"""


def test_a_trained_folder_gives_the_same_embeddings_without_fastgoal(experiment, finished):
    out, _ = finished
    folder, sample = out / "runs" / "goal-1" / "model", next(iter(experiment.test))
    image = experiment.test.root / sample.image
    arguments = [sys.executable, "-c", STOCK, folder, image, sample.caption]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stock_image, stock_text = json.loads(done.stdout)
    encoder = DualEncoder.load(str(folder))
    own_image, own_text = embed_images(encoder, [read_image(image)])[0], embed_texts(encoder, [sample.caption])[0][0]
    assert len(encoder.tokenizer(sample.caption).input_ids) > 77
    assert np.abs(own_image - stock_image).max() < 1e-6
    assert np.abs(own_text - stock_text).max() < 1e-6


def test_arms_have_distinct_names(experiment):
    with pytest.raises(ConfigError, match="distinct names"):
        replace(experiment, arms=experiment.arms[:1] * 2)


def test_what_short_captions_lost_is_one_sentence():
    def found(name, low, high, metric="t2i R@1"):
        return {
            "a": name, "b": "base", "protocol": "short-retrieval", "metric": metric, "difference": (low + high) / 2,
            "ci95": [low, high],
        }  # fmt: skip

    lost = [found("global", -6, -2), found("no-tsl", -3, 1), found("goal", -9, -5), found("goal", -9, -5, "i2t R@1")]
    (sentence,) = forgotten(Record(paired=lost))
    assert "'global' (-4.0 points R@1), 'goal' (-7.0 points R@1)." in sentence
    assert "no-tsl" not in sentence
    assert forgotten(Record(paired=lost[1:2])) == []
