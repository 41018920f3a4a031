"""Explanations as one self-contained page: every sentence with its region and heat map, model beside model.

The image stands in the page once per subject; a heat map is a picture of G x G pixels that the browser stretches over
it, and boxes are drawn as vectors. Everything that came from a user is escaped by the template.
"""

import base64
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from fastgoal.explain.compare import Explained, pointing
from fastgoal.explain.explanation import Explanation
from fastgoal.explain.overlay import Floats, fitted, heat_rgba
from fastgoal.explain.sheet import carried
from fastgoal.geometry import Box

EDGE, QUALITY = 420, 82


def render(every: Sequence[Explained], title: str) -> str:
    """The page as text."""
    return str(
        _template().render(
            title=title,
            subjects=[_subject(one) for one in every],
            pointing=pointing(every),
            models=[found.model for found in every[0].explanations] if every else [],
        )
    )


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("fastgoal.explain"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("explain.html.j2")


def _subject(one: Explained) -> dict[str, Any]:
    subject, first = one.subject, one.explanations[0]
    instead = subject.instead
    return {
        "id": subject.id,
        "image": _jpeg(subject.image),
        "width": subject.image.width,
        "height": subject.image.height,
        "caption": subject.caption,
        "instead": None
        if instead is None
        else {
            "name": instead.name,
            "rank": instead.rank,
            "image": None if instead.image is None else _jpeg(instead.image),
        },
        "models": [_model(found) for found in one.explanations],
        "sentences": [_sentence(one, index) for index in range(len(first.sentences))],
    }


def _model(found: Explanation) -> dict[str, Any]:
    return {
        "name": found.model,
        "similarity": found.similarity,
        "carried": carried(found) if found.words else "",
        "parts": _parts(found),
        "attention": None if found.attention_GG is None else _heat(found.attention_GG, found),
    }


def _parts(found: Explanation) -> list[dict[str, Any]]:
    """The caption in pieces: words with their weight, from -1 to 1 of the heaviest, and what lies between."""
    heaviest = max((abs(word.weight) for word in found.words), default=0.0) or 1.0
    parts, end = list[dict[str, Any]](), 0
    for word in found.words:
        parts.append({"text": found.caption[end : word.span[0]], "share": None, "weight": 0.0})
        text = found.caption[word.span[0] : word.span[1]]
        parts.append({"text": text, "share": word.weight / heaviest, "weight": word.weight})
        end = word.span[1]
    parts.append({"text": found.caption[end:], "share": None, "weight": 0.0})
    return [part for part in parts if part["text"]]


def _sentence(one: Explained, index: int) -> dict[str, Any]:
    first = one.explanations[0].sentences[index]
    start, end = first.span
    views = []
    for found, hits in zip(one.explanations, one.hits, strict=True):
        sentence = found.sentences[index]
        views.append(
            {
                "score": sentence.score,
                "box": None if sentence.box is None else _rectangle(sentence.box),
                "heat": None if sentence.heat_GG is None else _heat(sentence.heat_GG, found),
                "hit": hits[index],
            }
        )
    truth = [_rectangle(box) for box in one.subject.boxes(first.span)]
    return {"text": one.subject.caption[start:end], "visible": first.visible, "views": views, "truth": truth}


def _heat(heat_GG: Floats, found: Explanation) -> dict[str, Any]:
    """The map as a picture of G x G pixels, and where it lies over the image, in percent of its sides."""
    x1, y1, x2, y2 = found.view
    place = {"left": x1 / found.width, "top": y1 / found.height}
    place |= {"width": (x2 - x1) / found.width, "height": (y2 - y1) / found.height}
    return {"uri": _png(heat_rgba(heat_GG)), **{name: round(100 * share, 3) for name, share in place.items()}}


def _rectangle(box: Box) -> dict[str, float]:
    x1, y1, x2, y2 = box
    return {name: round(v, 1) for name, v in {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}.items()}


def _jpeg(image: Image.Image) -> str:
    out = io.BytesIO()
    (fitted(image, EDGE, EDGE) if max(image.size) > EDGE else image).save(out, "JPEG", quality=QUALITY, optimize=True)
    return _uri(out.getvalue(), "jpeg")


def _png(rgba: Any) -> str:
    out = io.BytesIO()
    Image.fromarray(rgba).save(out, "PNG", optimize=True)
    return _uri(out.getvalue(), "png")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
