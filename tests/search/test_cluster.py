"""An index made on a cluster is that of one process, to the last digit."""

from functools import partial

import pytest
from tests.cluster.conftest import ray  # noqa: F401
from tests.search.conftest import rows

from fastgoal.captioning.pictures import open_pictures
from fastgoal.cli.index import _load
from fastgoal.cluster.session import Cluster
from fastgoal.errors import ModelError
from fastgoal.search.build import IndexSettings, index
from fastgoal.search.cluster import RayEngine
from fastgoal.search.tables import IMAGES, REGIONS


def test_an_index_made_on_a_cluster_is_that_of_one_process(ray, photos, indexed, small_clip_folder, tmp_path):  # noqa: F811
    (photos / "01.png").write_bytes(b"x")
    here = indexed(photos, tmp_path / "here", regions="fixed")
    load = partial(_load, str(small_clip_folder), "fixed", None)
    settings = IndexSettings(regions="fixed", commit=5, batch=4)
    encoder, proposer = load("cpu")
    engine = RayEngine(cluster=Cluster(workers=2), load=load)
    pictures = open_pictures(photos, captions=True)
    there = index(pictures, encoder, tmp_path / "there", settings, proposer=proposer, progress=False, engine=engine)
    for table in (IMAGES, REGIONS):
        assert rows(tmp_path / "there", table) == rows(tmp_path / "here", table)
    assert (there.images, dict(there.skipped.counts)) == (11, dict(here.skipped.counts))
    assert there.workers in (1, 2)  # of three batches the first worker may take all while the other one starts
    for again in (engine, RayEngine(cluster=Cluster(address="127.0.0.1:1"), load=load)):  # which is never asked
        (photos / "01.png").unlink(missing_ok=True)
        kept = index(pictures, encoder, tmp_path / "there", settings, proposer=proposer, progress=False, engine=again)
        assert kept.unchanged == 11


def test_a_worker_with_another_model_is_found_out(ray, photos, small_clip_folder, tmp_path):  # noqa: F811
    encoder, _ = _load(str(small_clip_folder), None, None, "cpu")
    engine = RayEngine(cluster=Cluster(workers=1), load=partial(_load, "tiny", None, None))
    with pytest.raises(ModelError, match="a worker has another model"):
        index(open_pictures(photos), encoder, tmp_path / "index", progress=False, engine=engine)
