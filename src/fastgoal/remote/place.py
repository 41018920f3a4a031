"""Places: a path on this machine, or the URL of a folder or file elsewhere (`s3://bucket/shards`).

The one idea: both are joined with `/` and shown with `str`, so that who only passes places on need not tell them
apart; who opens one asks `local` for a path.
"""

import os
import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from fastgoal.errors import DataError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: `C://` is a drive


class Url(str):
    """`PROTOCOL://PATH`, without a slash at the end. A path of `pathlib` would lose one of the two slashes."""

    __slots__ = ()

    def __truediv__(self, part: str) -> "Url":
        protocol, _, path = self.partition("://")
        return Url(f"{protocol}://{posixpath.normpath(posixpath.join(path, part))}")

    @property
    def protocol(self) -> str:
        return self.partition("://")[0].lower()

    @property
    def name(self) -> str:
        return self.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "Url":
        return self / ".."


Place: TypeAlias = Path | Url


def is_url(text: object) -> bool:
    """Whether it names its protocol."""
    return isinstance(text, str) and _URL.match(text) is not None


def place_of(given: str | Path) -> Place:
    """A URL where the text is one, else a path."""
    return Url(str(given).rstrip("/")) if is_url(given) else Path(given)


def inside(folder: Place, given: str) -> Place:
    """A place that is written down as a URL of its own, or relative to `folder`."""
    return place_of(given) if is_url(given) else folder / given


def relative(file: Place, folder: Place) -> str:
    """Where `file` lies as seen from `folder`, with forward slashes.

    Raises:
        DataError: one of the two is on this machine and the other is not, or they are in different stores.
    """
    if isinstance(file, Path) and isinstance(folder, Path):
        return Path(os.path.relpath(file, folder)).as_posix()
    if isinstance(file, Url) and isinstance(folder, Url) and file.protocol == folder.protocol:
        return posixpath.relpath(*(f"/{place.partition('://')[2].lstrip('/')}" for place in (file, folder)))
    what = f"the data and its root are in different places (root {folder})"
    raise DataError(what, where=file, mend="Leave --root out, or copy both to one place.")
