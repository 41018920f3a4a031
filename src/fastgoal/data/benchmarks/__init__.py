"""Benchmarks by name: readers for local copies in the layout they are published in.

    open_source("docci", root="/data/docci")          the test set of the papers, `docci/test`
    open_source("docci/train", root="/data/docci")    another split

Nothing is downloaded. Each module says the layout, where it was looked up, and what could not be.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from fastgoal.data.benchmarks import dci, docci, glit100k, karpathy, sharegpt4v, urban1k
from fastgoal.data.samples import Sample
from fastgoal.errors import DataError

Read = Callable[[Path, str], Iterable[Sample | DataError]]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A data set that papers report on.

    title: for people. splits: names, the one that the bare name means first. read: from the folder of the local copy
        and a split to a reader, whose images are relative to that folder.
    """

    name: str
    title: str
    splits: tuple[str, ...]
    read: Read


BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(name="docci", title="DOCCI", splits=tuple(docci.SPLITS), read=docci.read),
        Benchmark(name="dci", title="DCI, GOAL's split", splits=("test", "train"), read=dci.read),
        Benchmark(
            name="long-dci",
            title="DCI, all with a long caption",
            splits=("test",),
            read=lambda root, split: dci.read(root, "long"),
        ),
        Benchmark(name="urban1k", title="Urban1k", splits=("test",), read=urban1k.read),
        Benchmark(name="coco", title="MSCOCO", splits=tuple(karpathy.SPLITS), read=karpathy.coco),
        Benchmark(name="flickr30k", title="Flickr30k", splits=tuple(karpathy.SPLITS), read=karpathy.flickr30k),
        Benchmark(name="sharegpt4v", title="ShareGPT4V", splits=("test", "train"), read=sharegpt4v.read),
        Benchmark(name="glit100k", title="GLIT100k", splits=("train",), read=glit100k.read),
    )
}


def full_name(data: str | Path) -> str | None:
    """`docci` and `docci/test` as `docci/test`; None for what is no benchmark's name.

    Raises:
        DataError: a benchmark's name with a split that it does not have.
    """
    name, _, split = str(data).partition("/")
    if name not in BENCHMARKS:
        return None
    splits = BENCHMARKS[name].splits
    if split and split not in splits:
        names = ", ".join(f"{name}/{own}" for own in splits)
        raise DataError(f"{name} has no split {split!r}", where=data, mend=f"There are: {names}.")
    return f"{name}/{split or splits[0]}"


def benchmark_asked(data: str | Path, root: str | Path | None) -> str | None:
    """The full name of the benchmark that `data` means beside `--root`, or None where it means a file or folder.

    A path that exists wins where no root is given, since a benchmark needs one; with a root both could be meant, unless
    the root is that very folder.

    Raises:
        DataError: both are meant, or a benchmark's name stands without a root.
    """
    path = Path(data)
    there = path.exists()
    if there and root is None:
        return None
    try:
        name = full_name(data)
    except DataError:
        if there:
            return None
        raise
    if name is None:
        return None
    if root is None:
        mend = "Say where its local copy lies with --root DIR (docs/benchmarks.md shows the layout)."
        raise DataError("a benchmark's name without a folder", where=data, mend=mend)
    if there and path.resolve() != Path(root).resolve():
        mend = f"Write {path.resolve()} for the folder, or leave this place for the benchmark."
        raise DataError("both a benchmark's name and a folder here", where=data, mend=mend)
    return name


def read_benchmark(name: str, root: Path) -> Iterable[Sample | DataError]:
    """The entries of a benchmark under its full name.

    Raises:
        DataError: no such folder, or not the benchmark's files in it.
    """
    if not root.is_dir():
        raise DataError("no such folder", where=root, mend="Check the spelling of --root.")
    own, _, split = name.partition("/")
    return BENCHMARKS[own].read(root, split)


def closest(data: str | Path) -> str | None:
    """The benchmark whose name is nearly this one."""
    close = get_close_matches(str(data).partition("/")[0], BENCHMARKS, n=1)
    return close[0] if close else None
