"""Images: from bytes to the upright RGB picture, and from there to the square a model sees.

Users' files are turned by EXIF, transparent, 16 bit, CMYK, truncated, or no images at all; everything downstream sees
plain upright RGB or one clear error. The one idea: the same `placement` (geometry) fits pixels and boxes, and fitting
equals transformers' `CLIPImageProcessorPil` bit for bit, at the cost of one Pillow resize.

Shapes: B images, H = W = `fit.size`, C = 3 channels.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fastgoal.errors import ConfigError, DataError
from fastgoal.geometry import Box, ImageFit, Placement, placement

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"})
MAX_PIXELS = 89_478_485
"""Largest image read, in pixels: Pillow's own warning limit against decompression bombs (256 MiB as RGB). The
environment variable `FASTGOAL_MAX_PIXELS` sets another."""
MAX_ASPECT = 100
"""Largest ratio of the long side to the short one: fitted by its short side to 224 px, such an image has 5 million
pixels."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = [_TURNS[orientation] for orientation in (5, 6, 7, 8)]
# What Pillow's decoders raise on broken files, depending on the format and on where it is broken.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def read_image(source: str | Path | bytes, where: object = None) -> Image.Image:
    """Decode an image into upright RGB: EXIF orientation applied, transparency on white, first frame of an animation.

    Args:
        source: a path, or the bytes of the file.
        where: what to name in an error (default: the path).

    Raises:
        DataError: not there, no regular file, empty, not an image, truncated, too large or too elongated, or of
            floating-point pixels.
    """
    where = named(source, where)
    return decode_image(open_image(source, where), where)


def named(source: str | Path | bytes, where: object = None) -> object:
    """What an error calls an image."""
    return where if where is not None else ("image bytes" if isinstance(source, bytes) else source)


def open_image(source: str | Path | bytes, where: object) -> Image.Image:
    """An image whose header says that it may be decoded, and of which nothing is decoded yet.

    Raises:
        DataError: as `read_image`, as far as the header tells.
    """
    data = source if isinstance(source, bytes) else _read_bytes(Path(source), where)
    if not data:
        raise DataError(
            "the image file is empty (0 bytes)", where=where, mend="Copy it again or remove it from the data."
        )
    image = _open(data, where)
    size = f"{image.width} x {image.height} pixels"
    if image.width * image.height > max_pixels():
        raise _too_large(size, where)
    if max(image.size) > MAX_ASPECT * min(image.size):
        mend = f"Crop it so that its long side is at most {MAX_ASPECT} times the short one."
        raise DataError(f"the image is too elongated ({size})", where=where, mend=mend)
    return image


def decode_image(image: Image.Image, where: object) -> Image.Image:
    """The pixels of an opened image as upright RGB.

    Raises:
        DataError: truncated, or of floating-point pixels.
    """
    try:
        image.load()
    except _BROKEN as error:
        mend = "The file is probably truncated; copy it again or remove it from the data."
        raise DataError("the image cannot be decoded", where=where, mend=f"{mend} Pillow says: {error}.") from error
    turn = turn_of(image)
    return _rgb(image if turn is None else image.transpose(turn), where)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What brings an opened image upright, by its EXIF orientation; None if it stands upright."""
    return _turn(image, lambda opened: opened.getexif())


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an opened image once it is upright, from what stands before its pixels: a PNG that says its
    orientation behind them is taken as it is stored."""
    # Not the PNG's own `getexif`, which decodes the image.
    return (image.height, image.width) if _turn(image, Image.Image.getexif) in _SWAPS_SIDES else image.size


def _turn(image: Image.Image, exif: Callable[[Image.Image], Image.Exif]) -> Image.Transpose | None:
    # Not ImageOps.exif_transpose: it also rewrites the EXIF block, which fails on blocks that editors left malformed.
    try:
        return _TURNS.get(exif(image).get(_ORIENTATION, 1))
    except _BROKEN:
        return None


