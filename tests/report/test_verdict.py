"""The verdict over every sign a difference can have: above zero, below zero, around it, and without an interval."""

import itertools

import pytest

from fastgoal.report.numbers import Contrast, Measure
from fastgoal.report.verdict import listed, signed, verdict, worth_telling

R1 = Measure(protocol="long-retrieval", direction="t2i", key="R@1", kind="retrieval")
R1_BACK = Measure(protocol="long-retrieval", direction="i2t", key="R@1", kind="retrieval")
JOINT = Measure(protocol="joint", direction="t2i", key="mAP@10", kind="joint")
PATCH = Measure(protocol="localisation", direction="t2i", key="top-1", kind="localisation")
BOUNDS = {"above": (2.0, 1.0, 3.0), "below": (-2.0, -3.0, -1.0), "open": (0.5, -1.0, 2.0), "unknown": (4.0, None, None)}


def difference(measure: Measure, sign: str) -> Contrast:
    value, low, high = BOUNDS[sign]
    return Contrast(a="goal", b="global", measure=measure, difference=value, low=low, high=high)


@pytest.mark.parametrize(
    ("value", "low", "high", "sign"),
    [
        (2.0, 1.0, 3.0, "above"),
        (1.0, 0.0, 2.0, "open"),  # touching zero is not clear
        (0.4, -0.2, 1.0, "open"),
        (0.0, 0.0, 0.0, "open"),
        (-0.4, -1.0, 0.2, "open"),
        (-1.0, -2.0, 0.0, "open"),
        (-2.0, -3.0, -1.0, "below"),
        (5.0, None, None, "unknown"),
    ],
)
def test_sign_says_where_the_whole_interval_lies(value, low, high, sign):
    contrast = Contrast(a="goal", b="global", measure=R1, difference=value, low=low, high=high)
    opposite = {"above": "below", "below": "above"}.get(sign, sign)
    assert (contrast.sign, contrast.flipped().sign) == (sign, opposite)
    assert contrast.flipped().flipped() == contrast


@pytest.mark.parametrize("signs", list(itertools.product(BOUNDS, repeat=3)), ids="-".join)
def test_every_figure_is_told_once_and_on_its_own_side(signs):
    measures = (R1, JOINT, PATCH)
    sentences = verdict("goal", "global", [difference(m, s) for m, s in zip(measures, signs, strict=True)])
    better = [s for s in sentences if "clearly beats" in s]
    rest = [s for s in sentences if "does not beat" in s]
    assert len(sentences) == len(better) + len(rest) <= 2
    assert bool(better) == ("above" in signs)
    assert bool(rest) == (set(signs) != {"above"})
    for measure, sign in zip(measures, signs, strict=True):
        home, other = (better, rest) if sign == "above" else (rest, better)
        assert measure.task in home[0]
        assert not other or measure.task not in other[0]
    for sign, words in (("below", "clearly worse on"), ("open", "no clear difference on"), ("unknown", "no claim, on")):
        assert any(words in s for s in sentences) == (sign in signs)


def test_a_gain_inside_its_interval_is_never_called_a_win():
    [sentence] = verdict("goal", "global", [difference(R1, "open")])
    assert sentence == (
        "GOAL does not beat plain global fine-tuning: it shows no clear difference on retrieval R@1 "
        "(+0.5 points, −1.0 to +2.0)."
    )


def test_a_clear_gain_and_a_clear_loss():
    assert verdict("goal", "global", [difference(JOINT, "above"), difference(PATCH, "below")]) == [
        "GOAL clearly beats plain global fine-tuning on joint mAP@10 (+2.0 points, +1.0 to +3.0).",
        "It does not beat it everywhere: it is clearly worse on patch localisation top-1 (−2.0 points, −3.0 to −1.0).",
    ]


def test_directions_are_told_apart_only_where_they_disagree():
    same = worth_telling([difference(R1, "above"), difference(R1_BACK, "above")])
    assert [name for name, _ in same] == ["retrieval R@1"]
    apart = worth_telling([difference(R1_BACK, "open"), difference(R1, "above")])
    assert [name for name, _ in apart] == ["text-to-image retrieval R@1", "image-to-text retrieval R@1"]
    assert [name for name, _ in worth_telling([difference(R1_BACK, "open")])] == ["image-to-text retrieval R@1"]


def test_opening_names_the_figures():
    values = {"base": 31.24, "global": 58.3, "goal": 59.8}
    sentences = verdict("goal", "global", [difference(R1, "above")], values, R1, 1400)
    assert sentences[0] == (
        "Given a caption, the right image comes first among 1,400 in "
        "31.2 % for base, 58.3 % for global and 59.8 % for goal."
    )
    assert (
        verdict(None, None, [], {"base": 12.0}, JOINT, 3)[0]
        == "Text-to-image joint mAP@10 over 3 items: 12.0 % for base."
    )


@pytest.mark.parametrize(
    ("method", "baseline", "words"),
    [
        (None, None, "Nothing was trained"),
        ("goal", None, "No plain baseline was trained beside goal"),
        ("global", "global", "No other method was trained beside global"),
        ("goal", "global", "were not compared query by query"),
    ],
)
def test_nothing_is_claimed_without_a_comparison(method, baseline, words):
    [sentence] = verdict(method, baseline, [])
    assert words in sentence
    assert "beats" not in sentence


@pytest.mark.parametrize(
    ("value", "text"), [(1.25, "+1.2"), (-0.44, "−0.4"), (0.04, "0.0"), (-0.04, "0.0"), (12, "+12.0")]
)
def test_signed(value, text):
    assert signed(value) == text


@pytest.mark.parametrize(
    ("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_listed(items, text):
    assert listed(items) == text
