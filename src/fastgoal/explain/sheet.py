"""An explanation as one picture, `WIDTH` pixels wide.

Above, a panel for each model: the image with the best region of each sentence, what the image's embedding attends to,
and the caption with the words that carry the match. Below, a cell for each sentence: its heat map by each model, its
best region, its most similar patch, and the true box where the data gives one.
"""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from fastgoal.checking.picture import COLOURS, font_of
from fastgoal.data.samples import Span
from fastgoal.explain.compare import Explained, top_patch
from fastgoal.explain.explanation import Explanation
from fastgoal.explain.overlay import fitted, mark, numbered, outline, with_heat
from fastgoal.explain.prose import Piece, lay_out, shades, write
from fastgoal.files import shown_name

WIDTH, MARGIN, GAP = 1400, 28, 20
HALF = (WIDTH - 2 * MARGIN - GAP) // 2
PANEL, TILE = (HALF - GAP) // 2, 200
"""Longest side of an image in a panel, and in a sentence's cell."""
SIZE, LEADING, SMALL = 15, 23, 13
INK, GREY, TRUE, HIT, MISS, RULE = "#22211e", "#6b6861", "#ffffff", "#2c6e49", "#a3293d", "#dedad0"
MOST_LINES = 40
LEGEND = (
    "Heat: how similar each patch is to the sentence by itself, from the least (dark) to the most (bright, ring) of a "
    "map. Solid: best region. Dashed: true box. Pale: cut away, never seen. "
    "Blue words carry the match, orange ones weigh against it."
)


def draw(one: Explained) -> Image.Image:
    """A subject as a picture, as high as it needs to be."""
    parts = [_title(one), _panels(one), *([_instead(one)] if one.subject.instead else []), *_sentences(one), _legend()]
    sheet = Image.new("RGB", (WIDTH, sum(part.height + GAP for part in parts) + 2 * MARGIN - GAP), "white")
    top = MARGIN
    for part in parts:
        sheet.paste(part, (MARGIN, top))
        top += part.height + GAP
    return sheet


def png(picture: Image.Image) -> bytes:
    """A picture as the content of a PNG file."""
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def short_name(model: str) -> str:
    """A model's name without where it lies here, and no longer than there is room for."""
    name = shown_name(model)
    return name if len(name) <= 48 else f"…{name[-47:]}"


def _title(one: Explained) -> Image.Image:
    first = one.explanations[0]
    text = f"{one.subject.id}   {first.width:,} x {first.height:,} pixels"
    return _text(text, WIDTH - 2 * MARGIN, size=SIZE, ink=GREY)


def _legend() -> Image.Image:
    return _text(LEGEND, WIDTH - 2 * MARGIN, size=SMALL, ink=GREY)


def _text(text: str, width: int, *, size: int = SIZE, ink: str = INK, most: int = MOST_LINES) -> Image.Image:
    """A text as wide as is said and as high as it needs to be."""
    font, leading = font_of(size), size + 6
    placed = [piece for piece in lay_out(text, font, width) if piece.line < most]
    part = Image.new("RGB", (width, leading * (placed[-1].line + 1 if placed else 0)), "white")
    write(ImageDraw.Draw(part), placed, (0, 0), font, ink=ink, leading=leading)
    return part


# Above


def _panels(one: Explained) -> Image.Image:
    """Two models share the width; one has its text beside its images."""
    count = len(one.explanations)
    width = HALF if count > 1 else 2 * HALF + GAP
    panels = [_panel(one.subject.image, found, width) for found in one.explanations]
    return beside(panels, GAP)


def _panel(image: Image.Image, found: Explanation, width: int) -> Image.Image:
    small = fitted(image, PANEL)
    boxes = [
        (str(number), sentence.box, _colour(number - 1))
        for number, sentence in enumerate(found.sentences, 1)
        if sentence.box is not None
    ]
    shown = numbered(small, boxes, found.width, found.height, font_of(SMALL))
    attended = small
    if found.attention_GG is not None:
        attended = with_heat(small, found.attention_GG, found.view, found.width, found.height)
    pictures = beside([_named("best regions", shown), _named("attention of the image", attended)], GAP)
    name = _text(f"{short_name(found.model)}: similarity {found.similarity:.3f}", HALF, size=SIZE + 3)
    head, caption = below([name, pictures], 8), _caption(found)
    return beside([head, caption], GAP) if width > HALF else below([head, caption], 12)


def _named(name: str, picture: Image.Image) -> Image.Image:
    return below([_text(name, PANEL, size=SMALL, ink=GREY), picture], 0)


def _caption(found: Explanation) -> Image.Image:
    numbers = {sentence.span[0]: number for number, sentence in enumerate(found.sentences, 1)}
    placed = lay_out(found.caption, font_of(SIZE), HALF, numbers)
    return _written(placed, HALF, MOST_LINES, INK, shades(found.words))


