"""The pairs table: what matching found, one row per sample, as Parquet shards beside a JSON manifest.

    manifest.json          schema version, what the rows were made from, counts, shards with checksums, the data's root
    shard-00000.parquet    rows in the order of the data; any Parquet reader opens them

The one idea: a shard is finished or absent. Shards and manifest are written aside and renamed, and only what the
manifest lists counts, so a killed run loses at most the shard it was filling. Columns: `id`, `image`, `width`,
`height`, `caption`, `sentences` (list of `[start, end]`), `regions` (list of box, source, score, label), `pairs` (list
of sentence, region, similarity, best first), `skip`.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate, groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from fastgoal.data.samples import Span
from fastgoal.data.store import ImageStore
from fastgoal.errors import DataError
from fastgoal.files import ASIDE, make_folder, write_file, writing
from fastgoal.regions.region import Region
from fastgoal.remote.place import Place, Url, inside, place_of, relative
from fastgoal.remote.shelf import forget, local, opened
from fastgoal.remote.stores import is_file

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
_OVERWRITE = "Use the same settings, another folder, or --overwrite to start anew."
_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("image", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("sentences", pa.list_(pa.list_(pa.int32()))),
        pa.field(
            "regions",
            pa.list_(
                pa.struct(
                    {"box": pa.list_(pa.float64()), "source": pa.string(), "score": pa.float64(), "label": pa.string()}
                )
            ),
        ),
        pa.field(
            "pairs", pa.list_(pa.struct({"sentence": pa.int32(), "region": pa.int32(), "similarity": pa.float64()}))
        ),
        pa.field("skip", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalPair:
    """One sentence with one region, as indices into the row's lists, and their cosine similarity."""

    sentence: int
    region: int
    similarity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsRow:
    """One sample with what matching found in it.

    `image` is relative to the table's root; `width` and `height` are pixels of the upright image (0 if it could not be
    read); `pairs` are best first; `skip` is the reason why the sample cannot be used, or None.
    """

    id: str
    image: str
    width: int
    height: int
    caption: str
    sentences: tuple[Span, ...] = ()
    regions: tuple[Region, ...] = ()
    pairs: tuple[LocalPair, ...] = ()
    skip: str | None = None


_UNSAID = {"embed": "crops"}
"""What a setting is where an origin does not name it: tables are older than the choice."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the rows depend on: two runs may share a folder only if all of it is equal."""

    data: str = ""
    matcher: str = ""
    detector: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, other: "Origin") -> list[str]:
        """`name: mine, then other's` for everything that differs."""
        mine, theirs = ({**asdict(origin), **_UNSAID, **origin.settings} for origin in (self, other))
        names = [name for name in mine | theirs if name != "settings" and mine.get(name) != theirs.get(name)]
        return [f"{name} was {mine.get(name)!r}, now {theirs.get(name)!r}" for name in names]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One finished Parquet file of the table."""

    file: str
    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What `manifest.json` holds. `root` is the data's folder relative to the table's, or a URL; `counts` are over its
    shards."""

    schema: int = SCHEMA_VERSION
    origin: Origin
    root: str
    counts: Mapping[str, int]
    shards: tuple[Shard, ...] = ()
    complete: bool = False

    @classmethod
    def read(cls, folder: Place) -> "Manifest":
        path = folder / MANIFEST
        if not (path.is_file() if isinstance(path, Path) else is_file(path)):
            raise DataError("not a pairs table", where=folder, mend="Make one with `fastgoal match DATA --out PAIRS`.")
        if isinstance(path, Url):
            forget(path)  # it may have been matched anew
        try:
            record = json.loads(opened(path, Path.read_bytes))
            schema = record["schema"]
            if schema != SCHEMA_VERSION:
                mend = "Match again into another folder, or use the version of fastgoal that wrote it."
                raise DataError(f"schema version {schema}, but {SCHEMA_VERSION} is read here", where=path, mend=mend)
            shards = tuple(Shard(**shard) for shard in record.pop("shards"))
            return cls(**{**record, "origin": Origin(**record["origin"]), "shards": shards})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"not the manifest of a pairs table ({error})",
                where=path,
                mend="Choose another folder, or delete this one.",
            ) from None

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, default=str)
        write_file(folder / MANIFEST, text)


