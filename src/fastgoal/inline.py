"""Self-contained pages: the template that makes one, and pictures as text that can stand inside it, so that there is no
file beside it and no request.
"""

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from fastgoal.geometry import Box, clip_box


def page_template(package: str, name: str, filters: Mapping[str, Callable[..., Any]] | None = None) -> Template:
    """The template NAME of a package's folder `templates`. It escapes what it is given, since captions are strangers'
    words, and a name that it is not given is an error.
    """
    environment = Environment(
        loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters or {})
    return environment.get_template(name)


def image_uri(image: Image.Image, kind: Literal["JPEG", "PNG"] = "JPEG", *, quality: int = 80) -> str:
    """A data URI of an image; `quality` is JPEG's."""
    out = io.BytesIO()
    image.save(out, kind, optimize=True, **({"quality": quality} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def svg_rectangle(box: Box, width: int, height: int) -> dict[str, float]:
    """A box as the attributes of an SVG rectangle, cut to the image."""
    x1, y1, x2, y2 = clip_box(box, width, height)
    return {"x": round(x1, 1), "y": round(y1, 1), "width": round(x2 - x1, 1), "height": round(y2 - y1, 1)}
