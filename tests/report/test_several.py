"""Several runs in one report: what is equal stands once, the rest under its run's name; unlike test sets are named."""

from dataclasses import replace

import pytest

from fastgoal.errors import ConfigError
from fastgoal.report import ReportInput, from_metrics, metrics, render, together

BASE = {"p": {"items": 50, "t2i": {"R@1": 20.0}, "seconds": 1.0}}


def run(value, items=50, **more):
    trained = {"p": {"items": items, "t2i": {"R@1": value}}}
    base = {"p": {**BASE["p"], "items": items, "seconds": value}}
    paired = [{"a": "goal", "b": "base", "metric": "R@1", "difference": value - 20, "ci95": [1, 2]}]
    return ReportInput(
        title="t",
        models=["base", "goal"],
        results={"base": base, "goal": trained},
        paired=paired,
        commands=["x"],
        **more,
    )


def test_equal_models_stand_once_and_others_under_their_runs_name():
    both = together({"first": run(30.0), "second": run(40.0, doubts=["few images"])}, "both")
    assert both.models == ["base", "goal (first)", "goal (second)"]
    assert both.results["goal (second)"]["p"]["t2i"] == {"R@1": 40.0}
    assert [(pair["a"], pair["b"]) for pair in both.paired] == [("goal (first)", "base"), ("goal (second)", "base")]
    assert both.doubts == ["second: few images"]
    assert (both.headline, both.commands) == ("goal (first)", ["x", "x"])


def test_a_model_that_some_runs_share_stands_there_once():
    other = run(30.0)
    other = replace(other, results={**other.results, "base": {"p": {**BASE["p"], "t2i": {"R@1": 21.0}}}})
    every = together({"first": run(30.0), "second": run(40.0), "third": other}, "all")
    assert every.models == ["base (first)", "goal (first)", "goal (second)", "base (third)"]
    assert every.results["base (third)"]["p"]["t2i"] == {"R@1": 21.0}
    assert every.paired[-1]["a"] == "goal (first)"  # the same figures as in the third


def test_test_sets_of_different_sizes_are_named():
    both = together({"first": run(30.0), "second": run(30.0, items=60)}, "both")
    assert "base (second)" in both.models
    assert "different sizes (p)" in both.doubts[0]


def test_one_run_stays_as_it_is_and_none_is_refused():
    one = run(30.0)
    assert together({"first": one}, "t") is one
    with pytest.raises(ConfigError, match="no run"):
        together({}, "t")


def test_the_page_of_several_is_drawn(tmp_path):
    found = {name: from_metrics(metrics(run(value))) for name, value in (("first", 30.0), ("second", 40.0))}
    files = render(together(found, "first and second"), tmp_path)
    page = files.page.read_text(encoding="utf-8")
    assert page.count("goal (second)") > 1
    assert "20.0" in page
