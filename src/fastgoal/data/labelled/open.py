"""Labelled data, whatever its shape, found out and opened."""

from collections.abc import Sequence
from pathlib import Path

from fastgoal.data.columns import Columns
from fastgoal.data.labelled.cifar import cifar_in, read_cifar
from fastgoal.data.labelled.folders import EXPECTED, read_folders
from fastgoal.data.labelled.names import beside, readable
from fastgoal.data.labelled.source import LabelledImage, LabelledSource
from fastgoal.data.labelled.tables import read_tables
from fastgoal.data.source import tally
from fastgoal.errors import DataError


def open_labelled(
    data: str | Path,
    *,
    root: str | Path | None = None,
    limit: int | None = None,
    classes: Path | None = None,
    columns: Columns | None = None,
) -> LabelledSource:
    """Open images with class labels.

    A folder with a folder of images per class; `cifar-10-batches-py` or `cifar-100-python` as published, or the folder
    that holds one (their test sets); Parquet files or a folder that `datasets` saved, with `image` and `label`.

    Args:
        root: folder that image paths in a table are relative to; default: the folder of the data.
        limit: use this many images, evenly spread over the data, which is often sorted by class.
        classes: file of readable names (see `names.readable`); default: `classes.json` or `classes.txt` in the folder.
        columns: the name of the column of images, where it is not a usual one.

    Raises:
        DataError: nothing usable is there, or names that cannot stand in a prompt.
    """
    path = Path(data)
    if not path.exists():
        raise DataError("no such file or folder", where=path, mend="Check the spelling of the data's path.")
    if limit is not None and limit < 1:
        raise DataError(f"a limit of {limit} images", where="limit", mend="Use at least 1, or none.")
    folder = path if path.is_dir() else path.parent
    base = Path(root) if root is not None else folder
    tables, wrong, named = _tables(path), list[DataError](), classes or beside(folder)
    if found := cifar_in(path) if path.is_dir() else None:
        folder = base = found[0]
        names, items = read_cifar(*found)
    elif tables:
        names, items, wrong = read_tables(tables, base, columns or Columns(), named=named is not None)
    elif path.is_dir():
        base = path
        names, items = read_folders(path)
    else:
        raise DataError("not labelled images", where=path, mend=EXPECTED)
    return LabelledSource(
        name=path.resolve().name,
        root=base,
        classes=readable(names, named, path),
        items=_spread(items, limit),
        problems=tally(wrong),
    )


def _tables(path: Path) -> Sequence[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() in (".parquet", ".arrow") else []
    saved = sorted(path.glob("*.arrow")) if (path / "state.json").is_file() else []
    return saved or sorted(path.rglob("*.parquet"))


def _spread(items: Sequence[LabelledImage], limit: int | None) -> Sequence[LabelledImage]:
    """`limit` of the items at even distances."""
    if limit is None or limit >= len(items):
        return items
    return [items[(2 * i + 1) * len(items) // (2 * limit)] for i in range(limit)]
