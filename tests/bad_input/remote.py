"""Bad input: places in object storage. The store is fsspec's own in memory, and a closed port in the place of S3."""

import os
from pathlib import Path

import fsspec
from tests.bad_input.cases import LEFT_OUT, MEMBERS, REFUSED, USED, case, good, match, tar


def uploaded(folder: Path, name: str, content: bytes | None = None) -> str:
    """A tar of two samples under a URL."""
    path = tar(folder, MEMBERS)
    os.environ["FASTGOAL_CACHE"] = str(folder / "cache")
    fsspec.filesystem("memory").pipe(f"/{name}/a.tar", path.read_bytes() if content is None else content)
    return f"memory://{name}"


@case("object storage", "tars", USED)
def _(folder: Path) -> list[str]:
    return match(uploaded(folder, "sound"))


@case("object storage", "an unknown protocol", REFUSED, "unknown protocol")
def _(folder: Path) -> list[str]:
    return match("s4://bucket/shards")


@case("object storage", "nothing under the URL", REFUSED, "no such file")
def _(folder: Path) -> list[str]:
    return match("memory://nowhere/at/all")


@case("object storage", "no shards under the URL", REFUSED, "no .tar or .parquet among the 1 files")
def _(folder: Path) -> list[str]:
    fsspec.filesystem("memory").pipe("/photos/a.jpg", b"x")
    return match("memory://photos")


@case("object storage", "a tar that is cut off", LEFT_OUT, "cut off or broken")
def _(folder: Path) -> list[str]:
    whole = tar(folder, MEMBERS).read_bytes()
    return match(uploaded(folder, "cut", whole[: len(whole) - 10240]))


@case("object storage", "shards there, images here", REFUSED, "different places")
def _(folder: Path) -> list[str]:
    return match(uploaded(folder, "apart"), "--root", "data")


@case("object storage", "results to a URL", REFUSED, "not written to object storage")
def _(folder: Path) -> list[str]:
    good(folder)
    command = match()
    command[command.index("pairs")] = "s3://bucket/pairs"
    return command


@case("object storage", "a URL that is no pairs table", REFUSED, "not a pairs table")
def _(folder: Path) -> list[str]:
    return ["train", uploaded(folder, "no-table"), "--model", "MODEL", "--out", "run"]
