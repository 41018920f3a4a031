"""Before and after: differences and paired intervals equal to those by hand, over several protocols."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fastgoal.errors import DataError
from fastgoal.evaluation.metrics import paired_bootstrap
from fastgoal.evaluation.protocols import PROTOCOLS
from fastgoal.evaluation.retention import retention
from fastgoal.evaluation.retrieval import evaluate_retrieval
from fastgoal.evaluation.robustness import evaluate_robustness
from fastgoal.models.dual_encoder import DualEncoder

SHORT = replace(PROTOCOLS["short-retrieval"], ks=(1, 2))


@pytest.fixture(scope="module")
def changed(small_clip_folder):
    other = DualEncoder.load(small_clip_folder)
    with torch.no_grad():
        other.model.visual_projection.weight.copy_(other.model.visual_projection.weight.flip(0))
    other.name = "changed"
    return other


def test_every_figure_is_compared_query_by_query(encoder, changed, source):
    short = [evaluate_retrieval(model, source, protocol=SHORT) for model in (encoder, changed)]
    robust = [evaluate_robustness(model, source) for model in (encoder, changed)]
    found = retention([short[0], robust[0]], [robust[1], short[1]], seed=3)
    assert len(found) == 2 * 2 + 2 * 3 * 4
    for one in found:
        before, after = short if one["protocol"] == "short-retrieval" else robust
        way, key = one["metric"].split(maxsplit=1)
        new, old = (result.queries[way].values[key] for result in (after, before))
        assert (one["a"], one["b"]) == ("changed", encoder.name)
        assert one["before"] == getattr(before, way)[key] and one["after"] == getattr(after, way)[key]
        assert (
            one["difference"] == pytest.approx(100 * np.mean(new - old)) == pytest.approx(one["after"] - one["before"])
        )
        assert one["ci95"] == [100 * e for e in paired_bootstrap(new, old, before.queries[way].image_Q, seed=3)[1]]
        if "change" in key or not one["before"]:
            assert one["kept"] is None
        else:
            assert one["kept"] == pytest.approx(100 * one["after"] / one["before"])
    assert any(one["difference"] for one in found)


def test_one_result_each_will_do_and_other_questions_will_not(encoder, source):
    short = evaluate_retrieval(encoder, source, protocol=SHORT)
    assert [one["difference"] for one in retention(short, short)] == [0, 0, 0, 0]
    with pytest.raises(DataError, match="protocols short-retrieval before and long-retrieval after"):
        retention(short, evaluate_retrieval(encoder, source))
    part = evaluate_retrieval(encoder, source.only(lambda sample: sample.id != "s0"), protocol=SHORT)
    with pytest.raises(DataError, match="did not answer the same queries"):
        retention(short, part)
