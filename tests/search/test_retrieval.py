"""Search ranks as evaluation does: the shared embedder, one gallery, the same Recall@1."""

import pytest

from fastgoal.captioning.pictures import open_pictures
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.evaluation.retrieval import evaluate_retrieval
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.search.build import index
from fastgoal.search.searcher import Searcher


def test_recall_by_searching_is_that_of_evaluation(tmp_path):
    write_scenes(tmp_path / "scenes", ScenesConfig(train=0, val=0, test=24), progress=False)
    encoder = DualEncoder.load("tiny", text_tokens=248)  # so that evaluation and search read the captions whole
    source = open_source(tmp_path / "scenes/test")
    right = evaluate_retrieval(encoder, source).t2i
    index(open_pictures(tmp_path / "scenes/test"), encoder, tmp_path / "index", progress=False)
    searcher = Searcher.open(tmp_path / "index", encoder)
    first = [searcher.text(sample.caption, top=1).hits[0] for sample in source]
    hits = [hit.image == sample.image for hit, sample in zip(first, source, strict=True)]
    assert 100 * sum(hits) / len(hits) == pytest.approx(right["R@1"])
    assert 0 < sum(hits) < len(hits)
