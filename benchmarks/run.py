"""Speed and memory of the stages on this machine, beside what bounds them.

    python benchmarks/run.py [--scenes 200] [--rounds 5]

Rates are medians over rounds; a stage and its bound alternate within a round, so their ratio holds on a noisy machine.
"""

import argparse
import json
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.sentences import split_sentences
from fastgoal.data.source import open_source
from fastgoal.embed import embed_images, embed_texts
from fastgoal.matching import MatchSettings, match
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions import make_proposer


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def scenes_rate(folder: Path, count: int, rounds: int) -> list[float]:
    """Scenes per second, drawn and written as JPEG by one thread."""
    config = ScenesConfig(train=count, val=0, test=0)
    return [
        count / seconds(lambda r=r: write_scenes(folder / str(r), replace(config, seed=r), progress=False))
        for r in range(rounds)
    ]


def matching_rates(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Images per second of FLISM matching with `tiny`, and of the bare forward passes that it needs."""
    source, encoder, proposer = open_source(folder), DualEncoder.load("tiny"), make_proposer("flism")
    match(source, encoder, proposer, folder / "warm", progress=False)
    table = PairsTable.open(folder / "warm")
    crops = np.zeros((sum(len(row.regions) for row in table), encoder.fit.size, encoder.fit.size, 3), np.uint8)
    texts = [row.caption[a:b] for row in table for a, b in split_sentences(row.caption)]

    def bare() -> None:
        embed_images(encoder, list(crops), batch=32)
        embed_texts(encoder, texts, batch=32)

    def ours_once() -> None:
        match(source, encoder, proposer, folder / "again", MatchSettings(overwrite=True), progress=False)

    ours, bounds = [], []
    for _ in range(rounds):
        ours.append(len(source) / seconds(ours_once))
        bounds.append(len(source) / seconds(bare))
    return ours, bounds


def row(name: str, ours: list[float], unit: str, bound: list[float] | None = None) -> dict[str, object]:
    ratios = [a / b for a, b in zip(ours, bound, strict=True)] if bound else []
    return {
        "name": name,
        "ours": statistics.median(ours),
        "unit": unit,
        "bound": statistics.median(bound) if bound else None,
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)} if bound else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            row(
                "scenes, drawn and written, one thread", scenes_rate(folder, options.scenes, options.rounds), "scenes/s"
            )
        ]
        ours, bound = matching_rates(folder / "0" / "train", options.rounds)
        rows.append(row("FLISM matching with tiny (bound: its forward passes alone)", ours, "images/s", bound))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {
        "rows": rows,
        "peak_memory_mib": round(memory),
        "hardware": f"{torch.get_num_threads()} threads, {platform.machine()}",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }
    for one in rows:
        against = f"  ({one['ratio']['median']:.2f} of the bound, {one['bound']:.1f})" if one["ratio"] else ""
        print(f"{one['name']}: {one['ours']:.1f} {one['unit']}{against}")
    print(f"peak memory {memory:.0f} MiB; {result['hardware']}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
