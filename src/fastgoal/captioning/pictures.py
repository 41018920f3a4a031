"""Which images are captioned: every image of some data once, whether it has captions or not.

The one idea: the data is sniffed where all data is (`open_source`), and only what a caption is missing for is listed
anew: a folder of images, and tars. Of any other data the samples' images are taken and their captions left alone.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from fastgoal.data.columns import Columns
from fastgoal.data.images import IMAGE_SUFFIXES
from fastgoal.data.readers.folder import FolderReader
from fastgoal.data.readers.tars import TarReader
from fastgoal.data.samples import GivenRegion
from fastgoal.data.source import Source, open_source
from fastgoal.data.store import ImageStore, tar_uri
from fastgoal.errors import DataError
from fastgoal.remote.place import Url
from fastgoal.remote.shelf import local


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One image: `uri` relative to the pictures' root; id and boxes as the data gave them (id: the uri, if none)."""

    id: str
    uri: str
    regions: tuple[GivenRegion, ...] = ()


Entry = Picture | DataError


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The images of some data in a stable order; iterated as often as needed. An error stands in the place of an
    image that the data names in a way that cannot be used."""

    source: Source
    limit: int | None = None

    @property
    def root(self) -> Path:
        """Folder that the URIs are relative to."""
        entries = self.source.entries
        place = entries.folder if isinstance(entries, FolderReader) else self.source.root
        assert isinstance(place, Path)  # `open_pictures` has seen to it
        return place

    @property
    def images(self) -> ImageStore:
        """Where the images are read from."""
        return ImageStore(self.root)

    def __iter__(self) -> Iterator[Entry]:
        seen: set[str] = set()
        for entry in self._entries():
            if isinstance(entry, Picture):
                if entry.uri in seen:  # another caption of it
                    continue
                if self.limit is not None and len(seen) >= self.limit:
                    return
                seen.add(entry.uri)
            yield entry

    def _entries(self) -> Iterator[Entry]:
        match self.source.entries:
            case FolderReader() as reader:
                yield from (Picture(id=name, uri=name) for name in reader.names()[0])
            case TarReader(files=files):
                for file in files:
                    yield from _members(local(file), self.root)
            case _:
                for entry in self.source.checked():
                    if isinstance(entry, DataError):
                        yield entry
                    else:
                        yield Picture(id=entry.id, uri=entry.image, regions=entry.regions)


def open_pictures(
    data: str | Path, *, root: str | Path | None = None, limit: int | None = None, columns: Columns | None = None
) -> Pictures:
    """The images of a folder (with those below it), of tars, or of any data that `open_source` takes.

    Args:
        root: folder that the data's image paths are relative to; default: the data's own. limit: the first images only.

    Raises:
        DataError: no such data, data in object storage, or no image in it.
    """
    source = open_source(data, root=root, limit=limit, columns=columns, probe=False)
    if isinstance(source.root, Url):
        raise DataError("captions name images on this machine", where=source.root, mend="Copy the images here first.")
    pictures = Pictures(source=replace(source, limit=None), limit=limit)  # the limit counts images, not samples
    problem: DataError | None = None
    for entry in pictures:
        if isinstance(entry, Picture):
            return pictures
        problem = problem or entry
    mend = "Give a folder of images, tars of images, or data of any shape that `fastgoal check` takes."
    raise DataError("no image here", where=data, mend=str(problem) if problem else mend)


def _members(file: Path, root: Path) -> Iterator[Entry]:
    name = Path(os.path.relpath(file, root)).as_posix()
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if member.isfile() and PurePosixPath(member.name).suffix.lower() in IMAGE_SUFFIXES:
                    uri = tar_uri(name, member.name)
                    yield Picture(id=uri, uri=uri)
    except (tarfile.TarError, OSError) as error:
        mend = "Copy it again. If it is compressed, unpack it to a plain .tar."
        yield DataError(f"the tar is cut off or broken ({error})", where=file, mend=mend)
