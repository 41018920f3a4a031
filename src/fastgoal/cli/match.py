"""`fastgoal match`."""

from functools import partial
from pathlib import Path
from typing import Literal

from fastgoal.cli.common import (
    ALONE,
    USUAL,
    ColumnNames,
    Data,
    Detector,
    Device,
    Engine,
    Json,
    Limit,
    OfCluster,
    Root,
    Sam,
    quiet_libraries,
    write_result,
)
from fastgoal.cluster.matching import RayEngine
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError
from fastgoal.matching import Embed, MatchReport, MatchSettings, Rule, here, tabulate, usual_rule
from fastgoal.matching import match as match_pairs
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions import Proposer, make_proposer


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
    engine: Engine = "local",
    cluster: OfCluster = ALONE,
    shard_rows: int = 512,
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
            caption's own words. `none` writes a table without regions and pairs, for `train --method global`: no
            model is loaded and of images only the headers are read. Default: `flism`, or `given` with `--rule true`.
        matcher: the CLIP that compares sentences with regions.
        rule: how pairs are chosen; `lism` discards samples whose best candidate is the whole image, `true` takes the
            pairs that came with the data. Default: `lism` with `--regions lism`, else `flism`.
        embed: `crops` encodes every region by itself; `dense` encodes each image once and reads its regions out of the
            patches: much less work, but no better than chance unless the matcher knows where things are.
        language: of the captions, for cutting sentences.
        batch: crops (with `--embed dense`: images) or sentences per forward pass (default: 32 on a CPU, 256 on a GPU).
        cache: folder that keeps the embeddings of crops and sentences: matching the same images again with other
            settings encodes only what is new.
        engine: `ray` spreads the work over a cluster (docs/cluster.md); the table is the same, and either continues
            what the other began.
        shard_rows: samples per shard of the table: the most that a kill loses, and what a worker gets at a time.
        overwrite: drop a table that is already there.
    """
    quiet_libraries()
    asked = cluster.cluster(engine, device)
    source = open_source(data, root=root, limit=limit, columns=columns.given)
    if regions == "none":
        _refuse_unused(detector=detector, sam=sam, rule=rule, cache=cache, engine=asked and "ray")
        report = tabulate(source, out, language=language, overwrite=overwrite)
    else:
        regions = regions or ("given" if rule == "true" else "flism")
        load = partial(_load, matcher, regions, detector, sam)
        encoder, proposer = load(device)
        rule = rule or usual_rule(regions)
        settings = MatchSettings(
            rule=rule, embed=embed, language=language, batch=batch, shard_rows=shard_rows, overwrite=overwrite
        )
        who = here if asked is None else RayEngine(cluster=asked, load=load)
        report = match_pairs(source, encoder, proposer, out, settings, cache=cache, engine=who)
    print(describe(report))
    write_result(json, report.to_json())


def _load(
    matcher: str, regions: str, detector: str | None, sam: str | None, device: str
) -> tuple[DualEncoder, Proposer]:
    """The models of matching; a cluster's workers call it too."""
    quiet_libraries()
    encoder = DualEncoder.load(matcher, device=device)
    return encoder, make_proposer(regions, detector=detector, sam=sam, device=device)


def _refuse_unused(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            mend = "Leave it out, or choose other regions."
            raise ConfigError(f"regions 'none' have no use for a --{name}", where=name, mend=mend)


def describe(report: MatchReport) -> str:
    """A report in a few lines."""
    lines = [
        f"{report.paired:,} of {report.samples:,} samples have a local pair; "
        f"{report.regions_per_image:.1f} regions per image, {report.images_per_second:.1f} images/s"
        + (f" with {report.workers} workers." if report.workers else ".")
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
