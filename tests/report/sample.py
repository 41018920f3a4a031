"""A made-up report for tests and for looking at the page: none of its numbers was measured.

python tests/report/sample.py OUT        writes OUT/index.html, OUT/report.md and OUT/metrics.json
"""

import math
import random
import sys
from typing import Any

from PIL import Image, ImageDraw

from fastgoal.report.input import DataFacts, Hit, PairExample, ReportInput, RetrievalExample
from fastgoal.report.page import render

TASKS = ("long-retrieval", "joint", "localisation")
MODELS = ["base", "base cut at 77", "global", "no-tsl", "goal"]
FIGURES = {
    "base": (31.2, 29.5, 24.1, 23.0, 22.4),
    "base cut at 77": (24.0, 25.2, 20.3, 19.8, 22.9),
    "global": (58.3, 57.1, 41.2, 40.6, 29.8),
    "no-tsl": (58.9, 58.8, 44.9, 44.0, 35.0),
    "goal": (59.8, 59.9, 46.7, 45.2, 28.1),
}
SHAPES = ["red kettle", "green lamp", "blue bicycle", "yellow umbrella", "violet armchair", "orange suitcase"]


def picture(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    draw_from = random.Random(seed)
    image = Image.effect_noise(size, 40).convert("RGB")
    tint = Image.new("RGB", size, tuple(draw_from.randint(120, 220) for _ in range(3)))
    image = Image.blend(image, tint, 0.75)
    draw = ImageDraw.Draw(image)
    for _ in range(5):
        x, y, r = draw_from.randint(0, size[0] - 70), draw_from.randint(0, size[1] - 70), draw_from.randint(35, 70)
        draw.ellipse((x, y, x + r, y + r), fill=tuple(draw_from.randint(20, 240) for _ in range(3)))
    draw.rectangle((40, 60, 120, 140), fill=(190, 40, 40))
    return image


def eval_result(model: str, kind: int) -> dict[str, Any]:
    r_t2i, r_i2t, j_t2i, j_i2t, patches = FIGURES[model]
    tokens = 77 if "77" in model else 248
    facts = {
        "items": 400,
        "text_tokens": tokens,
        "truncated_share": 0.81 if tokens == 77 else 0.0,
        "image_fit": {"mode": "crop", "size": 224},
    }
    if kind == 0:
        t2i = {"R@1": r_t2i, "R@5": min(99, r_t2i + 22), "R@25": min(99.5, r_t2i + 33), "R@50": min(99.8, r_t2i + 37)}
        i2t = {"R@1": r_i2t, "R@5": min(99, r_i2t + 21), "R@25": min(99.5, r_i2t + 33), "R@50": min(99.8, r_i2t + 36)}
    else:
        t2i, i2t = (
            ({"mAP@10": j_t2i}, {"mAP@10": j_i2t}) if kind == 1 else ({"top-1": patches, "top-5": patches - 2}, {})
        )
    ci95 = {d: {k: [v - 3.1, v + 3.0] for k, v in m.items()} for d, m in (("t2i", t2i), ("i2t", i2t)) if m}
    return {
        "protocol": TASKS[kind],
        "model": model,
        "t2i": t2i,
        "i2t": i2t,
        "ci95": ci95,
        "chance": {"top-1": 9.0} if kind == 2 else {},
        **facts,
    }


def paired() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    columns = [("t2i R@1", 0), ("i2t R@1", 1), ("t2i mAP@10", 2), ("i2t mAP@10", 3), ("t2i top-1", 4)]
    for a, b in [("goal", "global"), ("no-tsl", "global"), ("goal", "no-tsl"), ("goal", "base"), ("global", "base")]:
        for metric, i in columns:
            difference = FIGURES[a][i] - FIGURES[b][i]
            half = 1.6 if b != "base" else 3.4
            rows.append(
                {
                    "a": a,
                    "b": b,
                    "metric": metric,
                    "difference": difference,
                    "ci95": [difference - half, difference + half],
                }
            )
    return rows


def history(level: float, terms: tuple[str, ...], seed: int) -> list[dict[str, Any]]:
    noise = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for step in range(1, 601):
        fall = level * (0.35 + math.exp(-step / 130)) + noise.gauss(0, 0.06)
        lr = 5e-6 * (1 + math.cos(math.pi * step / 600)) / 2
        row: dict[str, Any] = {"step": step, "epoch": step / 60, "loss": fall * len(terms) * 0.6, "lr": lr}
        row |= {term: fall * (0.3 if term == "tsl" else 1) for term in terms}
        if step % 60 == 0:
            row["retrieval"] = 58 - 27 * math.exp(-step / 170) + level + noise.gauss(0, 0.5)
        rows.append(row)
    return rows


def sample(**changes: Any) -> ReportInput:
    """The full made-up report; `changes` replace fields."""
    sentence = "A red kettle stands near the left edge, its lid slightly open and catching the light."
    first = "This is a wide view of a room with several coloured things on a textured floor. "
    last = " Behind it a green lamp leans over a stack of books, and to the right is a blue bicycle without a saddle."
    caption = first + sentence + last
    span = (len(first), len(first) + len(sentence))
    pictures = [picture(i, (320, 240) if i % 2 else (260, 300)) for i in range(12)]
    pairs = [
        PairExample(
            image=pictures[i], caption=caption, sentence=span, region=(30, 50, 132, 150), similarity=0.31 - i * 0.01,
            source=["detector", "fixed", "proposal", "given"][i % 4], truth=(40, 60, 120, 140) if i % 2 == 0 else None,
        )
        for i in range(6)
    ]  # fmt: skip

    def example(number: int, ranks: dict[str, int]) -> RetrievalExample:
        hits = {
            m: [
                Hit(
                    image=pictures[number if i == rank - 1 else (number + i + 3) % 12],
                    score=0.41 - 0.02 * i,
                    correct=i == rank - 1,
                )
                for i in range(5)
            ]
            for m, rank in ranks.items()
        }
        query = f"A {SHAPES[number % 6]} beside a {SHAPES[(number + 2) % 6]}. " + caption
        return RetrievalExample(query=query, truth=pictures[number], ranks=ranks, hits=hits)

    fields: dict[str, Any] = {
        "title": "Does token similarity help on long captions?",
        "models": MODELS,
        "results": {
            m: {name: eval_result(m, kind) for kind, name in enumerate(TASKS)} for m in MODELS
        },
        "paired": paired(),
        "histories": {
            "global": history(1.0, ("global",), 1),
            "no-tsl": history(1.05, ("global", "local"), 2),
            "goal": history(1.1, ("global", "local", "tsl"), 3),
        },
        "match": {
            "samples": 2000, "paired": 1962, "skipped": {"zero-byte image": 3, "no region": 35},
            "skipped_samples": [{"id": "a17", "reason": "the image file is empty"}], "regions_per_image": 17.4,
            "images_per_second": 42.6, "pair_precision": 0.613, "chance": 0.071, "proposal_recall": 0.884,
            "sources": {"proposal": 1490, "fixed": 472}, "pair_iou50": 0.402,
        },
        "pairs": pairs,
        "retrievals": [
            example(0, {"base": 38, "global": 12, "goal": 1}),
            example(1, {"base": 4, "global": 3, "goal": 1}),
            example(2, {"base": 9, "global": 2, "goal": 57}),
            example(3, {"base": 61, "global": 33, "goal": 33}),
        ],
        "data": DataFacts(
            splits={"train": 2000, "val": 200, "test": 400}, tokens_mean=131.2, tokens_median=127,
            tokens_max=246, share_over_77=0.93,
        ),
        "commands": ["fastgoal demo --full --out demo", "fastgoal train demo/pairs --model tiny --out demo/goal"],
        "versions": {"fastgoal": "0.1.0", "torch": "2.13.0+cpu", "transformers": "5.23.0"},
        "hardware": "2 CPU cores, 24 GiB",
        "stages": {"scenes": 8.4, "match": 47.1, "train": 612.0, "evaluate": 21.5},
        "settings": {"epochs": 10, "batch_size": 64, "learning_rate": 5e-6, "text_tokens": 248, "seed": 0},
    }  # fmt: skip
    return ReportInput(**(fields | changes))


if __name__ == "__main__":
    print(render(sample(), sys.argv[1] if len(sys.argv) > 1 else "report-sample").page)
