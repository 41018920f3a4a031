"""Matching beside the obvious way of it, and beside the bare forward passes that it cannot do without.

All sides have the same model, candidate regions, threads and scenes. The bound encodes as many crops and the same
sentences, all in memory already, in the batches that matching uses.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastgoal.bench.harness import Row, alternate, rates
from fastgoal.bench.reference import reference_match
from fastgoal.bench.workload import VIT_B_16, load
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.sentences import split_sentences
from fastgoal.data.source import Source, open_source
from fastgoal.embed import embed_images, embed_texts
from fastgoal.matching import MatchSettings, match
from fastgoal.matching.matcher import batch_for
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions import Proposer, make_proposer

BOUND = "its forward passes alone"


@dataclass(frozen=True, kw_only=True)
class MatchBench:
    """What is measured. scenes: of the comparison with the reference. large, large_scenes: a model of a usual size,
    beside its bare forward passes only (0 scenes: not measured)."""

    matcher: str = "tiny"
    scenes: int = 64
    large: str = VIT_B_16
    large_scenes: int = 4
    detector: str | None = None
    rounds: int = 5
    device: str = "cpu"

    def rows(self) -> list[Row]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_scenes(folder, ScenesConfig(train=max(self.scenes, self.large_scenes), val=0, test=0), progress=False)
            found = [self._beside_reference(folder)]
            return [*found, self._beside_bound(folder)] if self.large_scenes else found

    def _beside_reference(self, folder: Path) -> Row:
        source, encoder = open_source(folder / "train", limit=self.scenes), load(self.matcher, self.device)
        proposer = make_proposer("flism", detector=self.detector, device=self.device)
        sides = _sides(source, encoder, proposer, folder / "pairs")
        sides["reference"] = lambda: reference_match(source, encoder, proposer)
        seconds = alternate(sides, self.rounds, warm=False, device=self.device)
        name = f"matching (FLISM) with {self.matcher}, {self.scenes} scenes"
        return rates(name, "images/s", len(source), seconds, bound_is=BOUND, aim=">= 3")

    def _beside_bound(self, folder: Path) -> Row:
        source, encoder = open_source(folder / "train", limit=self.large_scenes), load(self.large, self.device)
        proposer = make_proposer("flism", detector=self.detector, device=self.device)
        sides = _sides(source, encoder, proposer, folder / "pairs-large")
        seconds = alternate(sides, min(3, self.rounds), warm=False, device=self.device)
        name = f"matching (FLISM) with {self.large}, {self.large_scenes} scenes"
        return rates(name, "images/s", len(source), seconds, bound_is=BOUND, aim=">= 0.85 of the bound")


def _sides(source: Source, encoder: DualEncoder, proposer: Proposer, out: Path) -> dict[str, Callable[[], object]]:
    """Ours and the bound. Matches once, to know the crops and sentences."""
    again = MatchSettings(overwrite=True)
    match(source, encoder, proposer, out, progress=False)
    table, batch = PairsTable.open(out), batch_for(encoder.device)
    side, crops = encoder.fit.size, sum(len(row.regions) for row in table)
    views = np.zeros((crops, side, side, 3), np.uint8)
    texts = [row.caption[start:end] for row in table for start, end in split_sentences(row.caption)]

    def bound() -> None:
        embed_images(encoder, list(views), batch=batch)
        embed_texts(encoder, texts, batch=batch)

    return {"ours": lambda: match(source, encoder, proposer, out, again, progress=False), "bound": bound}
