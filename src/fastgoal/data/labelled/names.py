"""Names of classes as a person would say them: from the data, from a file beside it, and checked.

A prompt can only be as good as the name in it: `n01440764` says nothing to a text encoder, and two classes of one name
can never be told apart.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fastgoal.errors import DataError

BESIDE = ("classes.json", "classes.txt")
"""Files that are looked for in the folder of the data."""
_WORDNET = re.compile(r"n\d{8}")


def readable(given: Sequence[str], file: Path | None, where: Path) -> tuple[str, ...]:
    """The classes' readable names, in the order of the labels.

    Args:
        given: the data's own names (of its folders, say).
        file: JSON (`{"n01440764": "tench"}`, or a list in the order of the labels) or text (one class a line,
            `n01440764 tench` or just names in the order of the labels); None takes the data's own, with spaces for `_`.

    Raises:
        DataError: a file that does not fit the classes; names that are empty, equal, or WordNet ids.
    """
    names = tuple(name.replace("_", " ").strip() for name in given) if file is None else _from_file(given, file)
    place = file or where
    first: dict[str, int] = {}
    for label, name in enumerate(names):
        if not name:
            raise DataError(f"class {given[label]!r} has an empty name", where=place, mend="Give every class a name.")
        other = first.setdefault(" ".join(name.casefold().split()), label)
        if other != label:
            what = f"classes {given[other]!r} and {given[label]!r} have one name, {name!r}"
            raise DataError(what, where=place, mend="Name them apart, in a classes.txt or with --classes.")
    if file is None and names and all(map(_WORDNET.fullmatch, names)):
        mend = "Write a line `n01440764 tench` for each to a classes.txt beside the folders, or give --classes FILE."
        raise DataError(f"the classes are called by WordNet ids ({names[0]}, ...)", where=where, mend=mend)
    return names


def beside(folder: Path) -> Path | None:
    """The file of names in a folder of data, if there is one."""
    return next((folder / name for name in BESIDE if (folder / name).is_file()), None)


def _from_file(given: Sequence[str], file: Path) -> tuple[str, ...]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        table = json.loads(text) if file.suffix.lower() == ".json" else _lines(text, given)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"not a file of class names ({error})", where=file, mend=_MEND) from None
    if isinstance(table, Mapping):
        missing = [name for name in given if name not in table]
        if missing:
            what = f"no name for class {missing[0]!r} ({len(missing)} of {len(given)} are missing)"
            raise DataError(what, where=file, mend="Name every class of the data.")
        table = [table[name] for name in given]
    if not isinstance(table, list) or not all(isinstance(name, str) for name in table):
        raise DataError("not a file of class names", where=file, mend=_MEND)
    if len(table) != len(given):
        what = f"{len(table)} names for {len(given)} classes"
        raise DataError(what, where=file, mend="Write one name for each class, in the order of the labels.")
    return tuple(name.strip() for name in table)


def _lines(text: str, given: Sequence[str]) -> list[str] | dict[str, str]:
    """A mapping where every line begins with the name of a class and goes on, else names in order."""
    parts = [line.strip().split(maxsplit=1) for line in text.splitlines() if line.strip()]
    known = set(given)
    if parts and all(len(part) == 2 and part[0] in known for part in parts):
        return {part[0]: part[1] for part in parts}
    return [" ".join(part) for part in parts]


_MEND = 'Write {"folder": "readable name"} or a list as JSON; or a line `folder name` or `name` for each class.'
