"""Every task of `fastgoal eval` the way a person goes, with small models; figures against slow obvious versions."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from tests.conftest import save_small_clip

from fastgoal.cli import main
from fastgoal.data.images import read_image
from fastgoal.embed import embed_images, embed_texts
from fastgoal.evaluation import EvalResult
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable


@pytest.fixture
def typed(monkeypatch, tmp_path, capsys):
    """Runs a command in this process; its output, and its `--json` if it came to its end."""

    def run(*words):
        command = [str(word) for word in (*words, "--json", tmp_path / "result.json")]
        monkeypatch.setattr(sys, "argv", ["fastgoal", *command])
        with pytest.raises(SystemExit) as end:
            main(command)
        printed = capsys.readouterr()
        assert end.value.code == 0, printed.err
        return printed.out, json.loads((tmp_path / "result.json").read_text())

    return run


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    with pytest.raises(SystemExit):
        main(["scenes", str(folder), "--train", "0", "--val", "0", "--test", "6"])
    return folder / "test"


@pytest.fixture(scope="module")
def rival(tmp_path_factory):
    return save_small_clip(tmp_path_factory.mktemp("rival") / "model", seed=1)


def average_precision(scores, right, k=10):
    """AP@k by the formula, over a sorted list; equal scores of wrong items first, as scenes may share a sentence."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], right[i]))
    hits, total = 0, 0.0
    for rank, item in enumerate(order[:k], start=1):
        if right[item]:
            hits += 1
            total += hits / rank
    return total / sum(right)


def test_joint_by_a_test_set_that_another_model_matched(typed, scenes, small_clip_folder, rival, tmp_path):
    pairs = tmp_path / "pairs"
    typed("match", scenes, "--out", pairs, "--matcher", rival, "--regions", "fixed")
    out, result = typed("eval", small_clip_folder, pairs, "--task", "joint")
    encoder, table = DualEncoder.load(small_clip_folder), PairsTable.open(pairs)
    images, texts, image_of, text_of = [], [], [], []
    for row in table:
        picture, best = read_image(table.root / row.image), row.pairs[0]
        start, end = row.sentences[best.sentence]
        images += [picture, picture.crop(tuple(int(v) for v in row.regions[best.region].box))]
        texts += [row.caption, row.caption[start:end]]
        image_of, text_of = [*image_of, row.image, row.image], [*text_of, row.image, row.image]
    sim = embed_texts(encoder, texts)[0].astype(float) @ embed_images(encoder, images).T
    t2i = [average_precision(row, [i == own for i in image_of]) for row, own in zip(sim, text_of, strict=True)]
    i2t = [average_precision(row, [i == own for i in text_of]) for row, own in zip(sim.T, image_of, strict=True)]
    assert len(t2i) == len(i2t) == 12
    assert result["t2i"]["mAP@10"] == pytest.approx(100 * np.mean(t2i))
    assert result["i2t"]["mAP@10"] == pytest.approx(100 * np.mean(i2t))
    assert result["pairs"]["matcher"] == DualEncoder.load(rival).fingerprint
    assert f"mAP@10 {100 * np.mean(t2i):.1f}" in out


def test_the_matcher_itself_is_not_measured_on_its_pairs(scenes, rival, tmp_path, typed, capsys):
    typed("match", scenes, "--out", tmp_path / "pairs", "--matcher", rival, "--regions", "fixed")
    with pytest.raises(SystemExit) as end:
        main(["eval", str(rival), str(tmp_path / "pairs"), "--task", "joint"])
    assert end.value.code == 2
    assert "chosen by the evaluated model" in capsys.readouterr().err


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("labelled"), np.random.default_rng(2)
    for name in ("ball/0", "ball/1", "lamp/0", "lamp/1", "dog/0"):
        path = folder / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    (folder / "lamp" / "broken.png").write_bytes(b"x")
    (folder / "nothing").mkdir()
    return folder


def test_classify(typed, labelled, small_clip_folder, tmp_path):
    out, result = typed("eval", small_clip_folder, labelled, "--task", "classify", "--templates", "many")
    assert result["protocol"] == "classification"
    assert (result["items"], result["counts"]["classes"], result["counts"]["templates"]) == (5, 4, 80)
    assert (result["counts"]["classes_without_images"], result["counts"]["skipped"]) == (1, 1)
    assert sum(result["skipped"].values()) == 1 and "broken.png" in result["skipped_samples"][0]["where"]
    assert "left out:" in out and "broken.png" in out
    assert f"top-1 {result['i2t']['top-1']:.1f}" in out and "per-class top-1" in out
    names = tmp_path / "names.json"
    names.write_text('{"ball": "toy", "lamp": "light", "dog": "animal", "nothing": "empty room"}')
    own = tmp_path / "own.txt"
    own.write_text("one {} here.\n")
    _, named = typed("eval", small_clip_folder, labelled, "--task", "classify", "--classes", names, "--templates", own)
    assert named["counts"]["templates"] == 1


def test_robust_sentences_and_localize(typed, scenes, small_clip_folder):
    out, result = typed("eval", small_clip_folder, scenes, "--task", "robust", "--seed", "3")
    for way in ("t2i", "i2t"):
        assert result[way]["change R@1"] == pytest.approx(result[way]["false R@1"] - result[way]["R@1"])
    assert "mean change of R@1 over both ways:" in out
    _, averaged = typed("eval", small_clip_folder, scenes, "--protocol", "sentence-average")
    assert (averaged["protocol"], averaged["task"]) == ("sentence-average", "retrieval")
    _, located = typed("eval", small_clip_folder, scenes, "--task", "localize")
    assert set(located["t2i"]) == {"top-1", "top-5", "top-10", "top-15"}


@pytest.mark.parametrize("task", ["retrieval", "classify", "robust"])
def test_against_another_model(typed, scenes, labelled, small_clip_folder, rival, task, tmp_path):
    data = labelled if task == "classify" else scenes
    out, result = typed("eval", small_clip_folder, data, "--task", task, "--against", rival)
    assert EvalResult.load(tmp_path / "result.json").protocol == result["protocol"]
    _, alone = typed("eval", rival, data, "--task", task)
    assert f"{small_clip_folder} minus {rival}, query by query:" in out
    assert len(result["paired"]) == len(result["t2i"]) + len(result["i2t"])
    for one in result["paired"]:
        way, key = one["metric"].split(maxsplit=1)
        assert result["against"][way][key] == pytest.approx(alone[way][key])
        assert one["difference"] == pytest.approx(result[way][key] - alone[way][key])
        assert one["ci95"][0] <= one["difference"] <= one["ci95"][1]
