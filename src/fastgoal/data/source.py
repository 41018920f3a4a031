"""Sources: the user's data, whatever its shape, as one re-readable stream of samples.

`open_source` sniffs the data and returns a `Source`. The one idea: a source holds no samples. Every pass reads the
files again, a batch of rows at a time, so a million rows cost the memory of a few thousand; what one pass has to know
of all the others (which ids occur twice, how many there are) is eight bytes per sample.

Broken entries are left out, and said: `Source.problems` counts them and names the first.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastgoal.data.benchmarks import benchmark_asked, closest, read_benchmark
from fastgoal.data.benchmarks.goal_lists import GoalListReader
from fastgoal.data.columns import Columns
from fastgoal.data.readers.folder import FolderReader
from fastgoal.data.readers.lines import CsvReader, JsonLinesReader
from fastgoal.data.readers.tables import TableReader
from fastgoal.data.readers.tars import TarReader
from fastgoal.data.samples import Sample
from fastgoal.data.store import ImageStore
from fastgoal.errors import DataError
from fastgoal.remote.place import Place, Url, place_of
from fastgoal.remote.shelf import listing
from fastgoal.remote.stores import is_file

NAMED = 20
"""How many problems are kept as examples."""
KINDS = 100
"""How many kinds of problems are told apart: what is wrong may quote an id, and there may be millions of those."""
Entry = Sample | DataError


@dataclass(frozen=True, kw_only=True)
class Problems:
    """What had to be left out of a source.

    counts: how often, by what is wrong. first: the first few, each with its place and mend.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    first: tuple[DataError, ...] = ()

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __add__(self, other: "Problems") -> "Problems":
        return Problems(counts=Counter(self.counts) + Counter(other.counts), first=(self.first + other.first)[:NAMED])


class _Tally:
    """Errors by kind, the first few kept."""

    def __init__(self) -> None:
        self._counts, self._first = Counter[str](), list[DataError]()

    def add(self, error: DataError) -> None:
        self._counts[error.what if error.what in self._counts or len(self._counts) < KINDS else "other problems"] += 1
        self._first += [error] * (len(self._first) < NAMED)

    @property
    def problems(self) -> Problems:
        return Problems(counts=self._counts, first=tuple(self._first))


def tally(errors: Iterable[DataError]) -> Problems:
    """Errors by kind, the first few kept."""
    found = _Tally()
    for error in errors:
        found.add(error)
    return found.problems


@dataclass(frozen=True, kw_only=True)
class Source:
    """An ordered stream of samples with distinct ids, and the folder that their images lie under.

    Args:
        name: for people (reports, manifests).
        root: folder that every `Sample.image` is relative to, here or elsewhere.
        entries: samples and, in the place of broken ones, errors; iterated once per pass, always in the same order.
        limit: use the first samples only.
        keep: leaves out, silently, the samples for which it is false.
    """

    name: str
    root: Place
    entries: Iterable[Entry]
    limit: int | None = None
    keep: Callable[[Sample], bool] | None = None

    def __iter__(self) -> Iterator[Sample]:
        left_out = _Tally()
        for entry in self.checked():
            if isinstance(entry, Sample):
                yield entry
            else:
                left_out.add(entry)
        # A pass to the end has met all of them; another one might have to fetch everything again.
        self.__dict__.setdefault("problems", left_out.problems)

    def __len__(self) -> int:
        return self._survey.samples

    def checked(self) -> Iterator[Entry]:
        """Samples under their final ids and, in the place of what cannot be used, the error that says why."""
        resolve = self._survey.ids.resolver()
        for entry in islice(self.entries, self._survey.entries):
            if isinstance(entry, DataError):
                yield entry
            elif self.keep is None or self.keep(entry):
                yield resolve(entry)

    def only(self, keep: Callable[[Sample], bool], name: str | None = None) -> "Source":
        """The part of this source whose samples satisfy `keep` (on top of what was left out before)."""
        before = self.keep
        both = keep if before is None else lambda sample: before(sample) and keep(sample)
        return replace(self, keep=both, name=name or self.name)

    def without(self, ids: Collection[str]) -> "Source":
        """This source without the samples of these ids, which become its entries' own."""
        return Source(name=self.name, root=self.root, entries=_Without(self, frozenset(ids)))

    @property
    def images(self) -> ImageStore:
        """Where the images are read from."""
        return ImageStore(self.root)

    @property
    def key(self) -> str:
        """Content fingerprint: every sample's fields in order, and the size of its image's file (pixels are not
        read)."""
        return self._survey.key

    @cached_property
    def problems(self) -> Problems:
        """What is left out."""
        return tally(entry for entry in self.checked() if isinstance(entry, DataError))

    @cached_property
    def _survey(self) -> "_Survey":
        return _survey(self)


