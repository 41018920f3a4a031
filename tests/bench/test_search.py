"""The benchmark of search: its vectors are what they seem, and what it measures, in miniature."""

import json

import numpy as np
import pytest

from fastgoal.bench import search
from fastgoal.bench.alone import called
from fastgoal.bench.search import latencies, make_table, random_vectors
from fastgoal.cli import main
from fastgoal.search.stores import InMemory


def test_the_table_holds_the_vectors_that_are_compared(tmp_path):
    vector_ND = np.concatenate(random_vectors(300, 8))
    np.testing.assert_allclose(np.linalg.norm(vector_ND, axis=1), 1, atol=1e-6)
    near = InMemory(make_table(tmp_path, 300, 8), 8).nearest(vector_ND[17], 5, 0, None, None)
    assert [row["key"] for row in near.rows] == np.argsort(-(vector_ND @ vector_ND[17]))[:5].tolist()


def test_every_side_is_asked_every_query_in_turn():
    asked = []
    sides = {name: lambda query_D, name=name: asked.append((name, query_D[0])) for name in ("a", "b")}
    took = latencies(sides, np.arange(3, dtype=np.float32)[:, None], 2)
    assert asked[2:] == [(name, q) for _ in range(2) for q in range(3) for name in ("a", "b")]
    assert [[len(own) for own in rounds] for rounds in took.values()] == [[3, 3], [3, 3]]


def test_search_in_miniature(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search, "alone", lambda name, **given: called(name, json.loads(json.dumps(given, default=str))))
    sizes = ("--images", 300, "--dims", 16, "--queries", 20, "--model", "tiny", "--scenes", 2, "--rounds", 1)
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in ("bench", "search", *sizes, "--json", tmp_path / "search.json")])
    assert end.value.code == 0, capsys.readouterr().err
    rows = {row["name"]: row for row in json.loads((tmp_path / "search.json").read_text())["rows"]}
    exact = "exact search of 300 x 16 beside the bare product"
    assert 0 < rows[f"{exact}, p50"]["ours"] <= rows[f"{exact}, p95"]["ours"]
    assert rows[f"{exact}, p95"]["reference"] > 0
    assert 0.5 < rows["search of 300 x 16 by the approximate index: recall@10"]["ours"] <= 1
    assert rows["indexing 2 scenes with tiny"]["bound"] > 0
    assert rows["a process that serves 300 x 128 with tiny, memory"]["ours"] > 100
