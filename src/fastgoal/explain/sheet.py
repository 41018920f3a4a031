"""An explanation as one picture: a row per sentence, a column per model.

On the left what is said, with its numbers; in each column the image under that model's heat map for it, the best region
outlined, a true box dashed. The first row has the whole caption, the words that carry the match, and what the image's
embedding attends to.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from fastgoal.explain.compare import Explained
from fastgoal.explain.explanation import ExplainedSentence, Explanation
from fastgoal.explain.overlay import fitted, with_boxes, with_heat

PICTURE, TEXT, MARGIN = 280, 360, 18
"""Longest side of an image, width of the text, and what lies between, in pixels."""
SIZE, LEADING = 14, 19
INK, GREY, BEST, TRUE, HIT, MISS = "#22211e", "#6b6861", "#2f6aa3", "#2c6e49", "#2c6e49", "#a3293d"
MOST_WORDS = 5
LONGEST = 600
"""Characters of a caption or sentence that are written out."""


def draw(one: Explained) -> bytes:
    """A PNG of a subject, `width(models)` pixels wide."""
    rows = [_head(one), *(_sentence(one, index) for index in range(len(one.explanations[0].sentences)))]
    sheet = Image.new("RGB", (width(len(one.explanations)), sum(row.height + MARGIN for row in rows) + MARGIN), "white")
    top = MARGIN
    for row in rows:
        sheet.paste(row, (MARGIN, top))
        top += row.height + MARGIN
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


def width(models: int) -> int:
    """Of a picture with so many columns, in pixels."""
    return TEXT + models * (PICTURE + MARGIN) + 2 * MARGIN


def _head(one: Explained) -> Image.Image:
    subject, models = one.subject, one.explanations
    lines = [(line, INK) for line in wrap(_shortened(subject.caption))]
    for found in models:
        lines += [(line, GREY) for line in wrap(f"{_short(found.model)}: {carried(found)}")] if found.words else []
    if subject.instead is not None:
        told = f"rank {subject.instead.rank:,}; first came {subject.instead.name}"
        lines += [(line, MISS) for line in wrap(told)]
    small = fitted(subject.image, PICTURE, PICTURE)
    pictures = []
    for found in models:
        shown = small
        if found.attention_GG is not None:
            shown = with_heat(small, found.attention_GG, found.view, found.width, found.height)
        what = "attention of the image" if found.attention_GG is not None else "the image"
        pictures.append((f"{_short(found.model)}: {found.similarity:.3f}", what, shown))
    return _row([(subject.id, GREY), ("", INK), *lines], pictures)


def _sentence(one: Explained, index: int) -> Image.Image:
    subject, first = one.subject, one.explanations[0].sentences[index]
    start, end = first.span
    lines = [
        (line, INK if first.visible else GREY)
        for line in wrap(f"{index + 1}. {_shortened(subject.caption[start:end])}")
    ]
    if not first.visible:
        lines.append(("beyond the text limit", GREY))
    small, pictures = fitted(subject.image, PICTURE, PICTURE), []
    for found, hits in zip(one.explanations, one.hits, strict=True):
        sentence = found.sentences[index]
        shown = small
        if sentence.heat_GG is not None:
            shown = with_heat(small, sentence.heat_GG, found.view, found.width, found.height)
        boxes = [(box, TRUE, True) for box in subject.boxes(sentence.span)]
        if sentence.box is not None:
            boxes.append((sentence.box, BEST, False))
        said = f"{sentence.score:.3f}{_pointed(hits[index])}"
        pictures.append((said, _without_heat(sentence), with_boxes(shown, boxes, found.width, found.height)))
    return _row(lines, pictures)


def _row(lines: Sequence[tuple[str, str]], pictures: Sequence[tuple[str, str, Image.Image]]) -> Image.Image:
    """Text on the left, pictures with two lines above each on the right."""
    font, height = _font(), 2 * LEADING + max(shown.height for _, _, shown in pictures)
    row = Image.new("RGB", (width(len(pictures)) - 2 * MARGIN, max(height, LEADING * (len(lines) + 1))), "white")
    pen = ImageDraw.Draw(row)
    for number, (line, colour) in enumerate(lines):
        pen.text((0, LEADING * number), line, font=font, fill=colour)
    for column, (said, note, shown) in enumerate(pictures):
        left = TEXT + MARGIN + column * (PICTURE + MARGIN)
        pen.text((left, 0), said, font=font, fill=INK)
        pen.text((left, LEADING), note, font=font, fill=GREY)
        row.paste(shown, (left, 2 * LEADING))
    return row


def carried(found: Explanation) -> str:
    """The words that carry the match most, in words."""
    most = sorted(found.words, key=lambda word: -word.weight)[:MOST_WORDS]
    told = [f"{found.caption[word.span[0] : word.span[1]]} {word.weight:+.3f}" for word in most if word.weight > 0]
    return "carried by " + ", ".join(told) if told else "no word carries the match by itself"


def _pointed(hit: bool | None) -> str:
    return "" if hit is None else ", points at it" if hit else ", points elsewhere"


def _without_heat(sentence: ExplainedSentence) -> str:
    return "" if sentence.heat_GG is not None else "this model projects no patches"


def wrap(text: str, width: int = TEXT) -> Iterator[str]:
    """Lines of at most so many pixels; words wider than a line are broken anywhere."""
    font, line = _font(), ""
    for word in text.split():
        rest = word
        while rest:
            longer = f"{line} {rest}" if line else rest
            if font.getlength(longer) <= width:
                line, rest = longer, ""
            elif line:
                yield line
                line = ""
            else:
                cut = next(n for n in range(len(rest) - 1, 0, -1) if n == 1 or font.getlength(rest[:n]) <= width)
                yield rest[:cut]
                rest = rest[cut:]
    if line:
        yield line


def _short(model: str) -> str:
    """A model's name in the width of a column: the end of its path."""
    parts = Path(model).parts
    name = "/".join(parts[-2:]) if parts[-1:] == ("model",) else parts[-1] if parts else model
    return name if len(name) <= 24 else f"...{name[-21:]}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), SIZE)
