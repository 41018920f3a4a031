"""`fastgoal match`, called as a function: which rule goes with which regions, and what is printed."""

import json

import pytest
from tests.bad_input.cases import good
from tests.regions.small import save_small_owl, save_small_sam

from fastgoal.cli.match import describe, match
from fastgoal.matching import MatchReport
from fastgoal.pairs import PairsTable


@pytest.mark.parametrize(("asked", "rule"), [({}, "lism"), ({"rule": "flism"}, "flism")])
def test_lism_regions_bring_lism_rule_unless_one_is_given(tmp_path, small_clip_folder, capsys, asked, rule):
    sam, out = save_small_sam(tmp_path / "sam"), tmp_path / "pairs"
    match(good(tmp_path), out=out, regions="lism", sam=str(sam), matcher=str(small_clip_folder), **asked,
          json=tmp_path / "match.json")  # fmt: skip
    assert PairsTable.open(out).manifest.origin.settings["rule"] == rule
    report = json.loads((tmp_path / "match.json").read_text())
    assert report["samples"] == report["paired"] + sum(report["unpaired"].values())
    assert report["stages"]["masks"] == 3 * 3 * 32**2
    assert "candidates left: masks 9,216, predicted IoU " in capsys.readouterr().out


def test_open_vocabulary_regions_carry_their_phrases(tmp_path, small_clip_folder):
    owl, out = save_small_owl(tmp_path / "owl"), tmp_path / "pairs"
    match(good(tmp_path), out=out, regions="open-vocabulary", detector=str(owl), matcher=str(small_clip_folder))
    labels = {region.label for row in PairsTable.open(out) for region in row.regions}
    assert labels & {"red ball", "table", "lamp"}
    assert PairsTable.open(out).manifest.origin.settings["rule"] == "flism"


def test_samples_without_a_pair_are_told_apart_from_skipped_ones():
    report = MatchReport(
        samples=9,
        paired=4,
        skipped={"not an image": 1},
        unpaired={"whole image won": 3, "no region": 1},
        regions_per_image=2,
        images_per_second=1,
        seconds=9,
    )
    lines = describe(report).splitlines()
    assert lines[0].startswith("4 of 9 samples have a local pair")
    assert lines[1:] == ["without a pair 3: whole image won", "without a pair 1: no region", "skipped 1: not an image"]


def test_dense_is_asked_for_by_name(tmp_path, small_clip_folder):
    match(good(tmp_path), out=tmp_path / "pairs", regions="fixed", matcher=str(small_clip_folder), embed="dense")
    assert PairsTable.open(tmp_path / "pairs").manifest.origin.settings["embed"] == "dense"
