"""Explanations as one self-contained page: every sentence with its region and heat map, model beside model.

An image stands in the page once, a heat map likewise, as backgrounds that large and small pictures share; boxes are
vectors. A script of a few lines shows the sentence under the pointer; it is named to the browser by its hash, so that
no other script can run. Everything that came from a user is escaped by the template.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from fastgoal.checking.picture import COLOURS
from fastgoal.explain.compare import Explained, pointing, top_patch
from fastgoal.explain.explanation import Explanation, Floats
from fastgoal.explain.overlay import fitted, heat_image
from fastgoal.explain.prose import shades
from fastgoal.explain.sheet import short_name
from fastgoal.inline import image_uri, page_template, svg_rectangle

EDGE, QUALITY = 640, 82
PIXELS = 5
"""Of a heat map in the page, for each patch: the browser does the rest."""


def render(every: Sequence[Explained], title: str) -> str:
    """The page as text.

    Args:
        every: at least one, all by the same models.
    """
    script = files("fastgoal.explain").joinpath("templates", "explain.js").read_text(encoding="utf-8")
    return _template().render(
        title=title,
        subjects=[_subject(one) for one in every],
        models=_models(every),
        colours=COLOURS,
        script=Markup(script),  # ours, and escaped it would not run
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@cache
def _template() -> Template:
    filters = {"signed": lambda value: f"{value:+.4f}".replace("-", "−")}
    return page_template("fastgoal.explain", "explain.html.j2", filters)


def _models(every: Sequence[Explained]) -> list[dict[str, Any]]:
    """Each model over all subjects."""
    pointed = {row.model: row for row in pointing(every)}
    return [
        {
            "name": short_name(first.model),
            "similarity": sum(one.explanations[column].similarity for one in every) / len(every),
            "pointing": pointed.get(first.model),
        }
        for column, first in enumerate(every[0].explanations)
    ]


def _columns(one: Explained) -> range:
    return range(len(one.explanations))


def _subject(one: Explained) -> dict[str, Any]:
    subject, first = one.subject, one.explanations[0]
    small = fitted(subject.image, EDGE) if max(subject.image.size) > EDGE else subject.image
    return {
        "id": subject.id,
        "image": image_uri(small, quality=QUALITY),
        "width": first.width,
        "height": first.height,
        "caption": subject.caption,
        "instead": _instead(one),
        "models": [_model(one, column) for column in _columns(one)],
        "sentences": [_sentence(one, index) for index in range(len(first.sentences))],
        "weighed": bool(first.words),
    }


def _instead(one: Explained) -> dict[str, Any] | None:
    instead = one.subject.instead
    if instead is None:
        return None
    names = [short_name(found.model) for found in one.explanations]
    return {
        "name": instead.name,
        "image": None if instead.image is None else image_uri(fitted(instead.image, EDGE // 2), quality=QUALITY),
        "ranks": list(zip(names, instead.ranks, strict=True)),
        "gallery": instead.gallery,
    }


def _model(one: Explained, column: int) -> dict[str, Any]:
    found = one.explanations[column]
    x1, y1, x2, y2 = found.view
    place = {"left": x1 / found.width, "top": y1 / found.height}
    place |= {"width": (x2 - x1) / found.width, "height": (y2 - y1) / found.height}
    return {
        "name": short_name(found.model),
        "similarity": found.similarity,
        "parts": _parts(found),
        "view": {name: f"{100 * share:.3f}%" for name, share in place.items()},
        "attention": None if found.attention_GG is None else _map(found.attention_GG),
    }


def _map(heat_GG: Floats) -> str:
    side = PIXELS * len(heat_GG)
    return image_uri(heat_image(heat_GG, side, side), "PNG")


def _parts(found: Explanation) -> list[dict[str, Any]]:
    """The caption in pieces: words with their weight, and as a share of the heaviest, and what lies between them."""
    parts, end = list[dict[str, Any]](), 0
    for word, ((start, stop), share) in zip(found.words, shades(found.words), strict=True):
        parts.append({"text": found.caption[end:start], "share": None})
        parts.append({"text": found.caption[start:stop], "share": share, "weight": word.weight})
        end = stop
    parts.append({"text": found.caption[end:], "share": None})
    return [part for part in parts if part["text"]]


def _sentence(one: Explained, index: int) -> dict[str, Any]:
    first = one.explanations[0].sentences[index]
    truth = [svg_rectangle(box, *_size(one)) for box in one.subject.boxes(first.span)]
    return {
        "number": index + 1,
        "text": one.subject.caption[first.span[0] : first.span[1]],
        "views": [_view(one, column, index) for column in _columns(one)],
        "truth": truth,
        "instead": one.instead_scores[index] if one.instead_scores else None,
    }


def _view(one: Explained, column: int, index: int) -> dict[str, Any]:
    found, judged = one.explanations[column], one.judged[column][index]
    sentence, patch = found.sentences[index], top_patch(found, index)
    return {
        "score": sentence.score,
        "visible": sentence.visible,
        "box": None if sentence.box is None else svg_rectangle(sentence.box, *_size(one)),
        "shift": 1.35 * sum(other.box == sentence.box for other in found.sentences[:index]),  # so that no number hides
        "heat": None if sentence.heat_GG is None else _map(sentence.heat_GG),
        "patch": None if patch is None else {"cx": (patch[0] + patch[2]) / 2, "cy": (patch[1] + patch[3]) / 2},
        "hit": None if judged is None else judged.hit,
    }


def _size(one: Explained) -> tuple[int, int]:
    return one.explanations[0].width, one.explanations[0].height
