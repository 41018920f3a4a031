"""`fastgoal index`."""

from functools import partial
from typing import Annotated, Literal

from cyclopts import Parameter

from fastgoal.captioning.pictures import open_pictures
from fastgoal.cli.common import (
    ALONE,
    SHOWN,
    USUAL,
    ColumnNames,
    Data,
    Detector,
    Device,
    Engine,
    Json,
    OfCluster,
    Root,
    quiet_libraries,
    write_result,
)
from fastgoal.errors import ConfigError
from fastgoal.models.baselines import load_retriever
from fastgoal.models.retriever import Retriever
from fastgoal.regions import Proposer, make_proposer
from fastgoal.search.build import IndexSettings
from fastgoal.search.build import index as index_pictures
from fastgoal.search.cluster import RayEngine
from fastgoal.search.embedding import here
from fastgoal.search.neighbours import THRESHOLD, Duplicates
from fastgoal.search.report import IndexReport
from fastgoal.search.stores import MEMORY_MIB

Images = Annotated[int | None, Parameter(help="Use the first N images only; others that are in the index stay.")]


def index(
    model: str,
    images: Data,
    /,
    *,
    uri: Data,
    regions: Literal["none", "fixed", "proposals", "detector", "given"] = "none",
    detector: Detector = None,
    duplicates: float = THRESHOLD,
    ann: bool = False,
    memory_mib: float = MEMORY_MIB,
    batch: int | None = None,
    commit: int = IndexSettings.commit,
    threads: int = IndexSettings.workers,
    limit: Images = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
    device: Device = "cpu",
    engine: Engine = "local",
    cluster: OfCluster = ALONE,
    overwrite: bool = False,
    json: Json = None,
) -> None:
    """Embed images into an index that `fastgoal search` and `fastgoal serve` read.

    Typed again, it brings the index up to date: new and changed images are embedded, those that are gone leave it.
    Interrupted or killed, the same command continues. Images that cannot be read are left out, counted and named.

    Example: `fastgoal index runs/goal/model photos --uri photos.index --regions proposals`

    Args:
        model: the model that embeds: a local folder, a hub id, or `tiny`. Searching takes the same.
        images: a folder of images (and folders of them), tars, or any data; captions, where there are some, are kept
            to filter by and to show.
        uri: the index: a folder, or a URL such as s3://bucket/photos.index, from which any number of services read.
        regions: embed parts of the images too, so that a search can say where a sentence is met: `fixed` (five boxes),
            `proposals` (by colour contrast), `detector`, or `given` (the boxes of the data).
        duplicates: cosine from which two images are reported as near-duplicates; 0 looks for none.
        ann: make the store's approximate index anew, however few the vectors; its recall is measured and printed.
        memory_mib: beyond so much, vectors get that index by themselves.
        batch: views per forward pass (default: 32 on a CPU, 256 on a GPU).
        commit: images that are written at once: the most that a kill loses, and what a worker gets at a time.
        threads: read and decode images while the model computes.
        engine: `ray` spreads the work over a cluster (docs/cluster.md); the index is the same.
        overwrite: drop an index that is already there.
    """
    quiet_libraries()
    asked = cluster.cluster(engine, device)
    if regions == "none" and detector is not None:
        mend = "Leave it out, or add --regions detector."
        raise ConfigError("regions 'none' have no use for a --detector", where="detector", mend=mend)
    settings = IndexSettings(
        regions=None if regions == "none" else regions,
        batch=batch,
        commit=commit,
        workers=threads,
        memory_mib=memory_mib,
        ann=ann,
        duplicates=duplicates or None,
        overwrite=overwrite,
    )
    pictures = open_pictures(images, root=root, limit=limit, columns=columns.given, captions=True)
    load = partial(_load, model, settings.regions, detector)
    encoder, proposer = load(device)
    who = here if asked is None else RayEngine(cluster=asked, load=load)
    report = index_pictures(pictures, encoder, uri, settings, proposer=proposer, engine=who)
    print(describe(report))
    write_result(json, report.to_json())


def _load(model: str, regions: str | None, detector: str | None, device: str) -> tuple[Retriever, Proposer | None]:
    """The models of indexing; a cluster's workers call it too."""
    quiet_libraries()
    encoder = load_retriever(model, device=device)
    return encoder, None if regions is None else make_proposer(regions, detector=detector, device=device)


def describe(report: IndexReport) -> str:
    """A report in a few lines."""
    with_regions = f" and {report.regions:,} regions" if report.regions else ""
    lines = [
        f"{report.images:,} images{with_regions} in the index: {report.added:,} added, {report.changed:,} changed, "
        f"{report.deleted:,} deleted, {report.unchanged:,} as they were; {report.images_per_second:.1f} images/s"
        + (f" with {report.workers} workers." if report.workers else ".")
    ]
    lines += [f"left out {count:,}: {reason}" for reason, count in report.skipped.counts.items()]
    lines += [f"    {error}" for error in report.skipped.first[:SHOWN]]
    if report.mended:
        lines.append(f"{report.mended:,} rows that an interruption had left half written were deleted first.")
    if report.duplicates is not None:
        lines += _describe_duplicates(report.duplicates)
    if report.ann is not None:
        found = report.ann
        lines.append(
            f"approximate index: recall@{found.depth} {found.recall:.3f} against comparing everything, over "
            f"{found.sample:,} images of the index"
        )
    return "\n".join(lines)


def _describe_duplicates(found: Duplicates) -> list[str]:
    if found.pairs is None:
        return ["near-duplicates were not looked for: too many images (a GPU, --device cuda, takes more)"]
    if not found.pairs:
        return [f"no near-duplicates among the {found.compared:,} images compared (cosine {found.threshold:g} or more)"]
    lines = [f"{found.pairs:,} pairs of near-duplicates (cosine {found.threshold:g} or more), such as:"]
    return lines + [f"    {twins.cosine:.3f}  {twins.a}  {twins.b}" for twins in found.first[:SHOWN]]
