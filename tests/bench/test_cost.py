"""The cost model: known costs are found again, work is counted by hand, and rows forecast what was fitted."""

import json
import math

import pytest

from fastgoal.bench import arithmetic, cost
from fastgoal.bench.alone import called
from fastgoal.bench.cost import Cost, CostBench, Point, Stage, Work
from fastgoal.bench.workload import docci_lengths, load
from fastgoal.pairs import PairsRow

TRUE = Cost(start=2.0, own=0.01, image_rate=50e9, text_rate=20e9)
SETTINGS = [(300, 4e9, 2e9), (100, 4e9, 2e9), (300, 1e9, 2e9), (300, 4e9, 5e8), (300, 1e9, 5e8), (100, 1e9, 5e8)]


def point(samples: int, images: float, texts: float, times: float = 1.0) -> Point:
    # By hand, and not by Cost.seconds.
    seconds = 2.0 + samples * (0.01 + images / 50e9 + texts / 20e9)
    return Point(name="run", samples=samples, work=Work(images=images, texts=texts), seconds=times * seconds)


def test_known_costs_are_found_again():
    found = Cost.fit([point(*setting) for setting in SETTINGS])
    assert found.start == pytest.approx(TRUE.start)
    assert found.own == pytest.approx(TRUE.own)
    assert found.image_rate == pytest.approx(TRUE.image_rate)
    assert found.text_rate == pytest.approx(TRUE.text_rate)


def test_noise_leaves_no_cost_negative():
    # Texts that seem to save time are taken to cost none.
    points = [point(samples, images, texts, 0.9 if texts > 1e9 else 1.1) for samples, images, texts in SETTINGS]
    found = Cost.fit(points)
    assert min(found.start, found.own, found.image_rate, found.text_rate) >= 0
    assert math.isfinite(found.seconds(1_000, Work(images=1e9, texts=1e9)))


def test_rows_forecast_the_check_and_larger_runs():
    check = point(3_000, 5e9, 1e9, times=1.05)
    stage = Stage(
        name="matching",
        points=tuple(point(*setting) for setting in SETTINGS),
        check=check,
        read_out=Work(images=5e9, texts=2e9),
    )
    rows = {row.name: row for row in stage.rows()}
    assert rows["matching: largest deviation of 6 runs"].ours == pytest.approx(0, abs=1e-6)
    checked = rows["matching: run, beside the forecast"]
    assert checked.reference == pytest.approx(2 + 3_000 * (0.01 + 0.1 + 0.05))
    assert checked.ratio is not None and checked.ratio.median == pytest.approx(1.05)
    days = rows["matching: 1,000,000,000 samples, 17 crops, DOCCI's texts"].ours
    assert days == pytest.approx((2 + 1e9 * (0.01 + 0.1 + 0.1)) / 86_400)


def test_equal_sentences_of_a_shard_are_counted_once():
    encoder = load("tiny")
    rows = [
        PairsRow(id=str(i), image="a", width=1, height=1, caption="A red dog. A red dog. A cat.", sentences=spans)
        for i, spans in enumerate([((0, 10), (11, 21)), ((0, 10), (22, 28))])
    ]
    once = [len(encoder.tokenizer(text)["input_ids"]) for text in ("A red dog.", "A cat.")]
    expected = sum(arithmetic.text(encoder, tokens) for tokens in once)
    assert cost.sentences_of(encoder, rows) == pytest.approx(expected)


def test_work_of_real_texts():
    encoder = load("tiny")
    matching, training = cost.matching_of_docci(encoder), cost.training_of_docci(encoder)
    assert matching.images == 17 * arithmetic.image(encoder)
    assert training.images == 6 * arithmetic.image(encoder)  # two views, forward and twice as much backward
    lengths = docci_lengths()
    sentences = sum(arithmetic.text(encoder, tokens + 2) for own in lengths for tokens in own) / len(lengths)
    assert matching.texts == pytest.approx(sentences)
    captions = sum(arithmetic.text(encoder, min(sum(own) + 2, 248)) for own in lengths) / len(lengths)
    assert training.texts > 3 * captions


def test_a_miniature_of_everything(small_clip_folder, monkeypatch):
    def here(function, **arguments):  # 26 processes would take a minute to start
        return called(function, json.loads(json.dumps(arguments, default=str)))

    monkeypatch.setattr(cost, "alone", here)
    stages = CostBench(model=str(small_clip_folder), samples=6, times=2, batch=2).stages(progress=False)
    assert [stage.name.partition(",")[0] for stage in stages] == ["matching", "training"]
    for stage in stages:
        once = [6, 2, 6, 6, 6, 2]
        assert [one.samples for one in stage.points] == once + once[::-1]
        assert stage.check.samples == 12
        assert all(one.seconds > 0 for one in stage.points)
        assert all(row.ours >= 0 for row in stage.rows())
    matching, training = stages
    assert matching.points[0].work.images > matching.points[2].work.images  # twelve crops, then two
    assert training.points[0].work.images == 2 * training.points[2].work.images  # two views, then one
    assert training.points[0].work.texts > training.points[3].work.texts  # long captions, then short ones
