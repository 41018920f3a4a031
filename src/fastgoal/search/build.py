"""Making an index, and bringing it up to date with its images.

    mend -> plan -> embed and commit, batch by batch -> delete what is gone -> tidy -> compare

Interrupted or killed at any moment, the same command continues: what was committed is there, once, and what a kill left
between the two tables is nobody's and deleted (see `tables`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fastgoal.captioning.pictures import Pictures
from fastgoal.data.source import tally
from fastgoal.errors import ConfigError, DataError
from fastgoal.files import ASIDE
from fastgoal.matching.matcher import batch_for
from fastgoal.models.retriever import Retriever
from fastgoal.progress import Progress
from fastgoal.regions.region import Proposer
from fastgoal.remote.place import Place, place_of
from fastgoal.search.embedding import Embedder, Engine, here
from fastgoal.search.lock import LOCK, one_writer
from fastgoal.search.manifest import ANEW, MANIFEST, Manifest, model_facts, seen_from
from fastgoal.search.neighbours import THRESHOLD, ann_recall, near_duplicates
from fastgoal.search.plan import Plan, known_images, make_plan
from fastgoal.search.report import IndexReport
from fastgoal.search.stores import MEMORY_MIB
from fastgoal.search.tables import IMAGES, REGIONS, Table, Tables
from fastgoal.search.writer import IndexWriter


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """How to index.

    regions: the name of the source of regions, for the manifest; None: whole images only.
    batch: views per forward pass; None: 32 on a CPU, else 256.
    commit: images per commit: the most that a kill loses.
    workers: threads that read and decode while the model computes.
    memory_mib: vectors beyond this get an approximate index. ann: they get one whatever their number, made anew.
    duplicates: cosine from which two images are near-duplicates; None does not look for any.
    overwrite: drop an index that is already there.
    """

    regions: str | None = None
    batch: int | None = None
    commit: int = 512
    workers: int = 2
    memory_mib: float = MEMORY_MIB
    ann: bool = False
    duplicates: float | None = THRESHOLD
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name, least in {"batch": 1, "commit": 1, "workers": 0}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{value} is too small", where=name, mend=f"Use at least {least}.")
        if self.duplicates is not None and not -1 <= self.duplicates <= 1:
            mend = "Use a number up to 1, or 0 to look for none."
            raise ConfigError(f"{self.duplicates} is no cosine", where="duplicates", mend=mend)


def index(
    pictures: Pictures,
    encoder: Retriever,
    uri: str | Path,
    settings: IndexSettings | None = None,
    *,
    proposer: Proposer | None = None,
    progress: bool = True,
    engine: Engine = here,
) -> IndexReport:
    """Bring the index at `uri` to hold these images; run again after an interruption, it continues.

    Args:
        uri: a folder, or a URL in object storage.
        proposer: gives the regions; None: whole images only.
        progress: show a bar on standard error.
        engine: who computes: this process, or a cluster.

    Raises:
        DataError: `uri` holds something else, an index made differently or of other images, or another process writes
            to it; no image can be read; the disk or the store refuses.
        ModelError: the index was made by another model; embeddings that are not finite.
        ConfigError: a model with several vectors per image; LanceDB is not installed.
    """
    settings = settings or IndexSettings()
    place, begin = place_of(uri), time.perf_counter()
    batch = settings.batch or batch_for(encoder.device)
    embedder = Embedder(encoder, pictures.images, proposer, batch=batch, workers=settings.workers)
    with one_writer(place):
        fresh = _manifest(place, pictures, embedder, settings)
        before = _begin(place, fresh, settings)
        writer = IndexWriter(Tables(place), fresh.dim)
        known = known_images(writer.images)
        plan = make_plan(pictures, known)
        _expect_same_images(plan, known, before, fresh, place)
        if plan.todo or plan.gone:
            fresh.write(place)
        with Progress(plan.images, "index", "image", done=plan.unchanged, show=progress) as bar:
            size = settings.commit
            batches = [plan.todo[start : start + size] for start in range(0, len(plan.todo), size)]
            for made in engine(batches, embedder, bar):
                writer.add(made)
        _expect_some(plan, writer, before, place)
        writer.delete([known[name][0] for name in plan.gone])
        writer.delete([look.todo.known for look in writer.left_out if look.todo.known is not None])
        writer.tidy()
        _approximate(writer.images, fresh, settings)
        replace(fresh, complete=True).write(place)
        seconds = time.perf_counter() - begin
        return _report(plan, writer, before, settings, encoder, seconds)


def _manifest(place: Place, pictures: Pictures, embedder: Embedder, settings: IndexSettings) -> Manifest:
    """What is about to be written."""
    own = embedder.fingerprints
    return Manifest(
        **model_facts(embedder.encoder.name, place),
        fingerprint=str(own["model"]),
        dim=embedder.encoder.dim,
        regions=settings.regions,
        proposer=own["source of regions"],
        root=seen_from(place, pictures.root),
    )


def _begin(place: Place, fresh: Manifest, settings: IndexSettings) -> Manifest:
    """The manifest of the index that is there, which has to agree with the fresh one; else this, written."""
    found = None if settings.overwrite else Manifest.find(place)
    if found is not None:
        mend = f"Index with {found.model} again. {ANEW}"
        found.expect_model(fresh.fingerprint, fresh.model, place, mend=mend)
        if (found.regions, found.proposer) != (fresh.regions, fresh.proposer):
            what = f"made with other regions: they were {found.regions or 'none'}, now {fresh.regions or 'none'}"
            raise DataError(what, where=place, mend=f"Use the same --regions (and models). {ANEW}")
        return found
    if isinstance(place, Path) and not (place / MANIFEST).exists():
        _refuse_foreign(place, (LOCK, *(f"{name}.lance" for name in (IMAGES, REGIONS) if settings.overwrite)))
    if settings.overwrite:
        Tables(place).drop()
    fresh.write(place)
    return fresh


def _refuse_foreign(folder: Path, ours: Sequence[str]) -> None:
    others = (path for path in sorted(folder.iterdir()) if path.name not in ours and path.suffix != ASIDE)
    if foreign := next(others, None):
        mend = "Choose an empty or new folder for the index."
        raise DataError(f"the folder is not empty (it holds {foreign.name})", where=folder, mend=mend)


def _expect_same_images(
    plan: Plan, known: dict[str, tuple[int, int]], before: Manifest, fresh: Manifest, place: Place
) -> None:
    """An index follows its images. That most of them are gone and the folder is another means other images."""
    if 2 * len(plan.gone) > len(known) and before.root != fresh.root:
        what = f"the index is of other images ({len(plan.gone):,} of its {len(known):,} are not among these)"
        raise DataError(what, where=place, mend=ANEW)


def _expect_some(plan: Plan, writer: IndexWriter, before: Manifest, place: Place) -> None:
    """Images none of which can be read are on a disk that is not there rather than gone."""
    if plan.todo and len(writer.left_out) == len(plan.todo) and not plan.unchanged:
        before.write(place)  # nothing was changed
        first = writer.left_out[0].error
        what = f"0 of {len(plan.todo):,} images can be read"
        raise DataError(what, mend=f"The first: {first}")


def _approximate(images: Table, manifest: Manifest, settings: IndexSettings) -> None:
    """Give the vectors an approximate index where they are many."""
    large = 4 * len(images) * manifest.dim > settings.memory_mib * 2**20
    if len(images) and (settings.ann or (large and not images.indexed)):
        images.build_ann(manifest.dim)


def _report(
    plan: Plan, writer: IndexWriter, before: Manifest, settings: IndexSettings, encoder: Retriever, seconds: float
) -> IndexReport:
    errors = [*plan.problems, *(look.error for look in writer.left_out if look.error is not None)]
    images, duplicates = writer.images, None
    if settings.duplicates:
        fresh = writer.fresh if before.complete else None  # what an interrupted run added was not compared yet
        duplicates = near_duplicates(images, writer.dim, fresh, settings.duplicates, encoder.device)
    return IndexReport(
        images=len(images),
        regions=len(writer.regions),
        added=writer.added,
        changed=writer.changed,
        unchanged=plan.unchanged + writer.same,
        deleted=writer.deleted,
        skipped=tally(errors),
        mended=writer.mended,
        duplicates=duplicates,
        ann=ann_recall(images, writer.dim) if images.indexed else None,
        model=before.model,
        fingerprint=before.fingerprint,
        dim=before.dim,
        seconds=seconds,
        images_per_second=(writer.added + writer.changed) / seconds,
        workers=len(writer.workers - {None}) or None,
    )
