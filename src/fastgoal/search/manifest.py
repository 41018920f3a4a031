"""What an index is made by: `index.json` beside its tables, small, readable, replaced in one step.

It names the model (and by its fingerprint refuses any other), what the regions come from, and the folder that the
images lie under, relative to the index where that is possible: index and images may move together.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastgoal.errors import DataError, ModelError
from fastgoal.files import shown_name, write_json
from fastgoal.remote.place import Place, Url, inside, place_of, relative
from fastgoal.remote.shelf import forget, opened
from fastgoal.remote.stores import is_file, write_object

MANIFEST = "index.json"
SCHEMA_VERSION = 1
ANEW = "Name another --uri, or start anew with --overwrite."
_MAKE = "Make one with `fastgoal index MODEL IMAGES --uri URI`."


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What `index.json` holds.

    model: its name. model_at: its folder as seen from the index; None for a hub id, the bundled model, and a model on
        another machine than the index. fingerprint: of its weights and settings. dim: joint dimensions D.
    regions: where regions come from, by the command line's name; None without regions. proposer: what these depend on.
    root: the images' folder as seen from the index; None where one lies here and the other elsewhere.
    complete: the last indexing came to its end.
    """

    schema: int = SCHEMA_VERSION
    model: str
    model_at: str | None
    fingerprint: str
    dim: int
    regions: str | None
    proposer: str | None
    root: str | None
    complete: bool = False

    @classmethod
    def find(cls, index: Place) -> "Manifest | None":
        """The manifest of an index; None where there is none.

        Raises:
            DataError: what is there is no manifest, or of another version.
        """
        path = index / MANIFEST
        if not (path.is_file() if isinstance(path, Path) else is_file(path)):
            return None
        if isinstance(path, Url):
            forget(path)  # another machine may have written it anew
        try:
            record = json.loads(opened(path, Path.read_bytes))
            if (schema := record["schema"]) != SCHEMA_VERSION:
                mend = f"Use the version of fastgoal that wrote it. {ANEW}"
                raise DataError(f"schema version {schema}, but {SCHEMA_VERSION} is read here", where=path, mend=mend)
            return cls(**record)
        except (ValueError, KeyError, TypeError) as error:
            mend = f"Index the images again with --overwrite. {_MAKE}"
            raise DataError(f"not the manifest of an index ({error})", where=path, mend=mend) from None

    @classmethod
    def read(cls, index: Place) -> "Manifest":
        """The manifest of an index.

        Raises:
            DataError: there is none; as `find`.
        """
        found = cls.find(index)
        if found is None:
            raise DataError("no index here", where=index, mend=_MAKE)
        return found

    def write(self, index: Place) -> None:
        """Replace the manifest in one step.

        Raises:
            DataError: the disk or the store refuses.
        """
        path = index / MANIFEST
        if isinstance(path, Url):
            write_object(path, json.dumps(asdict(self), indent=2).encode())
            forget(path)
        else:
            write_json(path, asdict(self))

    def expect_model(self, fingerprint: str, name: str, index: Place, *, mend: str) -> None:
        """Raises ModelError unless the index was made by the model of this fingerprint."""
        if fingerprint != self.fingerprint:
            what = f"the index was made by {self.model} ({self.fingerprint}), but this is {name} ({fingerprint})"
            raise ModelError(what, where=index, mend=mend)

    def images_root(self, index: Place, given: str | Path | None = None) -> Place | None:
        """Where the images lie: as given, else as written; None if neither says so."""
        if given is not None:
            return place_of(given)
        return None if self.root is None else inside(index, self.root)

    def model_name(self, index: Place) -> str:
        """What loads the model again."""
        return self.model if self.model_at is None else str(inside(index, self.model_at))


def seen_from(index: Place, place: Place) -> str | None:
    """A folder as seen from the index; None where one of them lies elsewhere."""
    try:
        if isinstance(place, Path) and isinstance(index, Path):
            return relative(place.resolve(), index.resolve())
        return relative(place, index)
    except DataError:
        return None


def model_facts(name: str, index: Place) -> dict[str, Any]:
    """`model` and `model_at` of a model as it was named."""
    folder = Path(name)
    return {"model": shown_name(name), "model_at": seen_from(index, folder) if folder.is_dir() else None}
