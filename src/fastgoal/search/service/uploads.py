"""An image that a client sent: judged by its header, then decoded, and never kept or given out.

Only formats of pixels are tried: Pillow can also open files that start other programs (EPS) or refer to others. What a
file claims to be, by name or type, is not asked. A JPEG that is much larger than any model's input is decoded at half,
quarter or eighth its size, which is all that a query needs.
"""

import io
from typing import IO

from PIL import Image

from fastgoal.data.images import MAX_ASPECT, decode_image
from fastgoal.errors import DataError

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_ENOUGH = 1024
"""Pixels that each side of a draft has at least."""
_WHERE = "the image that was sent"


def read_upload(file: IO[bytes], pixels: int) -> Image.Image:
    """Decode what was sent into upright RGB.

    Args:
        file: at its beginning. pixels: the most that it may have.

    Raises:
        DataError: empty, none of the formats, too large, too elongated, or broken.
    """
    data = file.read()
    if not data:
        raise DataError("the file is empty (0 bytes)", where=_WHERE, mend="Choose another file.")
    try:
        image = _judged(data, pixels)
        if image.format == "JPEG":
            image.draft(None, (_ENOUGH, _ENOUGH))
        return decode_image(image, _WHERE)
    except DataError:
        raise
    except Exception as error:  # what decoders raise on bytes that were made to break them is not foreseen
        raise DataError("the image cannot be decoded", where=_WHERE, mend="Save it anew as JPEG or PNG.") from error


def _judged(data: bytes, pixels: int) -> Image.Image:
    """The image of which nothing but the header is read."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large("too many pixels", pixels) from error
    except Exception as error:
        mend = "Send a JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP."
        raise DataError("not an image in a format that is read here", where=_WHERE, mend=mend) from error
    if image.width * image.height > pixels:
        raise _too_large(f"{image.width} x {image.height} pixels", pixels)
    if max(image.size) > MAX_ASPECT * min(image.size):
        mend = f"Crop it so that its long side is at most {MAX_ASPECT} times the short one."
        raise DataError(f"the image is too elongated ({image.width} x {image.height} pixels)", where=_WHERE, mend=mend)
    return image


def _too_large(size: str, pixels: int) -> DataError:
    return DataError(f"the image is too large ({size})", where=_WHERE, mend=f"Scale it below {pixels:,} pixels.")
