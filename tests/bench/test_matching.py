"""The matching benchmark: both sides choose the same pairs."""

import pytest
from tests.conftest import save_small_clip

from fastgoal.bench.matching import MatchBench
from fastgoal.bench.reference import reference_match
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.matching import match
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions import make_proposer


def test_both_sides_choose_the_same_pairs(tmp_path, small_clip_folder):
    write_scenes(tmp_path, ScenesConfig(train=6, val=0, test=0), progress=False)
    source, encoder, proposer = (
        open_source(tmp_path / "train"),
        DualEncoder.load(small_clip_folder),
        make_proposer("flism"),
    )
    match(source, encoder, proposer, tmp_path / "pairs", progress=False)
    found = reference_match(source, encoder, proposer)
    for row, pair in zip(PairsTable.open(tmp_path / "pairs"), found, strict=True):
        best = row.pairs[0]
        assert (best.sentence, best.region) == (pair.sentence, pair.region)
        assert best.similarity == pytest.approx(pair.similarity, abs=1e-5)


def test_a_small_run(tmp_path):
    folder = str(save_small_clip(tmp_path / "clip", positions=248))
    small, large = MatchBench(matcher=folder, scenes=4, large=folder, large_scenes=2, rounds=2).rows()
    assert small.unit == large.unit == "images/s"
    assert small.ratio.min > 0
    assert small.bound > 0 and large.bound > 0
    assert large.reference is None
