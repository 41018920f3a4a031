"""Evaluation beside a loop in Python and beside the arithmetic alone, its memory, and the start of the command line.

Embeddings are random unit vectors with a signal; an item's cost does not depend on what is in it.

Shapes: Q queries, N items, D dimensions.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fastgoal.bench import reference
from fastgoal.bench.alone import alone
from fastgoal.bench.arithmetic import product_rate
from fastgoal.bench.harness import Row, Spread, alternate, rates, timed
from fastgoal.errors import FastgoalError
from fastgoal.evaluation.metrics import average_precision, first_relevant_rank, relevant_ranks, score_strips
from fastgoal.progress import Progress

DIMENSIONS = 512
HERE = "fastgoal.bench.evaluation"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is measured. items: whole images and crops of the joint gallery, and as many texts. small: items where the
    loop in Python is measured in every round, both ways. gallery, queries: of retrieval. rounds: of every comparison
    but that at full size, which takes most of a minute."""

    items: int = 10_200
    small: int = 2_000
    gallery: int = 1_000_000
    queries: int = 5_000
    rounds: int = 3


def evaluation(sizes: Sizes, *, progress: bool = True) -> list[Row]:
    """All rows, the longest last."""
    stages: list[Callable[[], list[Row]]] = [
        lambda: starts(2 * sizes.rounds + 1),
        lambda: joint(min(sizes.small, sizes.items), sizes.rounds),
        lambda: joint(sizes.items, 1, both=False),
        lambda: joint_seconds(sizes.items, sizes.rounds),
        lambda: joint_memory(sizes.items),
        lambda: retrieval(sizes.gallery, sizes.queries),
    ]
    rows: list[Row] = []
    with Progress(len(stages), "bench eval", "part", show=progress) as bar:
        for stage in stages:
            rows += stage()
            bar.update()
    return rows


def joint(items: int, rounds: int, *, both: bool = True) -> list[Row]:
    """Joint mAP@10 against a loop in Python and against the scores alone, one way or both.

    Raises:
        FastgoalError: the two disagree.
    """
    text, image, group = joint_set(items)
    ways = [(text, image), (image, text)][: 1 + both]
    found: dict[str, list[float]] = {}

    def ours() -> None:
        found["ours"] = [float(ap) for query, item in ways for ap in joint_precision(query, item, group)]

    def loop() -> None:
        own = group.tolist()
        found["loop"] = [ap for query, item in ways for ap in reference.joint_map(query, item, own, own)]

    sides = {"ours": ours, "reference": loop, "bound": lambda: _scores_alone(ways)}
    seconds = alternate(sides, rounds, warm=False)
    _expect_equal(found["ours"], found["loop"])
    ways_in_words = "both ways" if both else "one way"
    name = f"joint mAP@10 of {items:,} x {items:,}, {ways_in_words}, beside a loop in Python"
    queries, aim = items * len(ways), "" if both else ">= 15"  # at the size of a real test set
    return [rates(name, "queries/s", queries, seconds, bound_is="the matrix product alone", aim=aim)]


def joint_seconds(items: int, rounds: int) -> list[Row]:
    """Seconds of joint mAP@10 both ways, and of the scores alone."""
    text, image, group = joint_set(items)
    ways = [(text, image), (image, text)]
    sides = {
        "ours": lambda: [joint_precision(*way, group) for way in ways],
        "bound": lambda: _scores_alone(ways),
    }
    ours, bound = (float(np.median(took)) for took in alternate(sides, rounds).values())
    name = f"joint mAP@10 of {items:,} x {items:,}, both ways"
    return [Row(name=name, unit="s", ours=ours, bound=bound, bound_is="the matrix product alone", aim="<= 3")]


