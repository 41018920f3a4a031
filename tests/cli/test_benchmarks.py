"""Benchmarks by name on the command line, on a rehearsal of a few images."""

import json

import pytest

from fastgoal.cli import main
from fastgoal.data.benchmarks.layout import write_like
from fastgoal.data.scenes import ScenesConfig, draw_samples


@pytest.fixture(scope="module")
def docci(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies") / "docci-copy"
    write_like("docci", folder, draw_samples(ScenesConfig(), "test", 5))
    write_like("coco", folder, draw_samples(ScenesConfig(), "test", 3))
    return folder


def typed(*words):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code


def test_eval_refuses_a_part_unless_it_is_allowed_and_then_says_so(docci, small_clip_folder, tmp_path, capsys):
    words = ("eval", small_clip_folder, "docci", "--root", docci)
    assert typed(*words) == 2
    assert "protocol docci-test: 5,100 items expected, but the data has 5" in capsys.readouterr().err
    assert typed(*words, "--allow-partial", "--seed", 1, "--json", tmp_path / "out.json") == 0
    said = capsys.readouterr().out
    assert said.startswith("docci-test: 5 of 5,100 items, 248 tokens")  # the protocol's limit, not the model's 77
    assert "published under docci-test (not comparable: this is a part of the test set)" in said
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["items"], result["expected"], result["partial"]) == (5, 5100, True)
    assert {row["table"] for row in result["published"] if row["paper"] == "GOAL"} == {"1", "6"}
    assert set(result["t2i"]) == {"R@1", "R@5", "R@25", "R@50"}


def test_five_captions_are_five_queries(docci, small_clip_folder, tmp_path):
    words = ("eval", small_clip_folder, "coco", "--root", docci, "--allow-partial", "--json", tmp_path / "out.json")
    assert typed(*words) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["protocol"], result["text_tokens"]) == ("coco-5k", 77)
    assert result["counts"] == {"images": 3, "captions": 15}


def test_joint_evaluation_says_how(docci, small_clip_folder, capsys):
    assert typed("eval", small_clip_folder, "docci", "--root", docci, "--task", "joint") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "fastgoal match docci/test --root DIR --out PAIRS" in said
    assert "--protocol docci-joint" in said


def test_a_joint_protocol_takes_the_matched_benchmark(docci, small_clip_folder, tmp_path, capsys):
    words = ("match", "docci", "--root", docci, "--out", tmp_path / "pairs", "--matcher", "tiny", "--regions", "fixed")
    assert typed(*words) == 0
    words = ("eval", small_clip_folder, tmp_path / "pairs", "--task", "joint", "--protocol", "docci-joint")
    assert typed(*words, "--allow-partial") == 0
    assert "docci-joint: 5 of 5,100 items" in capsys.readouterr().out


def test_check_reads_a_benchmark(docci, capsys):
    assert typed("check", "docci/test", "--root", docci) in (0, 1)
    assert "docci/test" in capsys.readouterr().out
