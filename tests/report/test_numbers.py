"""The numbers table: means over seeds against scipy, marks against paired intervals, plain text by eye."""

import math

import numpy as np
import pytest
from scipy import stats

from fastgoal.report.input import ReportInput
from fastgoal.report.numbers import (
    STUDENT,
    Contrast,
    Measure,
    clear_best,
    contrasts,
    estimate,
    main_measures,
    measures,
    numbers_table,
    terminal_table,
)

R1 = Measure(protocol="p", direction="t2i", key="R@1", kind="retrieval")


def result(value: float, back: float = 10.0, **more):
    return {
        "task": "retrieval", "items": 50, "t2i": {"R@1": value, "R@5": value + 1}, "i2t": {"R@1": back},
        "ci95": {"t2i": {"R@1": [value - 2, value + 3]}}, **more,
    }  # fmt: skip


def report(results, paired=(), **more) -> ReportInput:
    return ReportInput(
        title="t", models=list(results), results={m: {"p": r} for m, r in results.items()}, paired=paired, **more
    )


def contrast(a: str, b: str, low: float | None, high: float | None) -> Contrast:
    return Contrast(a=a, b=b, measure=R1, difference=1.0, low=low, high=high)


def test_student_matches_scipy():
    for freedom, value in STUDENT.items():
        assert value == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


def test_seeds_give_mean_deviation_and_students_interval():
    values = [51.0, 54.5, 53.0]
    cell = estimate({"p": [result(v) for v in values]}, R1)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (cell.value, cell.deviation, cell.seeds) == (
        pytest.approx(np.mean(values)),
        pytest.approx(np.std(values, ddof=1)),
        3,
    )
    assert (cell.low, cell.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_one_seed_keeps_the_evaluations_own_interval():
    cell = estimate({"p": result(50.0)}, R1)
    assert (cell.value, cell.low, cell.high, cell.deviation) == (50.0, 48.0, 53.0, None)
    assert estimate({"p": result(50.0, ci95={})}, R1).low is None
    assert estimate({"p": result(50.0, ci95={"t2i": {"R@1": [math.nan, 3]}})}, R1).low is None
    assert estimate({"q": result(50.0)}, R1) is None


def test_columns_are_the_first_key_of_each_direction():
    made = report({"base": result(1.0)})
    assert [(m.direction, m.key) for m in main_measures(made)] == [("t2i", "R@1"), ("i2t", "R@1")]
    assert [(m.direction, m.key) for m in measures(made)] == [("t2i", "R@1"), ("t2i", "R@5"), ("i2t", "R@1")]


def test_kind_goes_by_the_task_and_falls_back_on_the_names():
    results = {"base": {"x": {"task": "localisation", "t2i": {"R@1": 1}}, "my-localisation": {"t2i": {"k": 1}},
                        "j": {"t2i": {"mAP@10": 1}}, "r": {"t2i": {"R@1": 1}}, "zoo": {"t2i": {"acc": 1}}}}  # fmt: skip
    kinds = {m.protocol: m.kind for m in measures(ReportInput(title="t", models=["base"], results=results))}
    assert kinds == {
        "x": "localisation",
        "my-localisation": "localisation",
        "j": "joint",
        "r": "retrieval",
        "zoo": "other",
    }


@pytest.mark.parametrize(
    ("every", "best"),
    [
        ([contrast("goal", "global", 0.1, 2)], "goal"),
        ([contrast("global", "goal", -2, -0.1)], "goal"),  # stored the other way round
        ([contrast("goal", "global", 0.0, 2)], None),
        ([contrast("goal", "global", -0.5, 2)], None),
        ([contrast("goal", "global", None, None)], None),
        ([contrast("goal", "base", 5, 9)], None),  # clear of the last, but never compared with the runner-up
        ([contrast("goal", "global", 0.1, 2), contrast("goal", "base", -1, 9)], None),
        ([], None),
    ],
)
def test_best_is_marked_only_where_its_paired_interval_is_clear(every, best):
    assert clear_best({"base": 1.0, "global": 2.0, "goal": 3.0}, R1, every) == best


def test_a_lone_model_is_not_the_best_of_anything():
    assert clear_best({"base": 1.0}, R1, []) is None


@pytest.mark.parametrize("metric", ["R@1", "t2i R@1"])
def test_paired_metrics_find_their_measure(metric):
    paired = [{"a": "goal", "b": "base", "metric": metric, "difference": 2, "ci95": [1, 3], "protocol": "p"}]
    [found] = contrasts(report({"base": result(1.0), "goal": result(3.0)}, paired))
    assert (found.measure, found.difference, found.low, found.high) == (R1, 2.0, 1.0, 3.0)


def test_paired_of_another_direction_protocol_or_key():
    pair = {"a": "goal", "b": "base", "difference": 2, "ci95": [1, 3]}
    made = report({"base": result(1.0), "goal": result(3.0)}, [
        pair | {"metric": "i2t R@1"}, pair | {"metric": "R@1", "protocol": "other"}, pair | {"metric": "R@7"},
        pair | {"metric": "R@1", "difference": math.nan},
    ])  # fmt: skip
    assert [(c.measure.direction, c.measure.key) for c in contrasts(made)] == [("i2t", "R@1")]


def test_terminal_table():
    paired = [{"a": "goal", "b": "base", "metric": "R@1", "difference": 20, "ci95": [17, 23]}]
    made = report({"base": result(31.2), "goal": [result(51.0), result(53.0)]}, paired)
    assert terminal_table(made).splitlines() == [
        "      retrieval R@1  retrieval R@1",
        "      text to image  image to text",
        "----------------------------------",
        "base  31.2 ±2.5      10.0",
        "goal  52.0 ±12.7 *   10.0 ±0.0",
    ]


def test_a_model_without_a_protocol_leaves_a_gap():
    results = {"base": {"p": result(1.0)}, "goal": {"p": result(2.0), "joint": {"t2i": {"mAP@10": 3.0}}}}
    table = numbers_table(ReportInput(title="t", models=["base", "goal"], results=results))
    assert table.cell("base", table.measures[-1]) is None
    assert table.cell("goal", table.measures[-1]).value == 3.0