@dataclass(frozen=True)
class _Without:
    source: Source
    ids: frozenset[str]

    def __iter__(self) -> Iterator[Sample]:
        return (sample for sample in self.source if sample.id not in self.ids)


@dataclass(frozen=True)
class _Survey:
    """What a pass has to know of all samples. `entries`: how many of the reader's entries the limit admits."""

    samples: int
    entries: int
    key: str
    ids: "_Ids"


def _survey(source: Source) -> _Survey:
    hashes, explicit, digest, entries = array("Q"), bytearray(), hashlib.sha256(), 0
    images = source.images
    for entry in source.entries:
        if source.limit is not None and len(hashes) >= source.limit:
            break
        entries += 1
        if isinstance(entry, Sample) and (source.keep is None or source.keep(entry)):
            hashes.append(_hash(entry.id or entry.image))
            explicit.append(bool(entry.id))
            digest.update(_fields(entry, images.size(entry.image)))
    ids = _Ids(np.array(hashes, dtype=np.uint64), np.array(explicit, dtype=np.bool_))
    return _Survey(samples=len(hashes) - ids.repeats, entries=entries, key=digest.hexdigest()[:16], ids=ids)


def _fields(sample: Sample, size: int) -> bytes:
    regions = [[region.box, region.span, region.label] for region in sample.regions]
    return json.dumps([sample.id, sample.image, sample.caption, regions, size]).encode()


class _Ids:
    """Which ids occur more than once, from 64-bit hashes of all of them; a sample without an id goes by its image.

    repeats: how many samples carry an id of their own that an earlier one has: those are refused. Samples without an id
    are numbered instead, from the second caption of an image on.
    """

    def __init__(self, hash_N: npt.NDArray[np.uint64], explicit_N: npt.NDArray[np.bool_]) -> None:
        order_N = np.argsort(hash_N, kind="stable")
        sorted_N = hash_N[order_N]
        again_N = np.concatenate([[False], sorted_N[1:] == sorted_N[:-1]])[: len(sorted_N)]
        self.repeats = int((again_N & explicit_N[order_N]).sum())
        self._repeated = frozenset(sorted_N[again_N].tolist())
        self._known_U = sorted_N[~again_N]

    def resolver(self) -> Callable[[Sample], Entry]:
        """A function that gives the samples of one pass, in order, their final ids."""
        first: dict[str, str] = {}
        numbers: Counter[str] = Counter()

        def resolve(sample: Sample) -> Entry:
            name = sample.id or sample.image
            if _hash(name) not in self._repeated:
                return sample if sample.id else replace(sample, id=name)
            if name not in first:
                first[name] = sample.where
                numbers[name] = 1
                return replace(sample, id=name)
            if sample.id:
                what = f"id {name!r} is used a second time (first: {first[name]})"
                return DataError(what, where=sample.where, mend="Give every sample its own id, or none.")
            return replace(sample, id=self._unused(name, numbers))

        return resolve

    def _unused(self, name: str, numbers: "Counter[str]") -> str:
        while True:
            numbers[name] += 1
            candidate = f"{name}#{numbers[name]}"
            hashed = np.uint64(_hash(candidate))
            at = int(np.searchsorted(self._known_U, hashed))
            if at == len(self._known_U) or self._known_U[at] != hashed:
                return candidate


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def open_source(
    data: str | Path,
    *,
    root: str | Path | None = None,
    limit: int | None = None,
    columns: Columns | None = None,
    probe: bool = True,
) -> Source:
    """Open the user's data; what shape it has is found out.

    A folder of images with same-named `.txt` files; a folder with `captions.jsonl` or `captions.csv` (also
    `metadata.jsonl`, `metadata.csv`), or such a file itself; a Parquet file or a folder of them; a folder that
    `datasets` saved; a WebDataset tar or a folder of them; a list of GOAL's repository (`.json`); a benchmark's name
    (`docci`, `docci/train`) with the folder of its local copy as `root`. Only a few rows are read here. Tars and
    Parquet files may also lie in object storage (`s3://bucket/shards`, see docs/remote.md).

    Args:
        root: folder that image paths are relative to; default: the folder of the data.
        limit: use the first samples only.
        columns: names of the columns, where they are not the usual ones.
        probe: refuse data whose first rows show nothing usable, or none of whose first images are there.

    Raises:
        DataError: nothing usable is there, no column is plainly the image or the caption, or no image lies under the
            root; a benchmark's name that is also a folder here, or without its files.
    """
    path, columns = place_of(data), columns or Columns()
    if limit is not None and limit < 1:
        raise DataError(f"a limit of {limit} samples", where="limit", mend="Use at least 1, or none.")
    if isinstance(path, Url):
        base, entries = _remote(path, columns, None if root is None else place_of(root))
        name = path.name
    elif benchmark := benchmark_asked(data, root):
        path = base = Path(root or ".")
        entries, name = _benchmark(benchmark, columns, path), benchmark
    else:
        base = place_of(root) if root is not None else path.parent if path.is_file() else path
        entries, name = _reader(path, columns, base), path.resolve().name
    source = Source(name=name, root=base, entries=entries, limit=limit)
    if probe:
        _probe(source, path)
    return source


