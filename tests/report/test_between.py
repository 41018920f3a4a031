"""What stands between runs, on the page and in Markdown: differences by the baseline, captions with what came first."""

import json

import pytest

from fastgoal.report import Duel, Hit, RetrievalExample, from_metrics, metrics, render
from fastgoal.report.between import side_by_side
from fastgoal.report.page import html

A, B = "goal", "no-tsl"


def example(image, *, first=True):
    hits = {A: [Hit(image=image, correct=True, name="own.jpg")]}
    hits |= {B: [Hit(image=None, name="other|odd.jpg")]} if first else {}
    return RetrievalExample(
        id="q1", name="own.jpg", query="A <b>red</b> kettle.", truth=image, ranks={A: 1, B: 12}, hits=hits
    )


@pytest.fixture
def report(sample):
    def make(**more):
        image = sample().retrievals[0].truth
        duel = Duel(a=A, b=B, better=9, worse=4, equal=1000, gains=[example(image, **more)])
        return sample(rivals=[(A, B), ("global", B)], duels=[duel])

    return make


def test_the_table_has_the_baseline_and_every_difference_to_it(report):
    table = side_by_side(report())
    assert (table["baseline"], table["rivals"]) == (B, [A, "global"])
    (row,) = [r for r in table["rows"] if r["measure"].label == "text-to-image retrieval R@1"]
    ours, theirs = row["cells"]
    assert (row["baseline"].value, ours["cell"].value, theirs["cell"].value) == (58.9, 59.8, 58.3)
    assert ours["contrast"].difference == pytest.approx(59.8 - 58.9)
    assert theirs["contrast"].difference == pytest.approx(58.3 - 58.9)  # stored the other way round


def test_a_report_of_one_run_has_no_such_table(sample):
    assert side_by_side(sample()) is None
    assert "Side by side" not in html(sample())


def test_captions_stand_with_what_came_first(report, tmp_path):
    files = render(report(), tmp_path)
    page, text = files.page.read_text(encoding="utf-8"), files.markdown.read_text(encoding="utf-8")
    assert page.count("A &lt;b&gt;red&lt;/b&gt; kettle.") >= 1
    assert page.count("picture not available") == 1
    assert "✓ found first" in page
    assert "for 9 captions, worse for 4, and alike for 1,000" in page
    assert "no-tsl rank 12; first: other\\|odd.jpg; goal found first" in text
    assert "&lt;b>red" in text
    (told,) = json.loads(files.metrics.read_text(encoding="utf-8"))["compared"]
    assert told["gains"][0]["first"] == {A: "own.jpg", B: "other|odd.jpg"}
    assert told["gains"][0]["ranks"] == {A: 1, B: 12}


def test_what_was_not_kept_is_said(report):
    page = html(report(first=False))
    assert "what came first was not kept" in page


def test_the_verdict_answers_for_every_rival_and_comes_back(report):
    again = from_metrics(json.loads(json.dumps(metrics(report()))))
    for told in (report(), again):
        page = html(told)
        assert "GOAL clearly beats no-tsl on text-to-image joint mAP@10" in page
        assert "Global does not beat no-tsl: it is clearly worse on" in page
        assert page.count("Given a caption, the right image comes first") == 1
