"""Results survive the disk, and comparisons pair only what can be paired."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fastgoal.errors import DataError
from fastgoal.evaluation.localisation import evaluate_localisation
from fastgoal.evaluation.protocols import PROTOCOLS
from fastgoal.evaluation.results import EvalResult, compare
from fastgoal.evaluation.retrieval import evaluate_retrieval

SMALL = replace(PROTOCOLS["long-retrieval"], name="small", ks=(1, 3))
CONTRACT = [
    "protocol",
    "items",
    "model",
    "text_tokens",
    "truncated_share",
    "image_fit",
    "t2i",
    "i2t",
    "ci95",
    "seconds",
    "versions",
]


@pytest.fixture(scope="module")
def result(encoder, source):
    return replace(evaluate_retrieval(encoder, source, protocol=SMALL), model="goal")


def shifted(result, name, share):
    """The same queries answered by a model that gets the first `share` of them right and the others wrong."""
    count = len(result.queries["t2i"].id_Q)
    right_Q = (np.arange(count) < share * count).astype(float)
    queries = {
        way: replace(own, values={**own.values, "R@1": right_Q[: len(own.id_Q)]}) for way, own in result.queries.items()
    }
    return replace(result, model=name, queries=queries)


def test_json_has_the_contract_and_comes_back(result):
    record = json.loads(json.dumps(result.to_json()))
    assert set(CONTRACT) <= set(record)
    assert record["ci95"].keys() == {"t2i", "i2t"}
    assert record["ci95"]["t2i"].keys() == record["t2i"].keys() == {"R@1", "R@3"}
    assert "queries" not in record
    assert EvalResult.from_json(record) == result


def test_saved_results_come_back_with_their_queries(result, tmp_path):
    result.save(tmp_path / "eval" / "goal.json")
    assert sorted(path.name for path in (tmp_path / "eval").iterdir()) == ["goal.json", "goal.npz"]
    loaded = EvalResult.load(tmp_path / "eval" / "goal.json")
    assert loaded == result
    assert loaded.arrays().keys() == result.arrays().keys()
    for key, array in result.arrays().items():
        assert np.array_equal(loaded.arrays()[key], array)
    (tmp_path / "eval" / "goal.npz").unlink()
    assert EvalResult.load(tmp_path / "eval" / "goal.json").queries == {}


def test_localisation_comes_back_too(encoder, source, tmp_path):
    result = evaluate_localisation(encoder, source)
    result.save(tmp_path / "where.json")
    assert EvalResult.load(tmp_path / "where.json") == result


def test_compare_is_a_minus_b_in_points(result):
    good, poor = shifted(result, "good", 1.0), shifted(result, "poor", 0.5)
    found = compare(good, poor)
    assert found["difference"] == pytest.approx(50)
    assert found["ci95"][0] < 50 < found["ci95"][1]
    assert (found["a"], found["b"], found["metric"], found["protocol"]) == ("good", "poor", "R@1", "small")
    assert compare(poor, good, "t2i R@1")["difference"] == pytest.approx(-50)
    assert compare(good, good, "i2t R@1") == {
        "a": "good",
        "b": "good",
        "metric": "i2t R@1",
        "difference": 0.0,
        "ci95": [0.0, 0.0],
        "protocol": "small",
    }


def test_several_seeds_are_averaged_per_query_before_they_are_compared(result):
    seeds = [shifted(result, "goal", share) for share in (1.0, 0.5)]
    rival = shifted(result, "base", 0.25)
    mean_Q = np.mean([run.queries["t2i"].values["R@1"] for run in seeds], axis=0)
    expected = 100 * (mean_Q - rival.queries["t2i"].values["R@1"]).mean()
    found = compare(seeds, rival)
    assert (found["a"], found["b"]) == ("goal", "base")
    assert found["difference"] == pytest.approx(expected)
    assert found["ci95"][0] <= expected <= found["ci95"][1]


def test_compare_refuses_what_is_not_paired(result, encoder, source):
    with pytest.raises(DataError, match="cannot be paired"):
        compare(result, replace(result, protocol="other"))
    with pytest.raises(DataError, match="cannot be paired"):
        compare(result, replace(result, pairs={"fingerprint": "another test set"}))
    fewer = evaluate_retrieval(encoder, source.without([next(iter(source)).id]), protocol=SMALL)
    with pytest.raises(DataError, match="did not answer the same queries"):
        compare(result, fewer)
    with pytest.raises(DataError, match="no values per query"):
        compare(result, replace(result, queries={}))
    with pytest.raises(DataError, match=r"no metric 'R@7'.*R@1, R@3"):
        compare(result, result, "R@7")


def test_other_json_is_refused(tmp_path):
    with pytest.raises(DataError, match="not an evaluation result"):
        EvalResult.from_json({"protocol": "x"})
    with pytest.raises(DataError, match=r"nothing\.json"):
        EvalResult.load(tmp_path / "nothing.json")


def test_damaged_values_are_named(result, tmp_path):
    result.save(tmp_path / "goal.json")
    values = tmp_path / "goal.npz"
    values.write_bytes(values.read_bytes()[:-40])
    with pytest.raises(DataError, match="no values per query here"):
        EvalResult.load(tmp_path / "goal.json")