class PairsWriter:
    """Writes a pairs table shard by shard; opening a folder that an interrupted run left continues it.

    Use as a context manager: leaving it normally writes the last shard and marks the table complete; leaving it by an
    exception keeps the finished shards only.

    Args:
        folder: the table's folder; created if absent.
        root: the folder that the rows' images are relative to, here or elsewhere.
        origin: what the rows are made from; must equal that of the shards already there.
        shard_rows: rows per shard, so the most that a kill can lose.
        overwrite: drop what is there.

    Raises:
        DataError: the folder holds something else, shards of another origin, or damaged shards.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        root: str | Path,
        origin: Origin | None = None,
        shard_rows: int = 512,
        overwrite: bool = False,
    ) -> None:
        self.folder, self._shard_rows = Path(folder), shard_rows
        self._pending: list[PairsRow] = []
        make_folder(self.folder)
        place = place_of(root)
        seen = relative(place.resolve(), self.folder.resolve()) if isinstance(place, Path) else str(place)
        fresh = Manifest(origin=origin or Origin(), root=seen, counts={"samples": 0, "paired": 0, "skipped": 0})
        self.manifest = replace(self._continued(fresh, overwrite), root=seen)
        self.manifest.write(self.folder)

    def _continued(self, fresh: Manifest, overwrite: bool) -> Manifest:
        """The manifest to go on from: the one already here if it is of the same making, else a fresh one."""
        if not (self.folder / MANIFEST).exists():
            if foreign := next((path for path in self.folder.iterdir() if path.suffix != ASIDE), None):
                mend = "Choose an empty or new folder for the pairs table."
                raise DataError(f"the folder is not empty (it holds {foreign.name})", where=self.folder, mend=mend)
            return fresh
        found = Manifest.read(self.folder)
        if overwrite:
            fresh.write(self.folder)  # first, so that no moment lists shards that are gone
            self._drop_unlisted(fresh)
            return fresh
        plain = replace(fresh.origin, settings=json.loads(json.dumps(dict(fresh.origin.settings), default=str)))
        if differences := found.origin.differences(plain):
            raise DataError(f"made differently: {'; '.join(differences)}", where=self.folder, mend=_OVERWRITE)
        _verify(self.folder, found.shards)
        self._drop_unlisted(found)
        return found

    def _drop_unlisted(self, manifest: Manifest) -> None:
        """Delete shards that are not of this table: of one that was overwritten, or finished just before a kill."""
        listed = {shard.file for shard in manifest.shards}
        with writing(self.folder):
            for path in self.folder.glob("shard-[0-9]*.parquet"):
                if path.name not in listed:
                    path.unlink()

    @property
    def done(self) -> int:
        """Rows in finished shards."""
        return self.manifest.counts["samples"]

    def add(self, row: PairsRow) -> None:
        self._pending.append(row)
        if len(self._pending) >= self._shard_rows:
            self.flush()

    def flush(self) -> None:
        """Finish a shard with the rows added since the last one."""
        if not self._pending:
            return
        data = _parquet(self._pending)
        name = f"shard-{len(self.manifest.shards):05d}.parquet"
        write_file(self.folder / name, data)
        shard = Shard(file=name, rows=len(self._pending), sha256=hashlib.sha256(data).hexdigest())
        added = {
            "samples": len(self._pending),
            "paired": sum(bool(row.pairs) for row in self._pending),
            "skipped": sum(row.skip is not None for row in self._pending),
        }
        counts = {name: self.manifest.counts[name] + count for name, count in added.items()}
        self.manifest = replace(self.manifest, shards=(*self.manifest.shards, shard), counts=counts)
        self.manifest.write(self.folder)
        self._pending = []

    def close(self) -> None:
        """Write what is left and mark the table complete."""
        self.flush()
        self.manifest = replace(self.manifest, complete=True)
        self.manifest.write(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


class PairsTable:
    """A finished pairs table, read by index or in order. Shards are read when first needed and stay in memory.

    Args:
        folder: of the table, here or elsewhere. root: of its images.
        keep: how many shards stay in memory, those used last; None: all.
    """

    def __init__(self, folder: Place, manifest: Manifest, root: Place, keep: int | None = None) -> None:
        self.folder, self.manifest, self.root, self.keep = folder, manifest, root, keep
        self.starts = list(accumulate((shard.rows for shard in manifest.shards), initial=0))
        self._shards: dict[int, pa.Table] = {}

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        root: str | Path | None = None,
        allow_incomplete: bool = False,
        keep: int | None = None,
    ) -> "PairsTable":
        """Open a table.

        Args:
            path: its folder, or the URL of one.
            root: folder of the images, if the data was moved since; default: as the manifest says.
            allow_incomplete: read the finished shards of an interrupted run.
            keep: shards that stay in memory; default: all.

        Raises:
            DataError: no table, another schema version, or an interrupted run.
        """
        folder = place_of(path)
        manifest = Manifest.read(folder)
        if not (manifest.complete or allow_incomplete):
            done = manifest.counts["samples"]
            mend = "Run the same `fastgoal match` again; it continues."
            raise DataError(f"matching was interrupted after {done} samples", where=folder, mend=mend)
        return cls(folder, manifest, place_of(root) if root is not None else inside(folder, manifest.root), keep)

    def keeping(self, keep: int | None) -> "PairsTable":
        """The same table with another number of shards in memory."""
        return PairsTable(self.folder, self.manifest, self.root, keep)

    def __getstate__(self) -> dict[str, Any]:
        """Another process reads the files itself."""
        return {**vars(self), "_shards": {}}

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> PairsRow:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        number = bisect_right(self.starts, position) - 1
        return _row(self._shard(number).slice(position - self.starts[number], 1).to_pylist()[0])

    def __iter__(self) -> Iterator[PairsRow]:
        for number in range(len(self.manifest.shards)):
            yield from map(_row, self._shard(number).to_pylist())

    def captions(self) -> Iterator[str]:
        """The caption of each row, in order, without making the rows."""
        for number in range(len(self.manifest.shards)):
            yield from self._shard(number).column("caption").to_pylist()

    @property
    def images(self) -> ImageStore:
        """Where the rows' images are read from."""
        return ImageStore(self.root)

    def verify(self) -> None:
        """Compare every shard with its checksum.

        Raises:
            DataError: names the first shard that is missing or damaged.
        """
        _verify(self.folder, self.manifest.shards)

    def _shard(self, number: int) -> pa.Table:
        if number in self._shards:
            self._shards[number] = self._shards.pop(number)  # now the last one used
        else:
            while self.keep is not None and len(self._shards) >= self.keep:
                del self._shards[next(iter(self._shards))]
            self._shards[number] = _read_shard(self.shard_place(number))
        return self._shards[number]

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the table's contents, by the checksums of its shards."""
        return hashlib.sha256("".join(shard.sha256 for shard in self.manifest.shards).encode()).hexdigest()[:16]

    def files(self, rows: Iterable[int]) -> Iterator[Place]:
        """The files that some rows (ascending within a shard) and their images lie in, each once per shard."""
        for number, own in groupby(rows, lambda row: bisect_right(self.starts, row) - 1):
            yield self.shard_place(number)
            images = self._shard(number).column("image").take([row - self.starts[number] for row in own])
            yield from dict.fromkeys(map(self.images.file, images.unique().to_pylist()))

    def shard_place(self, number: int) -> Place:
        """The file of a shard."""
        return self.folder / self.manifest.shards[number].file


