"""The page, read back with a parser: nothing from outside, all escaped, what is missing left out, small enough."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from fastgoal.errors import DataError
from fastgoal.report.input import Hit, PairExample, ReportInput, RetrievalExample, from_metrics
from fastgoal.report.markdown import markdown
from fastgoal.report.numbers import estimate, measures
from fastgoal.report.page import html, metrics, render, split_retrievals

VOID = {"meta", "img", "br", "link", "hr", "input"}
NASTY = '<script>alert("x")</script> & "quoted" </mark>'


class Reader(HTMLParser):
    """Tags with their attributes, the visible text, and a check that every tag is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text, self.open = "", []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def full(sample):
    return html(sample())


def minimal(**more) -> ReportInput:
    results = {"base": {"p": {"task": "retrieval", "items": 3, "t2i": {"R@1": 33.3}}}}
    return ReportInput(**({"title": "t", "models": ["base"], "results": results} | more))


def test_nothing_comes_from_outside(full):
    page = Reader(full)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attrs in page.tags:
        assert attrs.get("src", "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
        for name in ("href", "xlink:href"):
            assert attrs.get(name, "#").startswith("#")
        assert not any(name.startswith("on") for name in attrs)
    style = full[full.index("<style>") : full.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert not re.search(r"https?://(?!www\.w3\.org/)", full)


def test_ids_are_unique_and_every_reference_has_one(full):
    page = Reader(full)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {attrs[n][1:] for _, attrs in page.tags for n in ("href", "xlink:href") if n in attrs}
    clips = set(re.findall(r"url\(#([^)]+)\)", full))
    assert links | clips <= set(ids)
    assert links
    assert clips


def test_pictures_speak(full):
    page = Reader(full)
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 6 + 4 * (1 + 3 * 5)
    assert all(attrs["alt"].strip() for attrs in images)
    plots = [attrs["aria-label"] for tag, attrs in page.tags if attrs.get("role") == "img"]
    assert [label.split(" by ")[0] for label in plots] == [
        "Loss", "Validation R@1, mean of both ways", "Global term", "Local term", "TSL term", "Learning rate",
    ]  # fmt: skip


def test_plots_take_their_colours_from_the_page(full):
    svgs = re.findall(r'<svg viewBox="0 0 [\d.]+ [\d.]+" aria-hidden.*?</svg>', full, re.S)
    assert len(svgs) >= 6
    for svg in svgs:
        assert set(re.findall(r"stroke: (#[0-9a-f]{6}|var\(--\w+\))", svg)) <= {f"var(--{n})" for n in
            ("rule", "muted", "ink", "s0", "s1", "s2", "s3", "s4", "s5", "s6")}  # fmt: skip


def test_the_page_says_what_the_table_holds(sample, full):
    report, text = sample(), Reader(full).text
    for measure in measures(report):
        for model in report.models:
            assert f"{estimate(report.results[model], measure).value:.1f}" in text
    assert "It does not beat it everywhere: it is clearly worse on patch localisation top-1" in text


def test_users_text_is_escaped_everywhere(sample):
    picture = Image.new("RGB", (60, 40), "red")
    pair = PairExample(
        image=picture,
        caption=f"a {NASTY} b",
        sentence=(2, 2 + len(NASTY)),
        region=(0, 0, 9, 9),
        source=NASTY,
        similarity=0.1,
    )
    retrieval = RetrievalExample(
        query=NASTY, truth=picture, ranks={"goal": 1, "global": 2}, hits={"goal": [Hit(image=picture, score=0.5)]}
    )
    plain = sample()
    report = replace(
        plain, title=NASTY, models=[*plain.models, NASTY], results={**plain.results, NASTY: plain.results["goal"]},
        pairs=[pair], retrievals=[retrieval], commands=[NASTY], hardware=NASTY, versions={NASTY: NASTY},
        histories={**plain.histories, NASTY: plain.histories["goal"]}, stages={NASTY: 1.0}, settings={NASTY: NASTY},
        match={"samples": 1, "skipped": {NASTY: 2}, "skipped_samples": [{"id": NASTY, "reason": NASTY}]},
    )  # fmt: skip
    page = html(report)
    assert "<script" not in page
    assert Reader(page).text.count(NASTY) >= 12
    assert "<script" not in re.sub(r"^    .*$", "", markdown(report), flags=re.M)  # all but the indented commands


def test_the_sentence_is_marked_in_its_caption():
    caption = "Über the 🦊 hill. A red fox sleeps. The end."
    span = (caption.index("A red"), caption.index(" The end"))
    boxes = {"region": (-5, 10.25, 300, 60), "truth": (20, 20, 40, 50)}
    picture = Image.new("RGB", (200, 100))
    pair = PairExample(image=picture, caption=caption, sentence=span, source="fixed", similarity=0.25, **boxes)
    page = html(minimal(pairs=[pair]))
    assert "Über the 🦊 hill. <mark>A red fox sleeps.</mark> The end." in page
    rects = [attrs for tag, attrs in Reader(page).tags if tag == "rect"]
    region, true = rects[0], rects[-1]
    assert [float(region[k]) for k in ("x", "y", "width", "height")] == pytest.approx(
        [0, 10.2, 200, 49.8]
    )  # cut to the image
    assert [float(true[k]) for k in ("x", "y", "width", "height")] == [20, 20, 20, 30]
    assert 'viewBox="0 0 200 100"' in page


def test_a_picture_that_has_gone_does_not_stop_the_report(tmp_path):
    pair = PairExample(
        image=tmp_path / "gone.jpg",
        caption="A cat.",
        sentence=(0, 6),
        region=(0, 0, 1, 1),
        source="fixed",
        similarity=0.1,
    )
    text = Reader(html(minimal(pairs=[pair]))).text
    assert "picture not available" in text
    assert "A cat." in text


def test_missing_parts_are_left_out(full):
    page = Reader(html(minimal()))
    sections = {attrs.get("id") for tag, attrs in page.tags if tag == "section"}
    assert sections - {None} == {"numbers", "made"}
    assert {attrs.get("id") for tag, attrs in Reader(full).tags if tag == "section"} - {None} == {
        "numbers", "differences", "training", "pairs", "retrievals", "data", "made",
    }  # fmt: skip
    assert "Nothing was trained" in page.text
    assert "Every method was trained" not in page.text
    assert "None" not in page.text
    assert "None" not in markdown(minimal())


def test_the_page_shrinks_its_pictures_to_fit(sample):
    pictures = [Image.effect_noise((400, 400), 90) for _ in range(8)]
    hits = [Hit(image=picture, score=0.5) for picture in pictures]
    retrievals = [
        RetrievalExample(query="q", truth=pictures[2 * i], ranks={"goal": 1, "global": 9}, hits={"goal": hits[2 * i :]})
        for i in range(4)
    ]
    report = sample(retrievals=retrievals, pairs=[], histories={})
    full = len(html(report))
    assert len(html(report, limit=full - 1)) < full
    assert len(html(report, limit=400_000)) <= 400_000


def test_seeds_show_mean_and_deviation():
    runs = [{"task": "retrieval", "t2i": {"R@1": v}} for v in (50.0, 54.0)]
    report = ReportInput(title="t", models=["base", "goal"], results={"base": {"p": runs[0]}, "goal": {"p": runs}})
    text = Reader(html(report)).text
    assert "52.0 ± 2.8" in text
    assert "over 2 seeds" in text
    assert "52.0 ± 2.8" in markdown(report)
    assert metrics(report)["models"]["goal"]["p"]["t2i"] == {"R@1": 52.0}


def test_render_writes_three_files_and_metrics_reads_back(sample, tmp_path):
    goal = sample().histories["goal"]
    report = sample(histories={"goal": [*goal, {"step": 601, "loss": math.nan}]})
    files = render(report, tmp_path / "new" / "folder")
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [
        "index.html",
        "metrics.json",
        "report.md",
    ]
    assert files.page.stat().st_size < 5_000_000
    stored = json.loads(files.metrics.read_text(), parse_constant=pytest.fail)
    assert stored["models"]["goal"]["joint"]["t2i"] == {"mAP@10": 46.7}
    assert {"a", "b", "metric", "difference", "ci95"} <= stored["paired"][0].keys()
    assert stored["match"]["pair_precision"] == 0.613
    assert markdown(from_metrics(stored)) == files.markdown.read_text()


def test_seeds_survive_the_metrics():
    seeds = [{"t2i": {"R@1": 1.0}}, {"t2i": {"R@1": 2.0}}]
    report = ReportInput(title="t", models=["goal"], results={"goal": {"p": seeds}})
    assert from_metrics(metrics(report)).results["goal"]["p"] == seeds


def test_rendering_twice_gives_the_same_page(sample):
    report = sample(retrievals=[])
    assert html(report) == html(report)


def test_gains_and_failures():
    picture = Image.new("RGB", (8, 8))
    ranks = {"big": (30, 1), "small": (3, 2), "lost": (2, 40), "stuck": (9, 9), "fine": (1, 1), "slip": (4, 5)}
    examples = [RetrievalExample(query=q, truth=picture, ranks={"global": g, "goal": m}) for q, (g, m) in ranks.items()]
    results = {m: {"p": {"t2i": {"R@1": 1.0}}} for m in ("global", "goal")}
    gains, failures = split_retrievals(
        ReportInput(title="t", models=["global", "goal"], results=results, retrievals=examples)
    )
    assert [e.query for e in gains] == ["big", "small"]
    assert [e.query for e in failures] == ["lost", "slip", "stuck"]


@pytest.mark.parametrize(
    ("models", "subject"),
    [
        (["base", "global", "goal", "no-tsl"], "goal"),
        (["base", "global", "local", "no-tsl"], "no-tsl"),
        (["base", "base cut at 77", "global"], "global"),
        (["base", "base cut at 77"], None),
    ],
)
def test_whom_the_verdict_is_about(models, subject):
    results = {m: {"p": {"t2i": {"R@1": 1.0}}} for m in models}
    assert ReportInput(title="t", models=models, results=results).subject == subject


def test_bad_input_says_what_and_how_to_mend():
    with pytest.raises(DataError, match="model 'goal' has no results"):
        ReportInput(title="t", models=["goal"], results={"base": {}})
    with pytest.raises(DataError, match="at least one model"):
        ReportInput(title="t", models=[], results={})
    with pytest.raises(DataError, match="no 'models'"):
        from_metrics({"paired": []})
