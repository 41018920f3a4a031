"""Making an index, and bringing it up to date with its images.

    mend -> plan -> embed and commit, batch by batch -> delete what is gone -> tidy -> compare

Interrupted or killed at any moment, the same command continues: what was committed is there, once, and what a kill left
between the two tables is nobody's and deleted (see `tables`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from fastgoal.captioning.pictures import Pictures
from fastgoal.data.source import tally
from fastgoal.errors import ConfigError, DataError
from fastgoal.files import ASIDE
from fastgoal.matching.matcher import batch_for
from fastgoal.models.retriever import Retriever
from fastgoal.progress import Progress
from fastgoal.regions.region import Proposer
from fastgoal.remote.place import Place, place_of
from fastgoal.search.embedding import Batch, Embedder, Engine, Look, here
from fastgoal.search.lock import LOCK, one_writer
from fastgoal.search.manifest import ANEW, MANIFEST, Manifest, model_facts, seen_from
from fastgoal.search.neighbours import THRESHOLD, ann_recall, near_duplicates
from fastgoal.search.plan import Plan, known_images, make_plan
from fastgoal.search.report import IndexReport
from fastgoal.search.stores import MEMORY_MIB
from fastgoal.search.tables import (
    IMAGES,
    REGIONS,
    Table,
    Tables,
    fixed_lists,
    images_schema,
    regions_schema,
    vectors_of,
)


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
        manifest = _begin(place, pictures, embedder, settings)
        writer = _Writer(Tables(place), manifest)
        known = known_images(writer.images)
        plan = make_plan(pictures, known)
        _expect_same_images(plan, known, manifest, place, pictures)
        if plan.todo or plan.gone:
            replace(manifest, complete=False).write(place)
        with Progress(plan.images, "index", "image", done=plan.unchanged, show=progress) as bar:
            size = settings.commit
            batches = [plan.todo[start : start + size] for start in range(0, len(plan.todo), size)]
            for made in engine(batches, embedder, bar):
                writer.add(made)
        _expect_some(plan, writer, manifest, place)
        writer.delete([known[name][0] for name in plan.gone])
        writer.delete([look.todo.known for look in writer.left_out if look.todo.known is not None])
        writer.tidy()
        _approximate(writer.images, manifest, settings)
        replace(manifest, complete=True).write(place)
        seconds = time.perf_counter() - begin
        return _report(plan, writer, manifest, settings, encoder, seconds)


def _begin(place: Place, pictures: Pictures, embedder: Embedder, settings: IndexSettings) -> Manifest:
    """The manifest of what is about to be written; what is there has to agree with it."""
    own = embedder.fingerprints
    fresh = Manifest(
        **model_facts(embedder.encoder.name, place),
        fingerprint=str(own["model"]),
        dim=embedder.encoder.dim,
        regions=settings.regions,
        proposer=own["source of regions"],
        root=seen_from(place, pictures.root),
    )
    found = None if settings.overwrite else Manifest.find(place)
    if settings.overwrite:
        Tables(place).drop()
    elif found is None:
        _refuse_foreign(place)
    else:
        mend = f"Index with {found.model} again. {ANEW}"
        found.expect_model(fresh.fingerprint, fresh.model, place, mend=mend)
        if (found.regions, found.proposer) != (fresh.regions, fresh.proposer):
            what = f"made with other regions: they were {found.regions or 'none'}, now {fresh.regions or 'none'}"
            raise DataError(what, where=place, mend=f"Use the same --regions (and models). {ANEW}")
    if found is None:
        fresh.write(place)
    return found or fresh


def _refuse_foreign(place: Place) -> None:
    inside = sorted(place.iterdir()) if isinstance(place, Path) and place.is_dir() else []
    if foreign := next((path for path in inside if path.name not in (LOCK, MANIFEST) and path.suffix != ASIDE), None):
        mend = "Choose an empty or new folder for the index."
        raise DataError(f"the folder is not empty (it holds {foreign.name})", where=place, mend=mend)


def _expect_same_images(
    plan: Plan, known: dict[str, tuple[int, int]], manifest: Manifest, place: Place, pictures: Pictures
) -> None:
    """An index follows its images. That most of them are gone and the folder is another means other images."""
    if 2 * len(plan.gone) > len(known) and manifest.root != seen_from(place, pictures.root):
        what = f"the index is of other images ({len(plan.gone):,} of its {len(known):,} are not in {pictures.root})"
        raise DataError(what, where=place, mend=ANEW)


def _expect_some(plan: Plan, writer: "_Writer", manifest: Manifest, place: Place) -> None:
    """Images none of which can be read are on a disk that is not there rather than gone."""
    if plan.todo and len(writer.left_out) == len(plan.todo) and not plan.unchanged:
        manifest.write(place)  # nothing was changed
        first = writer.left_out[0].error
        what = f"0 of {len(plan.todo):,} images can be read"
        raise DataError(what, mend=f"The first: {first}")


def _approximate(images: Table, manifest: Manifest, settings: IndexSettings) -> None:
    """Give the vectors an approximate index where they are many."""
    large = 4 * len(images) * manifest.dim > settings.memory_mib * 2**20
    if len(images) and (settings.ann or (large and not images.indexed)):
        images.build_ann(manifest.dim)


class _Writer:
    """The commits of one indexing, and what they were."""

    def __init__(self, tables: Tables, manifest: Manifest) -> None:
        self.images = tables.make(IMAGES, images_schema(manifest.dim))
        self.regions = tables.make(REGIONS, regions_schema(manifest.dim))
        self.dim = manifest.dim
        self.added = self.changed = self.same = self.deleted = 0
        self.left_out: list[Look] = []
        self.fresh: list[int] = []
        self.workers: set[str | None] = set()
        self.mended = self._mend()

    def _mend(self) -> int:
        """Delete what kills and a second writer left; how many rows."""
        rows = len(self.images) + len(self.regions)
        table = self.images.read(["id", "key"])
        ids = table.column("id").value_counts()
        twice = [one["values"] for one in ids.to_pylist() if one["counts"] > 1]
        if twice:
            lost = table.filter(pa.compute.is_in(table.column("id"), pa.array(twice)))
            self.images.delete_keys(lost.column("key").to_pylist())
        self._delete_orphans()
        return rows - len(self.images) - len(self.regions)

    def _delete_orphans(self) -> None:
        """Delete the regions whose image is not there, or has others now."""
        own_N, of_R = (table.read(["key"]).column("key").to_numpy() for table in (self.images, self.regions))
        self.regions.delete_keys(np.setdiff1d(of_R, own_N).tolist())

    def add(self, made: Batch) -> None:
        """Write a batch: the regions, and then the images that they belong to."""
        self.left_out += made.left_out
        self.workers.add(made.worker)
        self.regions.add(self._region_rows(made))
        rows = self._image_rows(made)
        known = [look.todo.known for look in (*made.looks, *made.same) if look.todo.known is not None]
        if known:
            self.images.put(rows)
            old = set(known) - {look.key for look in made.same}
            self.regions.delete_keys(sorted(old))
        else:
            self.images.add(rows)
        self.fresh += [look.key for look in made.looks]
        changed = sum(look.todo.known is not None for look in made.looks)
        self.added += len(made.looks) - changed
        self.changed += changed
        self.same += len(made.same)

    def _region_rows(self, made: Batch) -> pa.Table:
        owners = [look for look in made.looks for _ in look.boxes]
        box_R4 = np.array([box for look in made.looks for box in look.boxes], np.float32).reshape(-1, 4)
        columns = {
            "id": [look.todo.picture.id for look in owners],
            "key": [look.key for look in owners],
            "box": fixed_lists(box_R4),
            "vector": fixed_lists(made.region_RD),
        }
        return pa.table(columns, schema=regions_schema(self.dim))

    def _image_rows(self, made: Batch) -> pa.Table:
        looks, vector_ND = list(made.looks), made.image_ND
        if made.same:
            kept = self.images.with_keys([look.key for look in made.same], ["key", "width", "height", "vector"])
            sizes = {row["key"]: row for row in kept.drop_columns("vector").to_pylist()}
            place = {key: row for row, key in enumerate(kept.column("key").to_pylist())}
            looks += [_sized(look, sizes[look.key]) for look in made.same]
            order = [place[look.key] for look in made.same]
            vector_ND = np.concatenate([vector_ND, vectors_of(kept, self.dim)[order]])
        columns = {
            "id": [look.todo.picture.id for look in looks],
            "image": [look.todo.picture.uri for look in looks],
            "width": [look.width for look in looks],
            "height": [look.height for look in looks],
            "caption": [look.todo.picture.caption for look in looks],
            "bytes": [look.size for look in looks],
            "key": [look.key for look in looks],
            "state": [look.todo.state for look in looks],
            "vector": fixed_lists(vector_ND),
        }
        return pa.table(columns, schema=images_schema(self.dim))

    def delete(self, keys: Sequence[int]) -> None:
        """Delete images, and then their regions."""
        self.images.delete_keys(keys)
        self.regions.delete_keys(keys)
        self.deleted += len(keys)

    def tidy(self) -> None:
        """Make few files of many small ones."""
        self.images.tidy()
        self.regions.tidy()


def _sized(look: Look, row: dict[str, int]) -> Look:
    return replace(look, width=row["width"], height=row["height"])


def _report(
    plan: Plan, writer: _Writer, manifest: Manifest, settings: IndexSettings, encoder: Retriever, seconds: float
) -> IndexReport:
    errors = [*plan.problems, *(look.error for look in writer.left_out if look.error is not None)]
    images, duplicates = writer.images, None
    if settings.duplicates:
        fresh = writer.fresh if manifest.complete else None  # what an interrupted run added was not compared yet
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
        model=manifest.model,
        fingerprint=manifest.fingerprint,
        dim=manifest.dim,
        seconds=seconds,
        images_per_second=(writer.added + writer.changed) / seconds,
        workers=len(writer.workers - {None}) or None,
    )