def _read_shard(place: Place) -> pa.Table:
    try:
        return opened(place, lambda path: pq.read_table(path, schema=_SCHEMA))
    except (OSError, pa.ArrowException) as error:
        mend = "Copy it again, or match again with --overwrite."
        raise DataError(f"unreadable shard ({str(error).splitlines()[0]})", where=place, mend=mend) from None


def _parquet(rows: Sequence[PairsRow]) -> bytes:
    """The rows as a Parquet file, made column by column: a dictionary for every box and pair would take ten times as
    long, and where many machines match, one writes."""
    regions = [region for row in rows for region in row.regions]
    pairs = [pair for row in rows for pair in row.pairs]
    boxes = [value for region in regions for value in region.box]
    spans = [value for row in rows for span in row.sentences for value in span]
    columns = {name: [getattr(row, name) for row in rows] for name in ("id", "image", "width", "height", "caption")}
    found = {
        "box": _lists(pa.array(boxes, pa.float64()), [4] * len(regions)),
        "source": [region.source for region in regions],
        "score": [region.score for region in regions],
        "label": [region.label for region in regions],
    }
    chosen = {name: [getattr(pair, name) for pair in pairs] for name in ("sentence", "region", "similarity")}
    sentences = _lists(pa.array(spans, pa.int32()), [2] * (len(spans) // 2))
    columns["sentences"] = _lists(sentences, [len(row.sentences) for row in rows])
    columns["regions"] = _lists(_structs("regions", found), [len(row.regions) for row in rows])
    columns["pairs"] = _lists(_structs("pairs", chosen), [len(row.pairs) for row in rows])
    columns["skip"] = [row.skip for row in rows]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=_SCHEMA), sink, compression="zstd")
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _lists(values: pa.Array, counts: Sequence[int]) -> pa.Array:
    """Values one after the other as lists of so many."""
    return pa.ListArray.from_arrays(pa.array(list(accumulate(counts, initial=0)), pa.int32()), values)


def _structs(column: str, fields: Mapping[str, Any]) -> pa.Array:
    """The values of a column of lists of structs, field by field."""
    kind = _SCHEMA.field(column).type.value_type
    arrays = [pa.array(fields[own.name], own.type) for own in kind]
    return pa.StructArray.from_arrays(arrays, fields=list(kind))


def _row(record: dict[str, Any]) -> PairsRow:
    return PairsRow(
        **{
            **record,
            "sentences": tuple((start, end) for start, end in record["sentences"]),
            "regions": tuple(Region(**{**region, "box": tuple(region["box"])}) for region in record["regions"]),
            "pairs": tuple(LocalPair(**pair) for pair in record["pairs"]),
        }
    )


def _verify(folder: Place, shards: tuple[Shard, ...]) -> None:
    for shard in shards:
        path = local(folder / shard.file)
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != shard.sha256:
            mend = "Copy it again, or match again with --overwrite."
            raise DataError("the shard is missing or differs from its checksum", where=path, mend=mend)
