"""Which field of a record is the image, the caption, the id: the contract's own names first, then the usual ones.

A choice that is not plain is not made: the error lists the columns and asks for the name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastgoal.errors import DataError

USUAL = {
    "image": (
        "image", "image_path", "img", "img_path", "file_name", "filename", "file_path", "filepath", "file", "path",
        "picture", "photo",
    ),
    "caption": (
        "caption", "captions", "text", "texts", "description", "long_caption", "detailed_caption", "sentence",
        "sentences", "paragraph",
    ),
    "id": ("id", "key", "uid", "uuid", "sample_id"),
}  # fmt: skip
"""Names that each role goes by, in lower case; the first is the contract's and wins over the others."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The names of the columns that hold images, captions and ids; None: found by the usual names.

    image: paths relative to the root, or the images themselves. caption: a text, or a list of texts.
    id: optional in the data.
    """

    image: str | None = None
    caption: str | None = None
    id: str | None = None

    def among(self, names: Sequence[str], where: object) -> "Columns":
        """These columns with what was None looked up among the `names` there are. `id` may stay None.

        Raises:
            DataError: a column that is not there, or a role that none or several could play.
        """
        image, caption = (self._find(role, names, where) for role in ("image", "caption"))
        if image is None or caption is None:
            role = "image" if image is None else "caption"
            raise DataError(f"no column is plainly the {role}", where=where, mend=_ask(role, names))
        return replace(self, image=image, caption=caption, id=self._find("id", names, where))

    def image_among(self, names: Sequence[str], where: object) -> str:
        """The column of images, where captions are not asked for.

        Raises:
            DataError: it is not there, or none or several could be it.
        """
        found = self._find("image", names, where)
        if found is None:
            raise DataError("no column is plainly the image", where=where, mend=_ask("image", names))
        return found

    def _find(self, role: str, names: Sequence[str], where: object) -> str | None:
        given = getattr(self, role)
        if given is not None:
            if given not in names:
                raise DataError(f"there is no column {given!r}", where=where, mend=_ask(role, names))
            return str(given)
        usual = USUAL[role]
        found = [name for name in names if name.strip().lower() in usual]
        if len(found) > 1:
            found = [name for name in found if name.strip().lower() == usual[0]] or found
        if len(found) > 1 and role != "id":
            raise DataError(
                f"{' and '.join(map(repr, found))} could be the {role}", where=where, mend=_ask(role, names)
            )
        return found[0] if len(found) == 1 else None


def _ask(role: str, names: Sequence[str]) -> str:
    return f"Name it with --{role}-column; the columns are: {', '.join(map(repr, names)) or 'none'}."
