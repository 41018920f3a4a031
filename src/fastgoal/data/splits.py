"""Train, validation and test shares that never cut an image's captions apart.

The one idea: an image's split is a function of (seed, image) alone, so order does not matter and adding samples later
never moves an image from one split to another. The price is that the shares hold in expectation, not exactly.
"""

import hashlib
import math
import posixpath
from collections.abc import Mapping

from fastgoal.data.samples import Sample
from fastgoal.data.source import Source
from fastgoal.data.store import ImageStore
from fastgoal.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")
LEAST = 20
"""Images below which a split into training, validation and test sets means nothing."""


def same_pictures(source: Source) -> dict[str, str]:
    """Images with the bytes of an earlier one under another name, each with that first one.

    Only images in files of equal size are read. Those that cannot be read are left for later stages to name.
    """
    by_size: dict[int, list[str]] = {}
    for image in dict.fromkeys(sample.image for sample in source):
        by_size.setdefault(source.images.size(image), []).append(image)
    first_of: dict[bytes, str] = {}
    found: dict[str, str] = {}
    for images in by_size.values():
        for image in images if len(images) > 1 else ():
            if (digest := _digest(source.images, image)) is not None:
                first = first_of.setdefault(digest, image)
                found |= {image: first} if first != image else {}
    return found


def _digest(images: ImageStore, image: str) -> bytes | None:
    try:
        content = images.open(image)
        return hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).digest()
    except (DataError, OSError, ValueError):
        return None


def split_by_image(
    source: Source,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    same: Mapping[str, str] | None = None,
) -> dict[str, Source]:
    """Deal a source's samples out by image.

    Args:
        shares: expected share of the images in `train`, `val` and `test`; they sum to 1 and may be 0.
        same: images that go where another one goes (see `same_pictures`).

    Returns:
        `{"train": ..., "val": ..., "test": ...}`, each in the order of the source.

    Raises:
        ConfigError: shares that are negative or do not sum to 1.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        raise ConfigError(
            f"shares {shares} are no division of the whole", where="shares", mend="Give three that sum to 1."
        )

    goes_with = same or {}

    def split_of(sample: Sample) -> str:
        return _split_of(_position(seed, goes_with.get(sample.image, sample.image)), shares)

    def part(name: str) -> Source:
        return source.only(lambda sample: split_of(sample) == name, f"{source.name} ({name})")

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
