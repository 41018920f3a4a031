"""The index's own images as a browser shows them: upright JPEGs of two sizes, made anew from the pixels.

Nothing of the file itself is handed out, so neither its metadata nor what else a file may be besides an image. The last
ones made are kept, up to a number of bytes.
"""

import hashlib
import io
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from fastgoal.search.searcher import Searcher
from fastgoal.search.service.lanes import Lane

Size = Literal["thumb", "full"]
_SIDE = {"thumb": 384, "full": 1600}
_QUALITY = {"thumb": 82, "full": 90}
KEPT_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A JPEG and the tag that names its content."""

    jpeg: bytes
    etag: str


class Pictures:
    """The images of a searcher; asked by the event loop alone.

    Args:
        lane: who decodes. kept_bytes: of what was made before.
    """

    def __init__(self, searcher: Searcher, lane: Lane, kept_bytes: int = KEPT_BYTES) -> None:
        self._searcher, self._lane, self._room = searcher, lane, kept_bytes
        self._kept: OrderedDict[tuple[str, Size], Rendered] = OrderedDict()

    async def get(self, id: str, size: Size) -> Rendered:
        """An image of the index.

        Raises:
            DataError: as `Searcher.picture`.
            BusyError: too many wait.
        """
        key = (id, size)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = await self._lane.run(self._render, id, size)
        self._keep(key, made)
        return made

    def _render(self, id: str, size: Size) -> Rendered:
        jpeg = as_jpeg(self._searcher.picture(id), _SIDE[size], _QUALITY[size])
        return Rendered(jpeg=jpeg, etag=f'"{hashlib.sha256(jpeg).hexdigest()[:32]}"')

    def _keep(self, key: tuple[str, Size], made: Rendered) -> None:
        if key not in self._kept:  # another request may have made it meanwhile
            self._kept[key] = made
            self._room -= len(made.jpeg)
        while self._room < 0:
            self._room += len(self._kept.popitem(last=False)[1].jpeg)


def as_jpeg(picture: Image.Image, side: int, quality: int) -> bytes:
    """A picture as JPEG, scaled down to `side` pixels if its long side is longer."""
    if max(picture.size) > side:
        picture = picture.copy()
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
