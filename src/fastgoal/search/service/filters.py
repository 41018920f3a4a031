"""Filters as clients send them, and the condition they become.

A client never writes SQL: it sends numbers and pieces of text, and the condition is put together here, every text
quoted. Pieces of text are looked for without regard to case.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Side = Annotated[int, Field(ge=0, le=1_000_000, description="Pixels of the upright image.")]
Piece = Annotated[str, Field(min_length=1, max_length=200)]


class Filters(BaseModel):
    """Which images may be found; all that is said has to hold."""

    model_config = ConfigDict(extra="forbid")

    min_width: Side | None = None
    max_width: Side | None = None
    min_height: Side | None = None
    max_height: Side | None = None
    id_contains: Piece | None = None
    caption_contains: Piece | None = None

    def condition(self) -> str | None:
        """In SQL over the index's columns; None if every image may be found."""
        parts = [
            f"{side} {sign} {value}"
            for side in ("width", "height")
            for sign, value in ((">=", getattr(self, f"min_{side}")), ("<=", getattr(self, f"max_{side}")))
            if value is not None
        ]
        pieces = {"id": self.id_contains, "caption": self.caption_contains}
        parts += [f"contains(lower({name}), lower({quoted(text)}))" for name, text in pieces.items() if text]
        return " AND ".join(parts) or None


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
