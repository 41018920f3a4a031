"""A made-up photograph: as much to decode as in a real one, the same on every machine."""

import io

import numpy as np
from PIL import Image


def photo(width: int, height: int, seed: int = 0) -> bytes:
    """A JPEG of quality 90 with a photograph's mixture: broad gradients, shapes at several scales, grain."""
    rng = np.random.default_rng(seed)
    pixels_HWC = np.zeros((height, width, 3), np.float32)
    for cells, strength in ((3, 90), (12, 45), (60, 20), (300, 8)):
        coarse = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        pixels_HWC += (np.asarray(smooth, np.float32) - 128) * (strength / 128)
    pixels_HWC += 128 + rng.normal(0, 5, (height, width, 1)).astype(np.float32)  # grain is grey
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels_HWC, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()
