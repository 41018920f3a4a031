"""What an indexing has to do: the images of the data against those of the index.

An image is looked at again where the file that is or holds it has another size or time, or the data says something else
about it (its path, caption or boxes). Whether its content is another is then decided by its bytes (`embedding`): a file
that was only copied or touched is not embedded again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from fastgoal.captioning.pictures import Picture, Pictures
from fastgoal.errors import DataError
from fastgoal.search.tables import Table

Known = Mapping[str, tuple[int, int]]
"""Key and state of every image in the index, by its id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Todo:
    """An image that is new, or has to be looked at again. known: its key in the index, if it is there."""

    picture: Picture
    state: int
    known: int | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What there is to do.

    todo: in the data's order. unchanged: images of the index that are as they were. gone: ids of the index that the
    data has no more. problems: images that the data names in a way that cannot be used.
    """

    todo: tuple[Todo, ...]
    unchanged: int
    gone: tuple[str, ...]
    problems: tuple[DataError, ...]
    images: int


def known_images(images: Table) -> dict[str, tuple[int, int]]:
    """What the index holds."""
    found: dict[str, tuple[int, int]] = {}
    for batch in images.batches(["id", "key", "state"]):
        ids, keys, states = (batch.column(name).to_pylist() for name in ("id", "key", "state"))
        found.update(zip(ids, zip(keys, states, strict=True), strict=True))
    return found


def make_plan(pictures: Pictures, known: Known) -> Plan:
    """Compare the data with the index. Of files only the sizes and times are read."""
    todo: list[Todo] = []
    problems: list[DataError] = []
    seen: set[str] = set()
    for entry in pictures:
        if isinstance(entry, DataError):
            problems.append(entry)
            continue
        seen.add(entry.id)
        state = state_of(entry, pictures)
        key, was = known.get(entry.id, (None, None))
        if was != state:
            todo.append(Todo(picture=entry, state=state, known=key))
    gone = () if pictures.limit is not None else tuple(name for name in known if name not in seen)
    return Plan(
        todo=tuple(todo),
        unchanged=len(seen) - len(todo),
        gone=gone,
        problems=tuple(problems),
        images=len(seen) + len(problems),
    )


def state_of(picture: Picture, pictures: Pictures) -> int:
    """A hash of what tells whether an image has to be looked at again."""
    file = pictures.images.file(picture.uri)
    try:
        assert isinstance(file, Path)  # pictures lie on this machine
        facts = file.stat()
        stamp = [facts.st_size, facts.st_mtime_ns]
    except (OSError, ValueError):  # reading it will say what is the matter
        stamp = [-1, -1]
    boxes = [[region.box, region.label] for region in picture.regions]
    return hashed([picture.uri, stamp, picture.caption, boxes])


def hashed(facts: object) -> int:
    """64 bits of a hash of plain values, as Arrow's integers hold them."""
    return int.from_bytes(blake2b(json.dumps(facts).encode(), digest_size=8).digest(), signed=True)
