"""The hits of a search to be looked at: a picture, or a page that opens offline.

Each sentence has its colour, and so has its best region in every hit.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fastgoal.checking.picture import COLOURS, font_of
from fastgoal.errors import ConfigError, DataError
from fastgoal.files import make_folder, write_file
from fastgoal.inline import image_uri, page_template
from fastgoal.search.hits import Found, Hit
from fastgoal.search.searcher import Searcher

_INK, _GREY = "#333333", "#808080"
_CELL, _MARGIN, _LINE, _COLUMNS = 240, 16, 18, 5
_SIZE = 13


def expect_sheet(file: Path | None, kinds: Sequence[str]) -> None:
    """Raises ConfigError for a file of another kind, before anything is searched."""
    if file is not None and file.suffix.lower() not in kinds:
        what = f"{file.name} cannot be written"
        raise ConfigError(what, where="search", mend=f"End its name in {' or '.join(kinds)}.")


def draw_sheet(file: Path, searcher: Searcher, found: Found) -> None:
    """Draw the hits, best first, row by row; of an image that cannot be read any more the place stays empty.

    Raises:
        DataError: the disk refuses.
    """
    columns = min(_COLUMNS, max(1, len(found.hits)))
    rows = -(-len(found.hits) // columns)
    across, down = _CELL + _MARGIN, _CELL + 2 * _LINE + _MARGIN
    sheet = Image.new("RGB", (columns * across + _MARGIN, max(1, rows) * down + _MARGIN), "white")
    for number, hit in enumerate(found.hits):
        left, top = (number % columns) * across + _MARGIN, (number // columns) * down + _MARGIN
        _draw_hit(sheet, hit, _small(searcher, hit, _CELL), f"{number + 1}. {hit.score:.3f}", left, top)
    make_folder(file.parent)
    out = io.BytesIO()
    sheet.save(out, "PNG" if file.suffix.lower() == ".png" else "JPEG")
    write_file(file, out.getvalue())


def _draw_hit(sheet: Image.Image, hit: Hit, small: Image.Image | None, title: str, left: int, top: int) -> None:
    pen, font = ImageDraw.Draw(sheet), font_of(_SIZE)
    pen.text((left, top), title, font=font, fill=_INK)
    pen.text((left, top + _LINE), _fitting(hit.id, font), font=font, fill=_GREY)
    top += 2 * _LINE
    if small is None:
        pen.rectangle((left, top, left + _CELL, top + _CELL), outline=_GREY)
        pen.text((left + 8, top + 8), "picture not available", font=font, fill=_GREY)
        return
    sheet.paste(small, (left, top))
    scale = small.width / hit.width
    for number, met in enumerate(hit.sentences):
        if met.box is not None:
            x1, y1, x2, y2 = (value * scale for value in met.box)
            inset = 2 * (number % 3)  # so that equal boxes of several sentences are all seen
            edges = (left + x1 + inset, top + y1 + inset, left + x2 - 1 - inset, top + y2 - 1 - inset)
            if edges[0] < edges[2] and edges[1] < edges[3]:
                pen.rectangle(edges, outline=COLOURS[number % len(COLOURS)], width=2)


def _small(searcher: Searcher, hit: Hit, edge: int) -> Image.Image | None:
    try:
        picture = searcher.picture(hit.id)
    except DataError:
        return None
    picture.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return picture


def _fitting(text: str, font: ImageFont.FreeTypeFont) -> str:
    """The end of an id, which tells more than its beginning, as far as there is room."""
    while font.getlength(text) > _CELL:
        text = "…" + text[2:]
    return text


# The page


@dataclass(frozen=True, kw_only=True)
class _Card:
    """A hit with its picture, as a data URI, or None."""

    rank: int
    hit: Hit
    uri: str | None
    caption: str | None


def write_page(file: Path, searcher: Searcher, found: Found, title: str, *, skip: int = 0) -> None:
    """Write the hits as one page with everything in it.

    Raises:
        DataError: the disk refuses.
    """
    cards = [_card(searcher, hit, rank) for rank, hit in enumerate(found.hits, start=skip + 1)]
    page = page_template("fastgoal.search", "hits.html.j2").render(
        title=title, found=found, facts=searcher.facts, cards=cards, parts=_parts(found), colours=COLOURS
    )
    make_folder(file.parent)
    write_file(file, page)


def _card(searcher: Searcher, hit: Hit, rank: int) -> _Card:
    small = _small(searcher, hit, 480)
    uri = None if small is None else image_uri(small, quality=82)
    return _Card(rank=rank, hit=hit, uri=uri, caption=searcher.record(hit.id).caption)


def _parts(found: Found) -> list[tuple[str, int | None]]:
    """The query in parts: those that are a sentence with the number of its colour."""
    text, parts, end = found.query or "", list[tuple[str, int | None]](), 0
    spans = [met.span for met in found.hits[0].sentences] if found.hits else []
    for number, span in enumerate(spans):
        parts += [(text[end : span[0]], None), (text[slice(*span)], number % len(COLOURS))]
        end = span[1]
    return [*parts, (text[end:], None)]