def max_pixels() -> int:
    """The most pixels an image may have.

    Raises:
        ConfigError: `FASTGOAL_MAX_PIXELS` is not a whole number above 0.
    """
    given = os.environ.get("FASTGOAL_MAX_PIXELS")
    if given is None:
        return MAX_PIXELS
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(f"{given!r} is no number of pixels", where="FASTGOAL_MAX_PIXELS", mend="Set a whole number.")
    Image.MAX_IMAGE_PIXELS = int(given)  # Pillow refuses by its own limit before ours is asked
    return int(given)


def _read_bytes(path: Path, where: object) -> bytes:
    mend = "Check the path in the data and --root."
    try:
        if path.exists() and not path.is_file():  # a named pipe would be waited for for ever
            raise DataError("the image cannot be read (not a file)", where=where, mend=mend)
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"the image cannot be read ({reason})", where=where, mend=mend) from error


def _open(data: bytes, where: object) -> Image.Image:
    max_pixels()
    try:
        return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise _too_large("too many pixels", where) from error
    except _BROKEN as error:
        mend = "Convert it to JPEG, PNG or WebP, or remove it from the data."
        raise DataError("not an image that Pillow can open", where=where, mend=mend) from error


def _too_large(size: str, where: object) -> DataError:
    return DataError(f"the image is too large ({size})", where=where, mend=f"Scale it below {max_pixels():,} pixels.")


def _rgb(image: Image.Image, where: object) -> Image.Image:
    if image.mode == "F":
        mend = "Save it with 8 or 16 bits per channel."
        raise DataError("the image has floating-point pixels", where=where, mend=mend)
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)  # Pillow's own conversion clips 16 bits at 255 instead of scaling
        image = Image.fromarray((np.clip(grey, 0, 65535) >> (8 if grey.max(initial=0) > 255 else 0)).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def fit_pixels(image: Image.Image, fit: ImageFit, box: Box | None = None) -> npt.NDArray[np.uint8]:
    """The model's square input for an image, or for a crop of it, before normalisation.

    Args:
        image: upright RGB, as `read_image` gives it.
        fit: how the model wants its input.
        box: the crop, in whole pixels inside the image; None for the whole image.

    Returns: uint8 H x W x C, equal to transformers' `CLIPImageProcessorPil` on the same image or crop.

    Raises:
        DataError: the box is empty, not in whole pixels, or leaves the image.
    """
    # Crop first: resizing with Pillow's `box=` would blend in pixels from outside the crop.
    image = image if box is None else image.crop(whole_pixels(box, *image.size))
    place = placement(image.width, image.height, fit)
    return on_square(image.resize((place.width, place.height), resample=fit.resample), place, fit)


def on_square(resized: Image.Image, place: Placement, fit: ImageFit) -> npt.NDArray[np.uint8]:
    """The square, uint8 H x W x C, of an image that was resized as `place` says: cut, or centred on black."""
    if (place.width, place.height) != (fit.size, fit.size):
        resized = resized.crop((-place.left, -place.top, fit.size - place.left, fit.size - place.top))  # black outside
    return np.array(resized)


def whole_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The box as integers.

    Raises:
        DataError: it is empty, not in whole pixels, or leaves an image of `width` x `height`.
    """
    x1, y1, x2, y2 = (int(value) for value in box)
    if (x1, y1, x2, y2) != tuple(box) or not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        mend = "Clip it to the image and round it outward to whole pixels."
        raise DataError(f"the box {tuple(box)} is no crop of a {width} x {height} image", mend=mend)
    return x1, y1, x2, y2


def normalise(pixels_BHWC: torch.Tensor, fit: ImageFit) -> torch.Tensor:
    """Stacked uint8 views as the encoder's input: float32 B x C x H x W, `(value / 255 - mean) / std`."""
    mean_C11 = torch.tensor(fit.mean, device=pixels_BHWC.device)[:, None, None]
    std_C11 = torch.tensor(fit.std, device=pixels_BHWC.device)[:, None, None]
    pixels_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float()
    return ((pixels_BCHW / 255 - mean_C11) / std_C11).contiguous()
