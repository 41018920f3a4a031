"""A few samples in one picture: each image with its given boxes, its caption beside it, every sentence in its colour.

A box that is the truth of some words has the colour of the sentence that holds them; other boxes are grey.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fastgoal.checking.audit import Audit
from fastgoal.checking.captions import evenly
from fastgoal.checking.sameness import samples_at
from fastgoal.data.images import read_image
from fastgoal.data.samples import GivenRegion, Sample, Span
from fastgoal.data.sentences import split_sentences
from fastgoal.errors import DataError
from fastgoal.files import write_file, writing

EXAMPLES = 5
COLOURS = ("#0b6e99", "#b5420f", "#2f7d32", "#7b3fa0", "#a3730a", "#a01f4c")
"""Of sentences, in turn; dark enough to read on white."""
_INK, _GREY = "#333333", "#808080"
_IMAGE = 360
"""Longest side of an image, pixels."""
_TEXT = 620
_MARGIN = 20
_SIZE, _LEADING = 15, 20
_MOST_LINES = 24


@dataclass(frozen=True, kw_only=True)
class _Word:
    text: str
    colour: str
    x: int
    line: int


def draw_examples(found: Audit, file: str | Path, language: str = "en") -> int:
    """Write a PNG of up to five usable samples, drawn evenly; returns how many.

    Raises:
        DataError: the disk refuses.
    """
    usable_K = np.flatnonzero(found.ledger.usable_N)
    chosen = [int(number) for i, number in enumerate(usable_K) if evenly(i, EXAMPLES, len(usable_K))]
    rows: list[Image.Image] = []
    for sample in samples_at(found.source, chosen).values():
        try:
            image = read_image(found.source.images.open(sample.image))
        except DataError:
            continue  # not among the images that were opened before
        rows.append(draw_sample(sample, image, language))
    height = sum(row.height for row in rows) + _MARGIN * (len(rows) + 1)
    sheet = Image.new("RGB", (_IMAGE + _TEXT + 3 * _MARGIN, height), "white")
    top = _MARGIN
    for row in rows:
        sheet.paste(row, (_MARGIN, top))
        top += row.height + _MARGIN
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    with writing(Path(file)):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    write_file(Path(file), out.getvalue())
    return len(rows)


def draw_sample(sample: Sample, image: Image.Image, language: str) -> Image.Image:
    """One sample: image and boxes on the left, name and caption on the right."""
    sentences = split_sentences(sample.caption, language)
    small = _with_boxes(image, sample.regions, sentences)
    font = font_of()
    words = list(_laid_out(sample.caption, sentences, font))
    lines = min(words[-1].line + 1, _MOST_LINES) if words else 0
    row = Image.new("RGB", (_IMAGE + _MARGIN + _TEXT, max(small.height, _LEADING * (lines + 1) + 8)), "white")
    row.paste(small, (0, 0))
    pen = ImageDraw.Draw(row)
    left = _IMAGE + _MARGIN
    pen.text((left, 0), f"{sample.id}  ({image.width} x {image.height})", font=font, fill=_GREY)
    for word in words:
        if word.line < _MOST_LINES:
            pen.text((left + word.x, _LEADING * (word.line + 1) + 6), word.text, font=font, fill=word.colour)
    if words and words[-1].line >= _MOST_LINES:
        pen.text((left, row.height - _LEADING), "...", font=font, fill=_GREY)
    return row


def _with_boxes(image: Image.Image, regions: Sequence[GivenRegion], sentences: Sequence[Span]) -> Image.Image:
    scale = _IMAGE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = image.resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(small)
    for region in regions:
        x1, y1, x2, y2 = (round(value * scale) for value in region.box)
        if x2 - x1 > 2 and y2 - y1 > 2:
            pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline="white", width=4)
            pen.rectangle((x1 + 1, y1 + 1, x2 - 2, y2 - 2), outline=_box_colour(region, sentences), width=2)
    return small


def _box_colour(region: GivenRegion, sentences: Sequence[Span]) -> str:
    span = region.span
    if span is None:
        return _GREY
    return next((_colour(i) for i, (start, end) in enumerate(sentences) if start < span[1] and span[0] < end), _GREY)


def _colour(sentence: int) -> str:
    return COLOURS[sentence % len(COLOURS)]


def _laid_out(caption: str, sentences: Sequence[Span], font: ImageFont.FreeTypeFont) -> Iterator[_Word]:
    """The caption's words in their colours, broken into lines; words wider than a line are broken anywhere."""
    x, line = 0.0, 0
    space = font.getlength(" ")
    for text, colour in _coloured(caption, sentences):
        for piece in pieces(text, font, _TEXT):
            width = font.getlength(piece)
            if x and x + width > _TEXT:
                x, line = 0.0, line + 1
            yield _Word(text=piece, colour=colour, x=round(x), line=line)
            x += width + space


def _coloured(caption: str, sentences: Sequence[Span]) -> Iterator[tuple[str, str]]:
    """Words with the colour of their sentence; what belongs to none is grey."""
    end = 0
    for number, (start, stop) in enumerate(sentences):
        yield from ((word, _GREY) for word in caption[end:start].split())
        yield from ((word, _colour(number)) for word in caption[start:stop].split())
        end = stop
    yield from ((word, _GREY) for word in caption[end:].split())


def pieces(word: str, font: ImageFont.FreeTypeFont, width: float) -> Iterator[str]:
    """A word, or what fits into `width` pixels of it at a time."""
    while word:
        cut = len(word)
        while cut > 1 and font.getlength(word[:cut]) > width:
            cut = min(cut - 1, int(cut * width / font.getlength(word[:cut])) + 1)
        yield word[:cut]
        word = word[cut:]


def font_of(size: int = _SIZE) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: Latin, Greek, Cyrillic, Arabic; what it lacks shows as boxes."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
