"""How good the local pairs are that each source of regions leads to, where the truth is known: on scenes.

    python benchmarks/pairs.py [--scenes 96] [--matcher M] [--top 3] [--json FILE]

For FLISM with the fixed boxes only, with proposals only and with both, and for LISM's rule (the whole image is a
candidate, and a sample whose best pair is with it is discarded) with proposals. Precision is of the first pair, as
`fastgoal match` reports it, and of the first few; chance is a random sentence with a random region.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import Source, open_source
from fastgoal.matching import MatchSettings, Rule, match, precision
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions import make_proposer

VARIANTS: dict[str, tuple[str, Rule]] = {
    "FLISM, fixed only": ("fixed", "flism"),
    "FLISM, proposals only": ("proposals", "flism"),
    "FLISM, both": ("flism", "flism"),
    "LISM's rule, proposals": ("proposals", "lism"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant. Shares in 0..1; those of precision are None where no pair is left."""

    name: str
    precision: float | None
    precision_top: float | None
    chance: float | None
    recall: float | None
    paired: float
    regions: float


def measure(name: str, source: Source, encoder: DualEncoder, folder: Path, top: int) -> Row:
    regions, rule = VARIANTS[name]
    report = match(source, encoder, make_proposer(regions), folder, MatchSettings(rule=rule))
    truth = {sample.id: sample.regions for sample in source}
    several = precision(PairsTable.open(folder), truth, top)
    return Row(
        name=name,
        precision=report.pair_precision,
        precision_top=several[0] if several else None,
        chance=report.chance,
        recall=report.proposal_recall,
        paired=report.paired / report.samples,
        regions=report.regions_per_image,
    )


def table(rows: Sequence[Row], top: int) -> str:
    lines = [
        f"| regions and rule | precision | first {top} | chance | recall | samples with a pair | regions |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = (row.precision, row.precision_top, row.chance, row.recall, row.paired)
        cells = " | ".join("-" if share is None else f"{share:.1%}" for share in shares)
        lines.append(f"| {row.name} | {cells} | {row.regions:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--matcher", default="tiny", help="a CLIP: local folder, hub id or tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--top", type=int, default=3, help="pairs per sample for the second precision")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    encoder = DualEncoder.load(options.matcher, device=options.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder / "scenes", ScenesConfig(train=options.scenes, val=0, test=0, seed=options.seed))
        source = open_source(folder / "scenes" / "train")
        rows = [
            measure(name, source, encoder, folder / str(number), options.top) for number, name in enumerate(VARIANTS)
        ]
    print(f"{options.scenes} scenes, seed {options.seed}, matcher {options.matcher} ({encoder.fingerprint})\n")
    print(table(rows, options.top))
    if options.json:
        shown = {"scenes": options.scenes, "seed": options.seed, "matcher": encoder.fingerprint, "top": options.top}
        options.json.write_text(json.dumps(shown | {"rows": [asdict(row) for row in rows]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
