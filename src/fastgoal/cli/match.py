"""`fastgoal match`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from fastgoal.cli.common import (
    USUAL,
    ColumnNames,
    Data,
    Detector,
    Device,
    Json,
    Limit,
    Root,
    Sam,
    quiet_libraries,
    write_result,
)
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError
from fastgoal.matching import Embed, MatchReport, MatchSettings, Rule, list_unmatched, usual_rule
from fastgoal.matching import match as match_pairs
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions import make_proposer


def match(
    data: Data,
    /,
    *,
    out: Path,
    regions: Literal["flism", "lism", "detector", "open-vocabulary", "proposals", "fixed", "given", "none"]
    | None = None,
    detector: Detector = None,
    sam: Sam = None,
    matcher: str = "tiny",
    rule: Rule | None = None,
    embed: Embed = "crops",
    language: str = "en",
    batch: int | None = None,
    limit: Limit = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
    device: Device = "cpu",
    cache: Path | None = None,
    overwrite: bool = False,
    json: Json = None,
) -> None:
    """Find which sentence of each caption says what about which region of its image.

    Writes a pairs table (Parquet) with the sentences, the regions and the local pairs of every sample. Interrupted, the
    same command continues. Images that cannot be read are skipped, counted and named.

    Example: `fastgoal match scenes/train --out pairs --matcher tiny`

    Args:
        data: images with a `.txt` each, `captions.jsonl` or `.csv`, Parquet, WebDataset tars, or a `datasets` folder.
        out: folder of the pairs table.
        regions: where candidates come from: `flism` is a detector (or, without one, proposals by colour contrast) and
            five fixed boxes; `lism` is SAM's masks of everything; `open-vocabulary` is an OWLv2 that looks for each
            caption's own words; `none` matches nothing and opens no image, for
            `train --method global`. Default: `flism`, or `given` with `--rule true`.
        matcher: the CLIP that compares sentences with regions.
        rule: how pairs are chosen; `lism` discards samples whose best candidate is the whole image, `true` takes the
            pairs that came with the data. Default: `lism` with `--regions lism`, else `flism`.
        embed: `crops` encodes every region by itself; `dense` encodes each image once and reads its regions out of the
            patches: much less work, but no better than chance unless the matcher knows where things are.
        language: of the captions, for cutting sentences.
        batch: crops (with `--embed dense`: images) or sentences per forward pass (default: 32 on a CPU, 256 on a GPU).
        cache: folder that keeps the embeddings of crops and sentences: matching the same images again with other
            settings encodes only what is new.
        overwrite: drop a table that is already there.
    """
    quiet_libraries()
    source = open_source(data, root=root, limit=limit, columns=columns.given)
    if regions == "none":
        _expect_no_matching({"--rule": rule, "--cache": cache, "--detector": detector, "--sam": sam, "--batch": batch})
        _tell(list_unmatched(source, out, language=language, overwrite=overwrite), json)
        return
    encoder = DualEncoder.load(matcher, device=device)
    regions = regions or ("given" if rule == "true" else "flism")
    proposer = make_proposer(regions, detector=detector, sam=sam, device=device)
    rule = rule or usual_rule(regions)
    settings = MatchSettings(rule=rule, embed=embed, language=language, batch=batch, overwrite=overwrite)
    report = match_pairs(source, encoder, proposer, out, settings, cache=cache)
    _tell(report, json)


def _expect_no_matching(given: Mapping[str, object]) -> None:
    if asked := [name for name, value in given.items() if value is not None]:
        mend = "Leave it out, or choose regions to match."
        raise ConfigError("nothing is matched with --regions none", where=", ".join(asked), mend=mend)


def _tell(report: MatchReport, json: Path | None) -> None:
    print(describe(report))
    write_result(json, report.to_json())


def describe(report: MatchReport) -> str:
    """A report in a few lines."""
    lines = [
        f"{report.paired:,} of {report.samples:,} samples have a local pair; "
        f"{report.regions_per_image:.1f} regions per image, {report.images_per_second:.1f} images/s."
    ]
    lines += [f"without a pair {count}: {reason}" for reason, count in report.unpaired.items()]
    lines += [f"skipped {count}: {reason}" for reason, count in report.skipped.items()]
    if report.pair_precision is not None:
        lines.append(
            f"pair precision {report.pair_precision:.1%} (chance {report.chance or 0:.1%}), "
            f"proposal recall {report.proposal_recall or 0:.1%}, sources {dict(report.sources or {})}"
        )
    if report.embeddings:
        lines.append("embeddings: {found:,} from the cache, {made:,} made".format(**report.embeddings))
    if report.stages:
        lines.append("candidates left: " + ", ".join(f"{name} {count:,}" for name, count in report.stages.items()))
    return "\n".join(lines)
