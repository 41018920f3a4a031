"""Several ranks against one process: the same global batches, all loss terms, some samples without a pair."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.training.gradients import Gradients, assert_gradients
from tests.training.ranks import on_ranks
from tests.training.test_cached import CASES, batch_of, exact, rows_of, whole
from tests.training.test_cached import double as double
from torch.distributed.tensor import DTensor

from fastgoal.losses import METHODS
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsRow, PairsTable
from fastgoal.training.cached import CachedStep
from fastgoal.training.encoding import Encoding
from fastgoal.training.objective import Objective
from fastgoal.training.order import share
from fastgoal.training.spread import copied, scalars, sharded
from fastgoal.training.team import Team

WriteTable = Callable[..., PairsTable]
WAYS = ("copied", "copied, cached", "sharded", "sharded, cached")
exact = exact
NO_PAIR = (3, 8)
LEAST = (1, 3, 0)
"""Three samples, one of them without a pair: of four ranks one has none, and another has no pair."""


def team_gradients(
    team: Team,
    table: PairsTable,
    encoder: DualEncoder,
    case: str,
    rows: list[PairsRow],
    way: str,
    towers: torch.nn.Module,
) -> tuple[dict[str, float], Gradients]:
    """Of one step on all ranks, whole."""
    weights, choice, options = CASES[case]
    objective = Objective(weights=weights, **options)
    batch = batch_of(table, encoder, weights, choice, rows[share(len(rows), team.rank, team.size)])
    encoder.zero_grad()
    if "cached" in way:
        step = CachedStep(objective, encoder, batch, 1, model=towers, team=team)
        terms = step.terms()
        step.backward(terms["loss"])
    else:
        terms = objective.terms(encoder, towers(batch), batch.belonging, team)
        terms["loss"].backward()
    team.average(list(scalars(encoder).values()))
    found = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    whole_ = {name: g.full_tensor() if isinstance(g, DTensor) else g.clone() for name, g in found.items()}
    return {name: term.item() for name, term in terms.items()}, whole_


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("way", WAYS)
def test_the_gradient_is_that_of_one_process(write_table: WriteTable, exact: DualEncoder, size: int, way: str) -> None:
    table = write_table()
    jobs = [(case, rows_of(table)) for case in CASES] + [
        ("goal", rows_of(table, LEAST)),
        ("local", rows_of(table, LEAST)),
        ("goal", rows_of(table, NO_PAIR)),
    ]

    def work(team: Team) -> list[Any]:
        found, cut_up = [], sharded(Encoding(exact, METHODS["goal"]), team) if "sharded" in way else None
        for case, rows in jobs:
            towers = cut_up or copied(Encoding(exact, CASES[case][0]), team)
            if cut_up is not None:
                cut_up.weights = CASES[case][0]
                assert {n for n, p in exact.named_parameters() if not isinstance(p, DTensor)} == {"model.logit_scale"}
            found.append(team_gradients(team, table, exact, case, rows, way, towers))
        return found

    of_ranks = on_ranks(size, work)
    for number, (case, rows) in enumerate(jobs):
        weights, choice, options = CASES[case]
        batch, objective = batch_of(table, exact, weights, choice, rows), Objective(weights=weights, **options)
        wanted = filled(whole(objective, exact, batch), exact)
        terms = {name: term.item() for name, term in objective(exact, batch).items()}
        for values, found in (rank[number] for rank in of_ranks):
            assert values == pytest.approx(terms, rel=1e-12, abs=1e-12)
            assert_gradients(filled(found, exact), wanted, within=1e-9)


def filled(found: Gradients, encoder: DualEncoder) -> Gradients:
    """Of every parameter; zero where nothing of the batch needs it."""
    return {name: found.get(name, torch.zeros_like(weight)) for name, weight in encoder.named_parameters()}
