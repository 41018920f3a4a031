"""Matching on a cluster gives the table of one process, byte for byte, whatever dies on the way."""

import json
from functools import partial
from pathlib import Path

import pytest
from tests.cluster.workers import fixed_models, mortal_models
from tests.conftest import save_small_clip

from fastgoal.cluster.matching import RayEngine
from fastgoal.cluster.session import Cluster
from fastgoal.data.source import Source, open_source
from fastgoal.errors import ModelError
from fastgoal.matching import MatchSettings, match
from fastgoal.pairs import MANIFEST, PairsTable

SHARDS = MatchSettings(shard_rows=16)
TINY = partial(fixed_models, "tiny")


@pytest.fixture(scope="module")
def source(scenes: Path) -> Source:
    return open_source(scenes / "train")


@pytest.fixture(scope="module")
def alone(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "pairs"
    match(source, *TINY("cpu"), out, SHARDS, progress=False)
    return out


def same(a: Path, b: Path) -> bool:
    """Manifest (its root is relative to the table) and shards are equal."""
    first, second = (json.loads((folder / MANIFEST).read_text()) | {"root": None} for folder in (a, b))
    PairsTable.open(b).verify()
    return first == second


def stopped_after_one(engine, shards, matcher, bar):
    for number, matched in enumerate(engine(shards, matcher, bar)):
        if number == 1:
            raise KeyboardInterrupt
        yield matched


def here(shards, matcher, bar):
    return map(matcher, shards)


def test_the_table_is_that_of_one_process(ray, source, alone, tmp_path):
    engine = RayEngine(cluster=Cluster(workers=2), load=TINY)
    report = match(source, *TINY("cpu"), tmp_path / "pairs", SHARDS, progress=False, engine=engine)
    assert same(alone, tmp_path / "pairs")
    assert 1 <= report.workers <= 2
    assert report.samples == 60


def test_either_engine_continues_what_the_other_began(ray, source, alone, tmp_path):
    on_ray = RayEngine(cluster=Cluster(workers=1), load=TINY)
    out, shards = tmp_path / "pairs", []
    for engine in (on_ray, here):
        some = partial(stopped_after_one, engine)
        with pytest.raises(KeyboardInterrupt):
            match(source, *TINY("cpu"), out, SHARDS, progress=False, engine=some)
        shards.append(len(json.loads((out / MANIFEST).read_text())["shards"]))
    match(source, *TINY("cpu"), out, SHARDS, progress=False, engine=on_ray)
    assert shards == [1, 2]
    assert same(alone, out)


def test_a_worker_that_is_killed_in_a_shard_changes_nothing(ray, source, alone, tmp_path):
    (sign := tmp_path / "sign").touch()
    load = partial(mortal_models, sign)
    engine = RayEngine(cluster=Cluster(workers=2), load=load)
    match(source, *load("cpu"), tmp_path / "pairs", SHARDS, progress=False, engine=engine)
    assert not sign.exists()  # so one has died of it
    shards = [json.loads((folder / MANIFEST).read_text())["shards"] for folder in (alone, tmp_path / "pairs")]
    assert shards[0] == shards[1]  # the regions are the same fixed boxes


def test_workers_have_to_have_the_drivers_model(ray, source, tmp_path):
    other = save_small_clip(tmp_path / "other", size=64, patch=16)
    engine = RayEngine(cluster=Cluster(workers=1), load=partial(fixed_models, other))
    with pytest.raises(ModelError, match="a worker has another matcher"):
        match(source, *TINY("cpu"), tmp_path / "pairs", SHARDS, progress=False, engine=engine)
