"""Which images are captioned, or indexed: every image of some data once, whether it has captions or not.

The one idea: the data is sniffed where all data is (`open_source`), and only what a caption is missing for is listed
anew: a folder of images, and tars. Of any other data the samples' images are taken and their captions left alone.
"""

import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from fastgoal.data.columns import Columns
from fastgoal.data.images import IMAGE_SUFFIXES
from fastgoal.data.readers.folder import FolderReader
from fastgoal.data.readers.tars import TarReader
from fastgoal.data.samples import GivenRegion, Sample
from fastgoal.data.source import Source, open_source
from fastgoal.data.store import ImageStore, tar_uri
from fastgoal.errors import DataError
from fastgoal.remote.place import Url
from fastgoal.remote.shelf import local


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One image: `uri` relative to the pictures' root; id and boxes as the data gave them (id: the uri, if none);
    its first caption, where there is one and captions are read."""

    id: str
    uri: str
    regions: tuple[GivenRegion, ...] = ()
    caption: str | None = None


Entry = Picture | DataError


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The images of some data in a stable order; iterated as often as needed. An error stands in the place of an
    image that the data names in a way that cannot be used. captions: read them, where the data has them."""

    source: Source
    limit: int | None = None
    captions: bool = False

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
                for name in reader.names()[0]:
                    found = reader.sample(name) if self.captions else None
                    yield Picture(id=name, uri=name, caption=found.caption if isinstance(found, Sample) else None)
            case TarReader(files=files) as reader:
                for file in files:
                    captions = self._captions_of(replace(reader, files=(file,)))
                    yield from _members(local(file), self.root, captions)
            case _:
                for entry in self.source.checked():
                    if isinstance(entry, DataError):
                        yield entry
                    else:
                        caption = entry.caption if self.captions else None
                        yield Picture(id=entry.id, uri=entry.image, regions=entry.regions, caption=caption)

    def _captions_of(self, samples: Iterable[Sample | DataError]) -> dict[str, str]:
        """The first caption of each image that has one."""
        found: dict[str, str] = {}
        for entry in samples if self.captions else ():
            if isinstance(entry, Sample):
                found.setdefault(entry.image, entry.caption)
        return found


def open_pictures(
    data: str | Path,
    *,
    root: str | Path | None = None,
    limit: int | None = None,
    columns: Columns | None = None,
    captions: bool = False,
) -> Pictures:
    """The images of a folder (with those below it), of tars, or of any data that `open_source` takes.

    Args:
        root: folder that the data's image paths are relative to; default: the data's own. limit: the first images only.
        captions: read the captions of images that have one.

    Raises:
        DataError: no such data, data in object storage, or no image in it.
    """
    source = open_source(data, root=root, limit=limit, columns=columns, probe=False)
    if isinstance(source.root, Url):
        raise DataError(
            "images are named where they lie on this machine", where=source.root, mend="Copy the images here first."
        )
    whole = replace(source, limit=None)  # the limit counts images, not samples
    pictures = Pictures(source=whole, limit=limit, captions=captions)
    problem: DataError | None = None
    for entry in pictures:
        if isinstance(entry, Picture):
            return pictures
        problem = problem or entry
    mend = "Give a folder of images, tars of images, or data of any shape that `fastgoal check` takes."
    raise DataError("no image here", where=data, mend=str(problem) if problem else mend)


def _members(file: Path, root: Path, captions: Mapping[str, str]) -> Iterator[Entry]:
    name = Path(os.path.relpath(file, root)).as_posix()
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if member.isfile() and PurePosixPath(member.name).suffix.lower() in IMAGE_SUFFIXES:
                    uri = tar_uri(name, member.name)
                    yield Picture(id=uri, uri=uri, caption=captions.get(uri))
    except (tarfile.TarError, OSError) as error:
        mend = "Copy it again. If it is compressed, unpack it to a plain .tar."
        yield DataError(f"the tar is cut off or broken ({error})", where=file, mend=mend)