def _written(
    placed: Sequence[Piece], width: int, most: int, ink: str, words: Sequence[tuple[Span, float]] = ()
) -> Image.Image:
    """Pieces of the caption on as many lines as they need, and an ellipsis where those are more than `most`."""
    lines = placed[-1].line + 1 if placed else 0
    part = Image.new("RGB", (width, LEADING * min(lines, most) + 4), "white")
    kept, font = [piece for piece in placed if piece.line < most], font_of(SIZE)
    write(ImageDraw.Draw(part), kept, (1, 2), font, ink=ink, leading=LEADING, words=words, colours=COLOURS)
    return below([part, _text("…", width, ink=GREY)], 0) if lines > most else part


def _instead(one: Explained) -> Image.Image:
    """What came first in the place of a worst case's own image."""
    instead = one.subject.instead
    assert instead is not None  # asked for only then
    ranks = ", ".join(
        f"{rank:,} by {short_name(found.model)}" for rank, found in zip(instead.ranks, one.explanations, strict=True)
    )
    told = f"For its caption, this image came at rank {ranks}, of {instead.gallery:,} images. First came {instead.name}"
    text = _text(f"{told}{'' if instead.image else ', which cannot be read'}.", HALF, ink=MISS)
    return beside([text, *([fitted(instead.image, TILE)] if instead.image else [])], GAP)


# Below


def _sentences(one: Explained) -> list[Image.Image]:
    """Rows of cells, as many in each as there is room for."""
    columns = 2 if len(one.explanations) > 1 else 3
    width = (WIDTH - 2 * MARGIN - GAP * (columns - 1)) // columns
    cells = [_cell(one, index, width) for index in range(len(one.explanations[0].sentences))]
    return [beside(cells[start : start + columns], GAP) for start in range(0, len(cells), columns)]


def _cell(one: Explained, index: int, width: int) -> Image.Image:
    tiles = [_tile(one, column, index) for column in range(len(one.explanations))]
    pictures = beside(tiles, GAP)
    rest, (start, end) = width - pictures.width - GAP, one.explanations[0].sentences[index].span
    seen = any(found.sentences[index].visible for found in one.explanations)
    placed = lay_out(one.subject.caption[start:end], font_of(SIZE), rest, {start: index + 1}, start)
    said = [_written(placed, rest, TILE // LEADING, INK if seen else GREY)]
    if one.instead_scores:
        told = f"in what came first: {one.instead_scores[index]:.3f}"
        said.append(_text(told, rest, size=SMALL, ink=GREY))
    return below([Image.new("RGB", (width, 1), RULE), beside([pictures, below(said, 2)], GAP)], 10)


def _tile(one: Explained, column: int, index: int) -> Image.Image:
    """A sentence's heat map by one model, with what is to be said of it above."""
    found, judged = one.explanations[column], one.judged[column][index]
    sentence, small = found.sentences[index], fitted(one.subject.image, TILE)
    if sentence.heat_GG is not None:
        small = with_heat(small, sentence.heat_GG, found.view, found.width, found.height)
    for box in one.subject.boxes(sentence.span):
        outline(small, box, found.width, found.height, TRUE, dashed=True)
    if sentence.box is not None:
        outline(small, sentence.box, found.width, found.height, _colour(index), inset=3)  # the two may be equal
    if (patch := top_patch(found, index)) is not None:
        mark(small, patch, found.width, found.height)
    names = [short_name(found.model)] if len(one.explanations) > 1 else []
    lines = [_text(name, TILE, size=SMALL, ink=GREY, most=1) for name in names]
    lines.append(_text(f"{sentence.score:.3f} {'region' if sentence.box else 'image'}", TILE, size=SMALL))
    if sentence.heat_GG is None:
        lines.append(_text("no patch projection, so no map", TILE, size=SMALL, ink=GREY))
    elif judged is not None:
        told, ink = ("points at it", HIT) if judged.hit else ("points elsewhere", MISS)
        lines.append(_text(told, TILE, size=SMALL, ink=ink))
    if not sentence.visible:
        lines.append(_text("beyond the text limit", TILE, size=SMALL, ink=MISS))
    return below([*lines, small], 0)


def _colour(sentence: int) -> str:
    return COLOURS[sentence % len(COLOURS)]


def beside(parts: Sequence[Image.Image], gap: int) -> Image.Image:
    """Pictures in a row, their upper edges in line."""
    width = sum(part.width for part in parts) + gap * (len(parts) - 1)
    row = Image.new("RGB", (width, max(part.height for part in parts)), "white")
    left = 0
    for part in parts:
        row.paste(part, (left, 0))
        left += part.width + gap
    return row


def below(parts: Sequence[Image.Image], gap: int) -> Image.Image:
    """Pictures in a column, their left edges in line."""
    height = sum(part.height for part in parts) + gap * (len(parts) - 1)
    column = Image.new("RGB", (max(part.width for part in parts), height), "white")
    top = 0
    for part in parts:
        column.paste(part, (0, top))
        top += part.height + gap
    return column
