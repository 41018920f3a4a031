"""What the readers of several benchmarks share: finding the files, reading long JSON arrays item by item, one entry of
a record.

Some published lists are one JSON array of a gigabyte. `json_items` decodes one item at a time, so that the first 1,000
of them cost no more than those.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from fastgoal.data.samples import Sample, parse_sample
from fastgoal.errors import DataError

_CHUNK = 2**20
_BLANK = re.compile(r"[\s,]*")
_GET = "Get the published copy whole (docs/benchmarks.md shows its layout), or name another folder with --root."


def find(root: Path, file: str, *folders: str) -> Path:
    """The folder that holds `file`: the root itself or, where a published archive unpacks to one, a folder in it.

    Raises:
        DataError: it is in neither; names the file that was expected.
    """
    for folder in (root, *(root / name for name in folders)):
        if (folder / file).exists():
            return folder
    raise DataError("this belongs to the benchmark and is not here", where=root / file, mend=_GET)


def entry(record: dict[str, Any], where: str, root: Path) -> Sample | DataError:
    """The sample of a record of the data contract, or what is wrong with it; its image has to be there."""
    try:
        sample = parse_sample(record, where)
    except DataError as error:
        return error
    if (root / sample.image).is_file():
        return sample
    return DataError("an image of the benchmark is missing", where=root / sample.image, mend=_GET)


def place(folder: Path, name: str, root: Path) -> str:
    """An image's path relative to the root, from its name in a folder below it; `entry` judges whether it is there."""
    return f"{folder.relative_to(root).as_posix()}/{name}"


def json_items(file: Path, key: str | None = None) -> Iterator[Any]:
    """The items of a JSON array, one at a time: of the whole file, or of the value of `key` in its outer object.

    Raises:
        DataError: no such array, or JSON that is cut off or broken.
    """
    decode = json.JSONDecoder().raw_decode
    start = re.compile(r"\s*\[") if key is None else re.compile(rf'"{key}"\s*:\s*\[')
    with file.open(encoding="utf-8-sig") as text:
        try:
            rest = _after(start, text, file, key)
            at = 0
            while True:
                at = _BLANK.match(rest, at).end()  # type: ignore[union-attr]  # matches the empty text, too
                if rest[at : at + 1] == "]":
                    return
                try:
                    item, at = decode(rest, at)
                except json.JSONDecodeError as error:
                    more = text.read(max(_CHUNK, len(rest) - at))
                    if not more:
                        raise DataError(f"not JSON ({error.msg})", where=file, mend=_GET) from None
                    rest, at = rest[at:] + more, 0
                    continue
                yield item
        except UnicodeDecodeError as error:
            raise DataError(f"not UTF-8 at byte {error.start}", where=file, mend="Save the file as UTF-8.") from None
        except RecursionError:
            raise DataError("JSON nested too deeply", where=file, mend=_GET) from None


def _after(start: re.Pattern[str], text: TextIO, file: Path, key: str | None) -> str:
    """The first text behind the bracket that opens the array."""
    read = ""
    while more := text.read(_CHUNK):
        read += more
        found = start.match(read) if key is None else start.search(read)
        if found is not None:
            return read[found.end() :]
        if key is None:
            break
    expected = "a list" if key is None else f"an object with a list {key!r}"
    raise DataError(f"not {expected} in JSON", where=file, mend=_GET)
