"""Local copies: whole, of the present version, fetched once, within the limit; and every way in which a store fails."""

import errno
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import fsspec
import pytest
import s3fs
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations
from tests.remote.conftest import forget_all

from fastgoal.errors import ConfigError, DataError
from fastgoal.remote import shelf, stores
from fastgoal.remote.place import Url
from fastgoal.remote.shelf import known_size, listing, local, opened

SHARD = Url("s3://bucket/a/0.tar")
GB = "FASTGOAL_CACHE_GB"


def copies() -> list[int]:
    return sorted(path.stat().st_size for path in shelf.folder().iterdir() if path.suffix == ".tar")


def test_a_copy_is_fetched_once_and_again_when_the_file_changed(
    s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.pipe("bucket/a/0.tar", b"old")
    first = local(SHARD)
    assert first.read_bytes() == b"old" and first.suffix == ".tar"
    s3.rm("bucket/a/0.tar")
    assert local(SHARD) == first  # the store is not asked again
    s3.pipe("bucket/a/0.tar", b"new")
    forget_all(monkeypatch)
    assert local(SHARD).read_bytes() == b"new"


def test_a_copy_that_was_cut_short_on_this_disk_is_fetched_again(s3: s3fs.S3FileSystem) -> None:
    s3.pipe("bucket/a/0.tar", b"whole")
    local(SHARD).write_bytes(b"who")
    assert local(SHARD).read_bytes() == b"whole"


def test_a_file_replaced_between_listing_and_fetching_is_the_new_one(s3: s3fs.S3FileSystem) -> None:
    s3.pipe("bucket/a/0.tar", b"old and long")
    assert listing(SHARD.parent) == [SHARD]
    s3.pipe("bucket/a/0.tar", b"new")
    assert local(SHARD).read_bytes() == b"new"


def test_sizes_of_a_folder_come_from_one_listing(s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        s3.pipe(f"bucket/a/{number}.png", b"x" * number)
    asked: list[Url] = []
    list_all = shelf.files_under
    monkeypatch.setattr(shelf, "files_under", lambda folder: asked.append(folder) or list_all(folder))
    assert [known_size(SHARD.parent / f"{number}.png") for number in range(6)] == [0, 1, 2, 3, 4, -1]
    assert asked == [SHARD.parent]


def test_names_may_hold_anything(s3: s3fs.S3FileSystem) -> None:
    odd = SHARD.parent / "ä b#c?%20.tar"
    s3.pipe("bucket/a/ä b#c?%20.tar", b"odd")
    assert listing(SHARD.parent) == [odd]
    assert local(odd).read_bytes() == b"odd"


def test_the_shelf_stays_within_its_limit_and_drops_what_was_used_longest_ago(
    s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GB, str(3500 / 1e9))
    shards = [SHARD.parent / f"{number}.tar" for number in range(6)]
    for number in range(6):
        s3.pipe(f"bucket/a/{number}.tar", bytes([number]) * 1000)
    paths = []
    for number, shard in enumerate(shards[:4]):
        paths.append(local(shard))
        os.utime(paths[-1], (number, number))
    assert [path.exists() for path in paths] == [False, True, True, True]
    local(shards[1])  # used now
    local(shards[4])
    assert [path.exists() for path in paths] == [False, True, False, True]
    for shard in shards * 2:
        assert local(shard).read_bytes() == bytes([int(shard.name[0])]) * 1000
        assert sum(copies()) <= 3500


def test_one_file_larger_than_the_limit_is_used_all_the_same(
    s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GB, str(100 / 1e9))
    s3.pipe({"bucket/a/0.tar": b"0" * 1000, "bucket/a/1.tar": b"1" * 1000})
    assert local(SHARD).read_bytes() == b"0" * 1000
    assert local(SHARD.parent / "1.tar").read_bytes() == b"1" * 1000
    assert copies() == [1000]


def test_a_copy_dropped_by_another_process_before_it_was_open_is_fetched_again(s3: s3fs.S3FileSystem) -> None:
    s3.pipe("bucket/a/0.tar", b"whole")
    dropped: list[Path] = []

    def read(path: Path) -> bytes:
        if not dropped:
            dropped.append(path)
            path.unlink()
        return path.read_bytes()

    assert opened(SHARD, read) == b"whole" and dropped


def test_what_a_kill_left_half_copied_is_dropped_when_it_is_old(s3: s3fs.S3FileSystem) -> None:
    s3.pipe("bucket/a/0.tar", b"whole")
    shelf.folder().mkdir(parents=True)
    old, young = (shelf.folder() / f"{name}.tar.1-1.tmp" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * shelf.STALE,) * 2)
    local(SHARD)
    assert (old.exists(), young.exists()) == (False, True)


def _size_of_copy(_: int) -> int:
    return local(SHARD).stat().st_size


def test_threads_and_processes_that_want_one_file_fetch_it_once(
    s3: s3fs.S3FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.pipe("bucket/a/0.tar", bytes(2_000_000))
    log, copy = tmp_path / "log", shelf.copy

    def logged(*arguments: Any) -> None:
        with log.open("a") as lines:
            lines.write("fetched\n")
        time.sleep(0.1)
        copy(*arguments)

    monkeypatch.setattr(shelf, "copy", logged)
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(_size_of_copy, range(4))) == {2_000_000}
    local(SHARD).unlink()
    with ProcessPoolExecutor(3, multiprocessing.get_context("fork")) as processes:
        assert set(processes.map(_size_of_copy, range(3))) == {2_000_000}
    assert log.read_text() == "fetched\n" * 2


# Stores that fail


class Unsound(MemoryFileSystem):  # type: ignore[misc]
    """A store in memory whose copies fail as `troubles` says, one after the other."""

    protocol = "unsound"
    store: ClassVar[dict[str, Any]] = {}
    troubles: ClassVar[list[Any]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("unsound://", "memory://")))

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        trouble = self.troubles.pop(0) if self.troubles else None
        if isinstance(trouble, Exception):
            raise trouble
        Path(lpath).write_bytes(self.cat_file(self._strip_protocol(rpath))[:trouble])


