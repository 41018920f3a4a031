"""The shelf: local copies of remote files, whole, within a limit.

The one idea: a copy's name says what it is a copy of: a hash of its URL, size and version. So a file that changed in
the store is another file here, nothing has to be written down, and any number of processes share one shelf: a copy is
written aside and renamed, under a lock, so that two who want the same file fetch it once. The copies used longest ago
are dropped when room is needed. What a kill leaves half copied is dropped later.

`FASTGOAL_CACHE` names the folder (default: `fastgoal` in the user's cache), `FASTGOAL_CACHE_GB` the limit (default 50).
"""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from fastgoal.ahead import look_ahead
from fastgoal.errors import ConfigError, DataError
from fastgoal.files import ASIDE, make_folder, writing
from fastgoal.remote.place import Place, Url
from fastgoal.remote.stores import Facts, copy, facts_of, files_under

T = TypeVar("T")
DEFAULT_GB = 50.0
STALE = 3600.0
"""Seconds after which a file that is still being written is taken for what a kill left."""
_LOCKS = 64
_TRIES = 5
_facts: dict[Url, Facts] = {}
_listed: set[Url] = set()
_room: dict[Path, int] = {}
"""What this process knows: of files, of folders whose listing it has, and how much may still be added to a shelf before
it is looked over again."""


def listing(folder: Url) -> list[Url]:
    """All files below a remote folder, in order; asked anew, so that changed files are fetched anew.

    Raises:
        DataError: as `files_under`.
    """
    found = files_under(folder)
    _facts.update(found)
    _listed.add(folder)
    return list(found)


def known_size(file: Url) -> int:
    """Bytes of a remote file; -1 if there is none. Files of one folder are listed once, not asked for one by one.

    Raises:
        DataError: the folder cannot be listed.
    """
    if file not in _facts and file.parent not in _listed:
        listing(file.parent)
    return _facts[file].size if file in _facts else -1


def forget(file: Url) -> None:
    """Ask about a file again when it is next wanted."""
    _facts.pop(file, None)


def local(place: Place) -> Path:
    """The path of a file on this machine: its own, or that of its copy, fetched now if there is none.

    Raises:
        DataError: as `stores.copy`; also the local disk refuses.
        ConfigError: a limit that is no number.
    """
    if isinstance(place, Path):
        return place
    if place not in _facts:
        _facts[place] = facts_of(place)
    facts, shelf = _facts[place], folder()
    entry = shelf / f"{_digest(place, facts)}{place.suffix}"
    if not _taken(entry, facts.size):
        try:
            with _alone(shelf, entry.name):
                if not _taken(entry, facts.size):
                    _fetch(place, facts, entry)
        except DataError:
            if facts_of(place) == facts:
                raise
            forget(place)  # it was replaced in between
            return local(place)
    return entry


def opened(place: Place, work: Callable[[Path], T]) -> T:
    """`work` of the file's local path; fetched again where another process needed the room before it was open."""
    for _ in range(_TRIES):
        path = local(place)
        try:
            return work(path)
        except FileNotFoundError:
            if isinstance(place, Path) or path.exists():
                raise
    return work(local(place))


def fetched(places: Sequence[Place]) -> Iterator[Place]:
    """The same places, each with its copy on this machine; the next one is fetched while one is used.

    Raises:
        DataError: as `local`, in the place of the file that cannot be fetched.
    """

    def ready(place: Place) -> Place:
        local(place)
        return place

    remote = any(isinstance(place, Url) for place in places)
    return look_ahead(ready, places, workers=int(remote), ahead=1)


def folder() -> Path:
    """Where copies are kept."""
    if given := os.environ.get("FASTGOAL_CACHE"):
        return Path(given).expanduser() / "shards"
    base = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fastgoal" / "shards"


def limit() -> int:
    """Bytes that copies may take up together.

    Raises:
        ConfigError: `FASTGOAL_CACHE_GB` is no number above 0.
    """
    given = os.environ.get("FASTGOAL_CACHE_GB", str(DEFAULT_GB))
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < float("inf"):
        raise ConfigError(f"{given!r} is no number of gigabytes", where="FASTGOAL_CACHE_GB", mend="Set it above 0.")
    return int(gigabytes * 1e9)


def _digest(url: Url, facts: Facts) -> str:
    return hashlib.sha256(f"{url}\n{facts.size}\n{facts.state}".encode()).hexdigest()[:32]


def _taken(entry: Path, size: int) -> bool:
    """Whether the copy is there and whole; it is then the one used last."""
    try:
        stat = entry.stat()
        if stat.st_size != size:
            return False
        if time.time() - stat.st_atime > 1:
            os.utime(entry, ns=(time.time_ns(), stat.st_mtime_ns))
        return True
    except OSError:
        return False


def _fetch(url: Url, facts: Facts, entry: Path) -> None:
    most = limit()
    if _room.get(entry.parent, 0) < facts.size:
        _make_room(entry.parent, facts.size, most)
    aside = entry.with_name(f"{entry.name}.{os.getpid()}-{threading.get_ident()}{ASIDE}")
    try:
        copy(url, aside, facts.size)
        with writing(entry):
            aside.replace(entry)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
    _room[entry.parent] = _room.get(entry.parent, 0) - facts.size
    if _room[entry.parent] <= 0:  # others may have been fetched at the same time
        _make_room(entry.parent, 0, most, but=entry)


def _make_room(shelf: Path, size: int, most: int, but: Path | None = None) -> None:
    """Drop what was used longest ago, `but` one copy, until `size` bytes fit, at the least a fiftieth of the limit:
    looking over a full shelf takes a while."""
    now, entries = time.time(), list[tuple[float, int, Path]]()
    for item in os.scandir(shelf):
        with contextlib.suppress(OSError):  # another process dropped it
            stat = item.stat()
            if item.name.endswith(ASIDE) and now - stat.st_mtime > STALE:
                Path(item.path).unlink(missing_ok=True)
            elif not item.name.startswith(_LOCK):
                entries.append((stat.st_atime, stat.st_size, Path(item.path)))
    total, wanted = sum(entry[1] for entry in entries), max(size, most // 50 if but is None else 0)
    for _, bytes_, path in sorted(entries):
        if total + wanted <= most:
            break
        if path.suffix != ASIDE and path != but:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            total -= bytes_
    _room[shelf] = max(size, min(wanted, most - total))


_LOCK = "lock-"


@contextmanager
def _alone(shelf: Path, name: str) -> Iterator[None]:
    """Inside, no other thread or process fetches the same file, nor one that shares its lock."""
    make_folder(shelf)
    number = int(hashlib.sha256(name.encode()).hexdigest(), 16) % _LOCKS
    with writing(shelf):
        file = (shelf / f"{_LOCK}{number:02d}").open("a")
    with file:
        _lock(file)
        yield


def _lock(file: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:
        return  # without it a file may be fetched twice, which costs time only
    fcntl.flock(file, fcntl.LOCK_EX)
