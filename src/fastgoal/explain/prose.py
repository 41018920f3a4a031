"""Text laid out in lines, of which each piece knows what characters of the caption it is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import ImageDraw, ImageFont

from fastgoal.checking.picture import pieces
from fastgoal.data.samples import Span
from fastgoal.explain.explanation import ExplainedWord
from fastgoal.explain.overlay import tag

FOR, AGAINST = (47, 106, 163), (178, 69, 31)
"""Colours behind words that carry a match, and behind words that weigh against it."""
STRONGEST = 0.6
"""How much of its colour the heaviest word has; the others have their share of it."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Characters from `at` on, `x` pixels into a line. number: of the sentence that begins here, else 0."""

    text: str
    at: int
    x: float
    line: int
    number: int = 0


def lay_out(
    text: str, font: ImageFont.FreeTypeFont, width: float, numbers: Mapping[int, int] | None = None, first: int = 0
) -> list[Piece]:
    """The words of a text, broken into lines; words wider than a line are broken anywhere.

    Args:
        numbers: character at which a word begins -> the number put before it, for which room is left. first: character
            that the text begins at.
    """
    placed, x, line, space = list[Piece](), 0.0, 0, font.getlength(" ")
    for match in re.finditer(r"\S+", text):
        at = first + match.start()
        number = (numbers or {}).get(at, 0)
        room = font.getlength(str(number)) + 14 if number else 0.0
        for piece in pieces(match[0], font, width - room):
            wide = room + font.getlength(piece)
            if x and x + wide > width:
                x, line = 0.0, line + 1
            placed.append(Piece(text=piece, at=at, x=x, line=line, number=number))
            x, at, number, room = x + wide + space, at + len(piece), 0, 0.0
    return placed


def shades(words: Sequence[ExplainedWord]) -> list[tuple[Span, float]]:
    """The words with their weights as shares of the heaviest, -1 to 1."""
    heaviest = max((abs(word.weight) for word in words), default=0.0) or 1.0
    return [(word.span, word.weight / heaviest) for word in words]


def on_white(share: float) -> tuple[int, int, int]:
    """The colour behind a word of this share."""
    cover = STRONGEST * abs(share)
    red, green, blue = (round(255 + cover * (part - 255)) for part in (FOR if share > 0 else AGAINST))
    return red, green, blue


def write(
    pen: ImageDraw.ImageDraw,
    placed: Sequence[Piece],
    at: tuple[float, float],
    font: ImageFont.FreeTypeFont,
    *,
    ink: str,
    leading: int,
    words: Sequence[tuple[Span, float]] = (),
    colours: Sequence[str] = (),
) -> None:
    """Draw pieces, with the shade of each word behind them and numbers of sentences in their colours before them."""
    for piece in placed:
        x, y = at[0] + piece.x, at[1] + leading * piece.line
        if piece.number:
            colour = colours[(piece.number - 1) % len(colours)]
            x += tag(pen, (x, y - 1), str(piece.number), colour, font) + 6
        for start, end, share in _behind(piece, words):
            left, right = (x + font.getlength(piece.text[:to]) for to in (start, end))
            pen.rounded_rectangle((left - 1, y - 1, right + 1, y + leading - 3), 3, fill=on_white(share))
        pen.text((x, y), piece.text, font=font, fill=ink)


def _behind(piece: Piece, words: Sequence[tuple[Span, float]]) -> Iterator[tuple[int, int, float]]:
    """The parts of a piece that have a shade, in its own characters."""
    for (start, end), share in words:
        first, last = max(start - piece.at, 0), min(end - piece.at, len(piece.text))
        if first < last:
            yield first, last, share