def joint_precision(query: torch.Tensor, item: torch.Tensor, group: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """AP@10 of every query as `evaluation.joint` asks for it."""
    return average_precision(relevant_ranks(query, item, group, group, depth=10), 10)


def _scores_alone(ways: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for way in ways:
        for _ in score_strips(*way):
            pass


def _expect_equal(ours: list[float], theirs: list[float]) -> None:
    """Mean precisions agree, but for a pair of scores whose order is decided by rounding in one of the products."""
    a, b = float(np.mean(ours)), float(np.mean(theirs))
    if abs(a - b) > 1e-4:
        mend = "Please report it: one of the two is wrong."
        raise FastgoalError(f"joint mAP@10 is {a:.6f} by fastgoal and {b:.6f} by the loop in Python", mend=mend)


def joint_set(items: int) -> tuple[torch.Tensor, torch.Tensor, npt.NDArray[np.int64]]:
    """Texts and images, each items x D, and their groups: two of each belong together."""
    torch.manual_seed(0)
    group = np.arange(items) % max(1, items // 2)
    centre_ND = torch.randn(items, DIMENSIONS)[group]
    text, image = (unit_(centre_ND + 2 * torch.randn(items, DIMENSIONS)) for _ in range(2))
    return text, image, group


def unit_(rows_ND: torch.Tensor) -> torch.Tensor:
    """Rows at unit length, in place."""
    return rows_ND.div_(torch.linalg.vector_norm(rows_ND, dim=1, keepdim=True))


def joint_memory(items: int) -> list[Row]:
    """Memory at `items` and at four times as many, beside what the embeddings alone need."""
    rows = []
    for count in (items, 4 * items):
        found = alone(f"{HERE}:joint_alone", items=count)
        rows.append(_resident(f"joint mAP@10 of {count:,} x {count:,}, memory", found))
    return rows


def joint_alone(items: int) -> dict[str, float]:
    """One way of `joint`, to be called in a process of its own."""
    text, image, group = joint_set(items)
    seconds = timed(lambda: joint_precision(text, image, group))
    return {"seconds": seconds, "embeddings_mib": 2 * text.nbytes / 2**20}


def _resident(name: str, found: dict[str, float], aim: str = "") -> Row:
    return Row(
        name=name,
        unit="MiB",
        ours=found["peak_mib"],
        bound=found["libraries_mib"] + found["embeddings_mib"],
        bound_is=f"libraries {found['libraries_mib']:,.0f} and embeddings {found['embeddings_mib']:,.0f}",
        aim=aim,
    )


def retrieval(gallery: int, queries: int) -> list[Row]:
    """Seconds and memory of the first relevant ranks of `queries` texts among `gallery` images."""
    found = alone(f"{HERE}:retrieval_alone", gallery=gallery, queries=queries)
    name = f"retrieval, {queries:,} queries among {gallery:,}"
    took = Row(
        name=name,
        unit="s",
        ours=found["seconds"],
        bound=2 * queries * gallery * DIMENSIONS / found["flops_per_second"],
        bound_is=f"the products at {found['flops_per_second'] / 1e9:,.0f} GFLOP/s",
    )
    return [took, _resident(f"{name}, memory", found, aim=f"<= {3e9 / 2**20:,.0f} (3 GB)")]


def retrieval_alone(gallery: int, queries: int) -> dict[str, float]:
    """To be called in a process of its own: nothing but the embeddings is as large as they are."""
    torch.manual_seed(0)
    item_ND = unit_(torch.empty(gallery, DIMENSIONS).normal_())
    image_N = np.char.mod("images/%07d.jpg", np.arange(gallery))
    asked_Q = np.linspace(0, gallery - 1, queries).astype(np.int64)
    query_QD = unit_(item_ND[asked_Q] + torch.randn(queries, DIMENSIONS) / DIMENSIONS**0.5)
    seconds = timed(lambda: first_relevant_rank(query_QD, item_ND, image_N[asked_Q], image_N))
    embeddings = (item_ND.nbytes + query_QD.nbytes) / 2**20
    return {"seconds": seconds, "embeddings_mib": embeddings, "flops_per_second": product_rate()}


def starts(rounds: int) -> list[Row]:
    """Seconds from the call of `fastgoal --help` to its end, and of a Python that does nothing."""
    sides = {
        "ours": lambda: _run("-m", "fastgoal", "--help"),
        "reference": lambda: _run("-c", "pass"),
    }
    seconds = alternate(sides, rounds)
    return [
        Row(
            name="start of fastgoal --help (reference: python -c pass)",
            unit="s",
            ours=float(np.median(seconds["ours"])),
            reference=float(np.median(seconds["reference"])),
            ratio=Spread.of([a / b for a, b in zip(seconds["ours"], seconds["reference"], strict=True)]),
            aim="<= 0.5",
        )
    ]


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
