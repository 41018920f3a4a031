"""The benchmark of evaluation: what it measures is right, and it notices where it is not."""

import numpy as np
import pytest
import torch

from fastgoal.bench import evaluation
from fastgoal.bench.evaluation import joint, joint_alone, joint_precision, joint_set, retrieval_alone, unit_
from fastgoal.errors import FastgoalError


def test_embeddings_have_length_one_and_a_signal():
    text, image, group = joint_set(200)
    assert torch.allclose(text.norm(dim=1), torch.ones(200))
    sim_QN, right_QN = (text @ image.T).numpy(), group[:, None] == group
    assert right_QN.sum(1).tolist() == [2] * 200
    assert sim_QN[right_QN].mean() > sim_QN[~right_QN].mean() + 0.1
    assert 0.1 < joint_precision(text, image, group).mean() <= 1
    rows = torch.tensor([[3.0, 4.0]])
    assert unit_(rows) is rows
    assert rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_both_sides_are_compared_query_by_query_and_rated(monkeypatch):
    (row,) = joint(90, 3)
    assert row.unit == "queries/s"
    assert None not in (row.reference, row.bound)
    assert row.ratio.min <= row.ratio.median <= row.ratio.max
    monkeypatch.setattr(evaluation, "joint_precision", lambda query, item, group: np.full(len(query), 0.1))
    with pytest.raises(FastgoalError, match=r"0\.100000 by fastgoal and 0\.\d+ by the loop"):
        joint(90, 1)


def test_parts_say_what_their_data_alone_takes():
    assert joint_alone(64)["embeddings_mib"] == 2 * 64 * 512 * 4 / 2**20
    found = retrieval_alone(300, 20)
    assert found["embeddings_mib"] == (300 + 20) * 512 * 4 / 2**20
    assert found["seconds"] > 0
    assert found["flops_per_second"] > 1e8
