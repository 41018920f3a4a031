"""WebDataset tars: members `key.jpg` and `key.txt` (or `key.json` with a caption in it) make a sample."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from fastgoal.data.columns import Columns
from fastgoal.data.images import IMAGE_SUFFIXES
from fastgoal.data.readers.records import samples_of
from fastgoal.data.samples import Sample
from fastgoal.data.store import tar_uri
from fastgoal.errors import DataError
from fastgoal.remote.place import Place, relative
from fastgoal.remote.shelf import fetched, opened

_CAPTIONS = (".txt", ".caption", ".json")


@dataclass(frozen=True, kw_only=True)
class TarReader:
    """The samples of some tars in their order; members of one key stand together, as WebDataset writes them. Images
    stay in the tar: a sample's URI names the member."""

    files: tuple[Place, ...]
    root: Place
    columns: Columns = field(default_factory=Columns)

    def __iter__(self) -> Iterator[Sample | DataError]:
        for file in fetched(self.files):
            try:
                with opened(file, lambda path: tarfile.open(path, "r:")) as tar:
                    members = (member for member in tar if member.isfile())
                    for key, group in groupby(members, key=lambda member: _key(member.name)):
                        yield from self._samples(file, tar, key, list(group))
                    _check_end(tar)
            except (tarfile.TarError, OSError) as error:
                mend = "Copy it again. If it is compressed, unpack it to a plain .tar."
                yield DataError(f"the tar is cut off or broken ({error})", where=file, mend=mend)

    def _samples(
        self, file: Place, tar: tarfile.TarFile, key: str, members: list[tarfile.TarInfo]
    ) -> Iterator[Sample | DataError]:
        of = {_suffix(member.name): member for member in members}
        image = next((of[suffix] for suffix in of if suffix in IMAGE_SUFFIXES), None)
        text = next((of[suffix] for suffix in _CAPTIONS if suffix in of), None)
        if image is None or text is None:
            missing = "an image" if image is None else "a caption"
            mend = f"It has {', '.join(of)}; {missing[3:]}s are read from {_EXPECTED[missing]}."
            yield DataError(f"sample without {missing}", where=f"{file}#{key}", mend=mend)
            return
        where = f"{file}#{text.name}"
        try:
            record = {"id": key, **_record(tar, text, where)}
            record["image"] = tar_uri(relative(file, self.root), image.name)
            columns = Columns(image="image", caption=self.columns.caption, id="id").among(list(record), where)
        except DataError as error:
            yield error
            return
        yield from samples_of(record, where, columns, None)


_EXPECTED = {"an image": "the usual image files", "a caption": ", ".join(_CAPTIONS)}


def _record(tar: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> dict[str, Any]:
    """The JSON object of a member, or its text as a caption."""
    file = tar.extractfile(member)
    try:
        content = (file.read() if file else b"").decode("utf-8-sig")
        record = json.loads(content) if member.name.endswith(".json") else {"caption": content.strip()}
    except ValueError as error:
        raise DataError(f"not UTF-8 or not JSON ({error})", where=where, mend="Write it again.") from None
    if not isinstance(record, dict):
        raise DataError("not a JSON object", where=where, mend='Write {"caption": "..."}.')
    return record


def _check_end(tar: tarfile.TarFile) -> None:
    """A whole tar ends with a block of zeros; `tarfile` takes one that was cut between two members for whole."""
    last = tar.getmembers()[-1] if tar.getmembers() else None
    end = -(-(last.offset_data + last.size) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE if last else 0
    assert tar.fileobj is not None
    tar.fileobj.seek(end)  # not opened again by its name, under which it may be gone: see `remote.shelf`
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"its end is missing after {last.name if last else 'nothing'}")


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return (path.parent / path.name.split(".", 1)[0]).as_posix()


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
