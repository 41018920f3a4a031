"""Pictures as text that can stand inside a page: no file beside it, no request."""

import base64
import io
from typing import Literal

from PIL import Image

from fastgoal.geometry import Box, clip_box


def image_uri(image: Image.Image, kind: Literal["JPEG", "PNG"] = "JPEG", *, quality: int = 80) -> str:
    """A data URI of an image; `quality` is JPEG's."""
    out = io.BytesIO()
    image.save(out, kind, optimize=True, **({"quality": quality} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def svg_rectangle(box: Box, width: int, height: int) -> dict[str, float]:
    """A box as the attributes of an SVG rectangle, cut to the image."""
    x1, y1, x2, y2 = clip_box(box, width, height)
    return {"x": round(x1, 1), "y": round(y1, 1), "width": round(x2 - x1, 1), "height": round(y2 - y1, 1)}