@pytest.fixture
def unsound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Unsound]:
    monkeypatch.setenv("FASTGOAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stores, "PAUSE", 0.001)
    forget_all(monkeypatch)
    fsspec.register_implementation("unsound", Unsound, clobber=True)
    monkeypatch.setattr(Unsound, "troubles", [])
    fsspec.filesystem("unsound").pipe("/a/0.tar", b"whole")
    return Unsound


HERE = Url("unsound://a/0.tar")


def test_what_passes_by_itself_is_tried_again(unsound: type[Unsound]) -> None:
    unsound.troubles += [ConnectionResetError(errno.ECONNRESET, "reset"), TimeoutError("slow"), 3, OSError("busy")]
    assert local(HERE).read_bytes() == b"whole"
    assert not unsound.troubles


@pytest.mark.parametrize(
    ("trouble", "tries", "says"),
    [
        (3, stores.TRIES, r"truncated .3 of 5 bytes came"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), stores.TRIES, r"cannot be reached, 5 tries .*same command"),
        (PermissionError("no"), 1, r"access is denied"),
        (OSError("Forbidden: a/0.tar"), 1, r"access is denied"),
        (FileNotFoundError("a/0.tar"), 1, r"no such file there"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, r"No space left"),
    ],
)
def test_what_does_not_pass_is_named(unsound: type[Unsound], trouble: Any, tries: int, says: str) -> None:
    unsound.troubles += [trouble] * stores.TRIES
    with pytest.raises(DataError, match=rf"unsound://a/0\.tar: .*{says}"):
        local(HERE)
    assert len(unsound.troubles) == stores.TRIES - tries
    assert not [path for path in shelf.folder().iterdir() if not path.name.startswith("lock-")]


def test_a_file_or_a_bucket_that_is_not_there_is_named(s3: s3fs.S3FileSystem) -> None:
    with pytest.raises(DataError, match=r"s3://bucket/a/0\.tar: no such file there"):
        local(SHARD)
    with pytest.raises(DataError, match=r"s3://nowhere/a: no such bucket"):
        listing(Url("s3://nowhere/a"))
    s3.pipe("bucket/a/0.tar", b"whole")
    listing(SHARD.parent)
    s3.rm("bucket/a/0.tar")
    with pytest.raises(DataError, match=r"no such file there .or not any more"):
        local(SHARD)


def admit(server: str, actions: str) -> None:
    """How many actions the server allows to whom it does not know."""
    plain = {"Content-Type": "text/plain"}
    urlopen(Request(f"{server}/moto-api/reset-auth", data=actions.encode(), headers=plain, method="POST")).close()


def test_denied_access_is_named(s3: s3fs.S3FileSystem, s3_server: str) -> None:
    s3.pipe("bucket/a/0.tar", b"whole")
    admit(s3_server, "0")
    try:
        with pytest.raises(DataError, match=r"access is denied.*credentials"):
            listing(SHARD.parent)
        with pytest.raises(DataError, match=r"access is denied.*credentials"):
            local(SHARD)
    finally:
        admit(s3_server, "inf")


def test_missing_credentials_are_named(s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(DataError, match="no usable credentials"):
        listing(SHARD.parent)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("xyz://a/0.tar", "unknown protocol xyz://"),
        ("gs://a/0.tar", r"gs:// needs a package.*fastgoal\[remote\].*gcsfs"),
    ],
)
def test_protocols_that_are_unknown_or_not_installed_are_named(
    url: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(known_implementations["gs"], "class", "not_installed.GCSFileSystem")
    monkeypatch.setenv("FASTGOAL_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=says):
        local(Url(url))


@pytest.mark.parametrize("given", ["much", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_refused(given: str, unsound: type[Unsound], monkeypatch: Any) -> None:
    monkeypatch.setenv(GB, given)
    with pytest.raises(ConfigError, match="FASTGOAL_CACHE_GB"):
        local(HERE)
