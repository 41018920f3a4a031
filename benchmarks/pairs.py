"""How good the local pairs are that each source of regions leads to, where the truth is known: on scenes.

    python benchmarks/pairs.py [--scenes 96] [--matcher M] [--top 3] [--rounds 1] [--json FILE]

For FLISM with the fixed boxes only, with proposals only and with both, and for LISM's rule (the whole image is a
candidate, and a sample whose best pair is with it is discarded) with proposals; each with every region encoded by
itself (crops), and with all of them read out of one pass over the image (dense). Precision is of the first pair, as
`fastgoal match` reports it, and of the first few; chance is a random sentence with a random region. Images/s is the
median of the rounds, every other of which goes through the variants backwards.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from fastgoal.data.samples import GivenRegion
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import Source, open_source
from fastgoal.matching import Embed, MatchReport, MatchSettings, Rule, match, precision
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions import make_proposer

CHOICES: dict[str, tuple[str, Rule]] = {
    "FLISM, fixed only": ("fixed", "flism"),
    "FLISM, proposals only": ("proposals", "flism"),
    "FLISM, both": ("flism", "flism"),
    "LISM's rule, proposals": ("proposals", "lism"),
}
WAYS: tuple[Embed, ...] = ("crops", "dense")
Variant = tuple[str, Embed]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant. Shares in 0..1; those of precision are None where no pair is left. rate: images per second."""

    name: str
    precision: float | None
    precision_top: float | None
    chance: float | None
    recall: float | None
    paired: float
    regions: float
    rate: float


def measure(source: Source, encoder: DualEncoder, folder: Path, top: int, rounds: int) -> list[Row]:
    ways = WAYS if encoder.traits.projects_parts else WAYS[:1]
    variants = list(product(CHOICES, ways))
    reports: dict[Variant, list[MatchReport]] = {variant: [] for variant in variants}
    for number in range(rounds):
        for name, embed in variants[:: -1 if number % 2 else 1]:
            regions, rule = CHOICES[name]
            settings = MatchSettings(rule=rule, embed=embed, overwrite=True)
            report = match(source, encoder, make_proposer(regions), folder / f"{name}, {embed}", settings)
            reports[name, embed].append(report)
    truth = {sample.id: sample.regions for sample in source}
    return [row(f"{name}, {embed}", reports[name, embed], folder, truth, top) for name, embed in variants]


def row(
    name: str, reports: Sequence[MatchReport], folder: Path, truth: Mapping[str, Sequence[GivenRegion]], top: int
) -> Row:
    report, several = reports[0], precision(PairsTable.open(folder / name), truth, top)
    return Row(
        name=name,
        precision=report.pair_precision,
        precision_top=several[0] if several else None,
        chance=report.chance,
        recall=report.proposal_recall,
        paired=report.paired / report.samples,
        regions=report.regions_per_image,
        rate=statistics.median(each.images_per_second for each in reports),
    )


def table(rows: Sequence[Row], top: int) -> str:
    lines = [
        f"| regions and rule | precision | first {top} | chance | recall | samples with a pair | regions | images/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = (row.precision, row.precision_top, row.chance, row.recall, row.paired)
        cells = " | ".join("-" if share is None else f"{share:.1%}" for share in shares)
        lines.append(f"| {row.name} | {cells} | {row.regions:.1f} | {row.rate:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--matcher", default="tiny", help="a CLIP: local folder, hub id or tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--top", type=int, default=3, help="pairs per sample for the second precision")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each variant, for its speed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    encoder = DualEncoder.load(options.matcher, device=options.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder / "scenes", ScenesConfig(train=options.scenes, val=0, test=0, seed=options.seed))
        source = open_source(folder / "scenes" / "train")
        rows = measure(source, encoder, folder, options.top, options.rounds)
    print(f"{options.scenes} scenes, seed {options.seed}, matcher {options.matcher} ({encoder.fingerprint})\n")
    print(table(rows, options.top))
    if options.json:
        shown = {"scenes": options.scenes, "seed": options.seed, "matcher": encoder.fingerprint, "top": options.top}
        options.json.write_text(json.dumps(shown | {"rows": [asdict(row) for row in rows]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