def _benchmark(name: str, columns: Columns, root: Path) -> Iterable[Entry]:
    if columns != Columns():
        raise DataError("a benchmark's columns are known", where=name, mend="Leave --image-column and the like out.")
    return read_benchmark(name, root)


def _remote(url: Url, columns: Columns, root: Place | None) -> tuple[Place, Iterable[Entry]]:
    """The root of data in object storage, and its reader; what is there is listed once."""
    shards = {".tar", ".parquet"}
    single = url.suffix in shards and is_file(url)
    found = [url] if single else listing(url)
    if not found:
        raise DataError("no such file or folder there", where=url, mend="Check the spelling of the URL.")
    tables, tars = (tuple(file for file in found if file.suffix == suffix) for suffix in (".parquet", ".tar"))
    base = root or (url.parent if single else url)
    if tables:
        return base, TableReader(files=tables, root=base, columns=columns)
    if tars:
        return base, TarReader(files=tars, root=base, columns=columns)
    mend = "Give the URL of WebDataset tars or Parquet files; data of another shape has to be copied to this machine."
    raise DataError(f"no .tar or .parquet among the {len(found):,} files here", where=url, mend=mend)


def _reader(path: Path, columns: Columns, root: Place) -> Iterable[Entry]:
    if not path.exists():
        close = closest(path)
        hint = f" Did you mean the benchmark '{close}'?" if close else ""
        raise DataError("no such file or folder", where=path, mend=f"Check the spelling of the data's path.{hint}")
    if path.is_file():
        return _file_reader(path, columns, root)
    if not path.is_dir():
        raise DataError("neither a file nor a folder", where=path, mend=EXPECTED)
    for name in ("captions.jsonl", "captions.csv", "captions.tsv", "metadata.jsonl", "metadata.csv"):
        if (path / name).is_file():
            return _file_reader(path / name, columns, root)
    if (path / "dataset_dict.json").is_file():
        splits = [entry.name for entry in sorted(path.iterdir()) if entry.is_dir()]
        mend = f"Name one of them: {', '.join(str(path / name) for name in splits)}."
        raise DataError("a data set of several splits", where=path, mend=mend)
    if (path / "state.json").is_file() and (arrows := sorted(path.glob("*.arrow"))):
        return TableReader(files=tuple(arrows), root=root, columns=columns)
    if tables := sorted(path.rglob("*.parquet")):
        return TableReader(files=tuple(tables), root=root, columns=columns)
    if tars := sorted(path.rglob("*.tar")):
        return TarReader(files=tuple(tars), root=root, columns=columns)
    return FolderReader(folder=path, root=root)


def _file_reader(file: Path, columns: Columns, root: Place) -> Iterable[Entry]:
    match file.suffix.lower():
        case ".jsonl":
            return JsonLinesReader(file=file, columns=columns, root=root)
        case ".json":
            if isinstance(root, Url):
                raise DataError("the images of such a list are looked for by name", where=root, mend="Copy them here.")
            return GoalListReader(file=file, root=root)
        case ".csv" | ".tsv":
            return CsvReader(file=file, columns=columns, root=root)
        case ".parquet" | ".arrow":
            return TableReader(files=(file,), root=root, columns=columns)
        case ".tar":
            return TarReader(files=(file,), root=root, columns=columns)
    raise DataError("not a kind of data that can be read", where=file, mend=EXPECTED)


EXPECTED = (
    'Give a folder of images with same-named .txt files; a captions.jsonl (one {"image": "...", "caption": "..."} per '
    "line) or captions.csv; Parquet files; WebDataset tars; or a folder that `datasets` saved."
)


def _probe(source: Source, path: Place, most: int = 20) -> None:
    """One missing image is skipped and counted later; none at all means a wrong root, said before hours of work."""
    problem: DataError | None = None
    samples: list[Sample] = []
    for entry in source.entries:
        if isinstance(entry, Sample):
            samples.append(entry)
        else:
            problem = problem or entry
        if len(samples) == most:
            break
    if not samples:
        raise DataError("no usable sample here", where=path, mend=str(problem) if problem else EXPECTED)
    store = source.images
    if all(store.size(sample.image) < 0 for sample in samples):
        first = source.root / samples[0].image
        raise DataError("no image is where the data says", where=first, mend="Say where the images lie with --root.")
