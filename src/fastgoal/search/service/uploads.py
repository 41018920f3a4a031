"""An image that a client sent: judged by its header, then decoded, and never kept or given out.

Only formats of pixels are tried: Pillow can also open files that start other programs (EPS) or refer to others. What a
file claims to be, by name or type, is not asked. A JPEG that is much larger than any model's input is decoded at half,
quarter or eighth its size, which is all that a query needs.
"""

import io
from typing import IO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from fastgoal.data.images import MAX_ASPECT, decode_image
from fastgoal.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_ENOUGH = 1024
"""Pixels that each side of a draft has at least."""
_WHERE = "the image that was sent"


class UploadError(DataError):
    """What a client sent is no image that may be decoded."""


def read_upload(file: IO[bytes], pixels: int) -> Image.Image:
    """Decode what was sent into upright RGB.

    Args:
        file: at its beginning. pixels: the most that it may have.

    Raises:
        UploadError: empty, none of the formats, too large, too elongated, or broken.
    """
    data = file.read()
    if not data:
        raise UploadError("the file is empty (0 bytes)", where=_WHERE, mend="Choose another file.")
    image = _judged(data, pixels)
    try:
        if isinstance(image, JpegImageFile):
            image.draft(None, (_ENOUGH, _ENOUGH))
        return decode_image(image, _WHERE)
    except DataError as error:
        raise UploadError(error.what, where=_WHERE, mend=error.mend) from error
    except Exception as error:  # what decoders raise on bytes that were made to break them is not foreseen
        raise UploadError("the image cannot be decoded", where=_WHERE, mend="Save it anew as JPEG or PNG.") from error


def _judged(data: bytes, pixels: int) -> Image.Image:
    """The image of which nothing but the header is read."""
    Image.init()
    known = [kind for kind in FORMATS if kind in Image.OPEN]  # Pillow may be built without some
    try:
        image = Image.open(io.BytesIO(data), formats=known)
    except Image.DecompressionBombError as error:
        raise _too_large("too many pixels", pixels) from error
    except Exception as error:  # likewise
        mend = "Send a JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP."
        raise UploadError("not an image in a format that is read here", where=_WHERE, mend=mend) from error
    size = f"{image.width} x {image.height} pixels"
    if image.width * image.height > pixels:
        raise _too_large(size, pixels)
    if max(image.size) > MAX_ASPECT * min(image.size):
        mend = f"Crop it so that its long side is at most {MAX_ASPECT} times the short one."
        raise UploadError(f"the image is too elongated ({size})", where=_WHERE, mend=mend)
    return image


def _too_large(size: str, pixels: int) -> UploadError:
    return UploadError(f"the image is too large ({size})", where=_WHERE, mend=f"Scale it below {pixels:,} pixels.")
