"""Object storage through fsspec: what is there, a copy of it, and a small file to put there.

The one place that knows fsspec, which finds credentials and end points in the usual environment of each protocol
(`AWS_*`, `GOOGLE_APPLICATION_CREDENTIALS`, `HF_TOKEN`). Each kind of failure becomes a `DataError` that says what to
do; those that pass by themselves (a connection reset, a server too busy) are tried again, with growing pauses.
"""

import errno
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fastgoal.errors import DataError, first_line
from fastgoal.remote.place import Url

T = TypeVar("T")
TRIES = 5
PAUSE = 0.5
"""Seconds before the second try; each further pause is twice as long."""
_STATES = ("ETag", "etag", "md5Hash", "blob_id", "LastModified", "mtime", "created")
"""What stores call that by which one version of a file is told from another."""
_ACCESS = "Check the credentials in the environment, and that they may list and read there."


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """A file's size in bytes, and what changes with its content."""

    size: int
    state: str


def files_under(folder: Url) -> dict[Url, Facts]:
    """All files below a folder by their URLs, in order, from one listing.

    Raises:
        DataError: the folder is not there, must not be listed, or cannot be reached.
    """

    def listed(store: Any) -> dict[Url, Facts]:
        store.invalidate_cache()
        found = store.find(folder, detail=True)
        top = store._strip_protocol(folder).rstrip("/")
        # Stores write their names in their own way; what comes behind the folder's is the same everywhere.
        return {folder / name[len(top) :].lstrip("/"): _facts(info) for name, info in found.items() if name != top}

    files = _patiently(folder, listed)
    return {url: files[url] for url in sorted(files)}


def facts_of(file: Url) -> Facts:
    """One file's facts.

    Raises:
        DataError: it is not there, must not be read, or cannot be reached.
    """

    def asked(store: Any) -> Facts:
        store.invalidate_cache()
        return _facts(_file_info(store, file))

    return _patiently(file, asked)


def is_file(place: Url) -> bool:
    """Whether a file has this name, rather than a folder or nothing.

    Raises:
        DataError: the store cannot be asked.
    """

    def asked(store: Any) -> bool:
        try:
            return bool(_file_info(store, place))
        except FileNotFoundError:
            return False

    return _patiently(place, asked)


def copy(file: Url, to: Path, size: int) -> None:
    """Copy a file to the local path `to`.

    Raises:
        DataError: it is not there any more, must not be read, cannot be reached, or ends early.
    """

    def copied(store: Any) -> None:
        store.get_file(str(file), str(to))
        if (came := to.stat().st_size) != size:
            raise _ShortError(f"{came:,} of {size:,} bytes came")

    _patiently(file, copied)


def write_object(file: Url, content: bytes) -> None:
    """Put a small file in a store, in one step.

    Raises:
        DataError: it must not be written, or the store cannot be reached.
    """
    _patiently(file, lambda store: store.pipe_file(str(file), content))


class _ShortError(OSError):
    """A file that ended early."""


def _file_info(store: Any, file: Url) -> Mapping[str, Any]:
    info: Mapping[str, Any] = store.info(file)
    if info.get("type") != "file":
        raise FileNotFoundError(file)
    return info


def _facts(info: Mapping[str, Any]) -> Facts:
    state = next((str(info[name]) for name in _STATES if info.get(name)), "")
    return Facts(size=int(info.get("size") or 0), state=state)


def _patiently(where: Url, work: Callable[[Any], T]) -> T:
    """`work` of the store, tried again while what hinders it may pass."""
    store = _store(where)
    for number in range(TRIES):
        try:
            return work(store)
        except Exception as error:  # every protocol has errors of its own
            if (final := _final(error, where)) is not None:
                raise final from error
            if number == TRIES - 1:
                raise _given_up(error, where) from error
        time.sleep(PAUSE * 2**number * random.uniform(0.5, 1))
    raise AssertionError


def _store(where: Url) -> Any:
    """The file system of a protocol. fsspec keeps one for each process, so that nothing open survives a fork."""
    try:
        import fsspec

        return fsspec.filesystem(where.protocol)
    except ImportError as error:
        mend = f"Install it: pip install 'fastgoal[remote]' ({first_line(error)})."
        raise DataError(f"{where.protocol}:// needs a package that is not installed", where=where, mend=mend) from None
    except ValueError:
        mend = "Use s3://, gs:// or hf://, or a protocol whose fsspec package is installed."
        raise DataError(f"unknown protocol {where.protocol}://", where=where, mend=mend) from None
    except Exception as error:
        raise _final(error, where) or _given_up(error, where) from error


def _final(error: Exception, where: Url) -> DataError | None:
    """What will not pass by itself, named; else None."""
    kind = type(error).__name__
    if "Credential" in kind or "credentials" in str(error).lower():
        return DataError(f"no usable credentials ({first_line(error)})", where=where, mend=_ACCESS)
    if isinstance(error, PermissionError) or "forbidden" in str(error).lower():
        return DataError(f"access is denied ({first_line(error)})", where=where, mend=_ACCESS)
    if isinstance(error, FileNotFoundError):
        bucket = "bucket does not exist" in str(error).lower()
        what = "no such bucket" if bucket else "no such file there (or not any more)"
        return DataError(what, where=where, mend="Check the spelling of the URL, and what is there.")
    if isinstance(error, OSError) and error.errno in _FINAL:
        return DataError(f"cannot be read ({first_line(error)})", where=where, mend="Check the URL and the local disk.")
    return None


_FINAL = frozenset({errno.EINVAL, errno.ENOSPC, errno.EROFS, errno.ENAMETOOLONG, errno.ENOSYS})


def _given_up(error: Exception, where: Url) -> DataError:
    if isinstance(error, _ShortError):
        what = f"the file is truncated ({error})"
        return DataError(what, where=where, mend="Upload it again.")
    what = f"cannot be reached, {TRIES} tries ({type(error).__name__}: {first_line(error)})"
    return DataError(what, where=where, mend="Check the network and the end point; the same command then continues.")
