"""Train, validation and test shares that never cut an image's captions apart.

The one idea: an image's split is a function of (seed, image) alone, so order does not matter and adding samples later
never moves an image from one split to another. The price is that the shares hold in expectation, not exactly.
"""

import hashlib
import math
import posixpath

from fastgoal.data.source import Source
from fastgoal.errors import ConfigError

SPLITS = ("train", "val", "test")
LEAST = 20
"""Images below which a split into training, validation and test sets means nothing."""


def split_by_image(
    source: Source, shares: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0
) -> dict[str, Source]:
    """Deal a source's samples out by image.

    Args:
        shares: expected share of the images in `train`, `val` and `test`; they sum to 1 and may be 0.

    Returns:
        `{"train": ..., "val": ..., "test": ...}`, each in the order of the source.

    Raises:
        ConfigError: shares that are negative or do not sum to 1.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        raise ConfigError(
            f"shares {shares} are no division of the whole", where="shares", mend="Give three that sum to 1."
        )

    def part(name: str) -> Source:
        return source.only(lambda s: _split_of(_position(seed, s.image), shares) == name, f"{source.name} ({name})")

    return {name: part(name) for name in SPLITS}


def _position(seed: int, image: str) -> float:
    """A number in [0, 1), the same for every spelling of one relative path."""
    digest = hashlib.sha256(f"{seed}\n{posixpath.normpath(image)}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _split_of(position: float, shares: tuple[float, float, float]) -> str:
    train, val, test = shares
    if position < train:
        return "train"
    return "val" if position < train + val or test == 0 else "test"
