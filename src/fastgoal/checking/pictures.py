"""One image as the check sees it, decoded in a few threads.

What a file is (format, mode) is read from its header; whether training can use it is asked of the very function that
training reads images with.
"""

import hashlib
import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fastgoal.checking.alike import picture_hashes
from fastgoal.data.images import read_image
from fastgoal.data.samples import Sample
from fastgoal.data.store import ImageStore
from fastgoal.errors import DataError

WORKERS = min(4, os.cpu_count() or 1)
_AHEAD = 4
"""Images per thread that are under way or wait for their turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What opening an image showed. problem: why it cannot be used (then the rest is empty).

    width, height: of the upright image, in pixels. digest: 64-bit hash of the file's bytes. shape, colours, plain: see
    `picture_hashes`.
    """

    problem: DataError | None = None
    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    digest: int = 0
    shape: int = 0
    colours: int = 0
    plain: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The `number`-th sample on its way through `look_ahead`; `wanted` if its image is to be opened."""

    number: int
    sample: Sample
    wanted: bool


def look_ahead(asked: Iterable[Asked], images: ImageStore) -> Iterator[tuple[Asked, Look | None]]:
    """What was asked for, in order, with the looks at the images that are wanted; a few images are in memory at a
    time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        ahead: deque[tuple[Asked, Future[Look] | None]] = deque()
        try:
            for one in asked:
                ahead.append((one, _begin(pool, one.sample, images) if one.wanted else None))
                if len(ahead) > _AHEAD * WORKERS:
                    yield _end(*ahead.popleft())
            while ahead:
                yield _end(*ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def look(source: Path | bytes, where: str) -> Look:
    """Open one image, given by its path or its file's bytes."""
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        what = f"the image cannot be read ({error.strerror or error})"
        return Look(problem=DataError(what, where=where, mend="Check the path in the data and --root."))
    try:
        image = read_image(data, where)
    except DataError as error:
        return Look(problem=error)
    with Image.open(io.BytesIO(data)) as header:
        kind, mode = header.format or "?", header.mode
    shape, colours, plain = picture_hashes(image)
    digest = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())
    return Look(
        width=image.width,
        height=image.height,
        format=kind,
        mode=mode,
        digest=digest,
        shape=shape,
        colours=colours,
        plain=plain,
    )


def place_of(sample: Sample) -> str:
    """Where a sample's image is spoken of: its row and its URI."""
    return f"{sample.where}, image {sample.image}" if sample.where else sample.image


def _begin(pool: ThreadPoolExecutor, sample: Sample, images: ImageStore) -> "Future[Look]":
    where = place_of(sample)
    try:
        source = images.open(sample.image)  # here and not in the pool: a table is no place for several threads
    except DataError as error:
        gone: Future[Look] = Future()
        gone.set_result(Look(problem=DataError(error.what, where=where, mend=error.mend)))
        return gone
    return pool.submit(look, source, where)


def _end(asked: Asked, under_way: "Future[Look] | None") -> tuple[Asked, Look | None]:
    return asked, None if under_way is None else under_way.result()
