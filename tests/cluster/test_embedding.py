"""Evaluation with embeddings from a cluster gives the figures of one process, to the last digit."""

from functools import partial

import numpy as np
import pytest

from fastgoal.cluster.embedding import ImageBatch, OnCluster, embed_image_batches, on_cluster
from fastgoal.cluster.session import Cluster
from fastgoal.data.source import open_source
from fastgoal.embed import embed_images
from fastgoal.errors import ConfigError
from fastgoal.evaluation.retrieval import evaluate_retrieval
from fastgoal.evaluation.views import ViewSet
from fastgoal.models.baselines import load_retriever

TIMES = {"seconds": None}


def test_retrieval_on_a_cluster_is_that_of_one_process(ray, scenes):
    load, source = partial(load_retriever, "tiny"), open_source(scenes / "test")
    encoder = load()
    here = evaluate_retrieval(encoder, source, batch=6)
    with on_cluster(encoder, load, Cluster(workers=2)) as embedder:
        there = evaluate_retrieval(embedder, source, batch=6)
    assert here.to_json() | TIMES == there.to_json() | TIMES


def test_batches_of_images_come_back_under_their_ids(ray, scenes):
    load, source = partial(load_retriever, "tiny"), open_source(scenes / "test", limit=5)
    encoder, samples = load(), list(source)
    batches = [
        ImageBatch(ids=tuple(s.id for s in some), wanted=tuple((s.image, None) for s in some))
        for some in (samples[:2], samples[2:4], samples[4:])
    ]
    found = list(embed_image_batches(batches, source.images, load, Cluster(workers=1)))
    assert [ids for ids, _ in found] == [batch.ids for batch in batches]
    expected_ND = embed_images(encoder, ViewSet.of(source, encoder.fit), batch=2)
    np.testing.assert_array_equal(np.concatenate([own_BD for _, own_BD in found]), expected_ND)


def test_pictures_without_a_place_stay_here():
    encoder = load_retriever("tiny")
    with pytest.raises(ConfigError, match="only images that lie where workers read them"):
        embed_images(OnCluster(encoder, partial(load_retriever, "tiny"), Cluster(workers=1)), [])
