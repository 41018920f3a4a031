"""Pictures and plots of a report, each as text that can stand inside the page: no file beside it, no request.

Thumbnails are JPEG data URIs of the upright image; boxes are drawn over them as vectors, sharp at any size. Curves are
matplotlib SVG whose colours are handed over to the page's CSS variables: one drawing serves light, dark and print.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from fastgoal.data.images import read_image
from fastgoal.errors import DataError
from fastgoal.inline import image_uri
from fastgoal.report.input import Picture, is_base
from fastgoal.report.numbers import DIRECTIONS

# Stand-ins that no drawing uses by chance; `themed` turns them into the page's variables.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = [f"#0400{i:02d}" for i in range(7)]
DASHES = ("1.4 1.4", "5 1.6", "", "5 1.5 1.2 1.5", "3 1", "8 2", "2 3")  # in line widths; `goal` is the solid line
KNOWN = {"global": 1, "goal": 2, "no-tsl": 3, "local": 4}
POINTS = 240

TERMS = {
    "loss": "Loss",
    "retrieval": "Validation R@1, mean of both ways",
    "global": "Global term",
    "local": "Local term",
    "tsl": "TSL term",
    "lr": "Learning rate",
}


@dataclass(frozen=True, kw_only=True)
class Thumb:
    """A thumbnail: data URI and the size in pixels of the upright original, in which boxes are given."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One small plot: its title, what it shows in words, and the SVG."""

    title: str
    alt: str
    svg: str


def thumbnail(picture: Picture, *, edge: int = 320, quality: int = 80) -> Thumb | None:
    """The upright image with its long side at most `edge` pixels; None where the file can no longer be read.

    A picture that has gone does not stop a report: its place says so.
    """
    try:
        image = picture.convert("RGB") if isinstance(picture, Image.Image) else read_image(picture)
    except DataError:
        return None
    small = image.copy()
    small.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return Thumb(uri=image_uri(small, quality=quality), width=image.width, height=image.height)


def series_of(models: Sequence[str]) -> dict[str, int]:
    """Model -> the number of its colour and dash: bases grey, known methods always the same, the rest by order."""
    taken = {m: 0 if is_base(m) else KNOWN[m] for m in models if is_base(m) or m in KNOWN}
    free = [i for i in (2, 5, 6, 3, 4, 1) if i not in taken.values()] or [6]
    others = [m for m in models if m not in taken]
    return taken | {m: free[min(i, len(free) - 1)] for i, m in enumerate(others)}


def curves(histories: Mapping[str, Sequence[Mapping[str, Any]]], colours: Mapping[str, int]) -> list[Curve]:
    """One small plot per loss term, validation figure and for the learning rate; what was not logged is left out."""
    lines = {model: _flat(records) for model, records in histories.items()}
    keys = list(dict.fromkeys(key for line in lines.values() for record in line for key in record))
    validation = [key for key in keys if key.startswith("val ")]
    wanted = ["loss", "retrieval", *validation, "global", "local", "tsl", "lr"]
    drawn = [
        _curve(key, {m: _series(line, key) for m, line in lines.items()}, colours) for key in wanted if key in keys
    ]
    return [curve for curve in drawn if curve is not None]


def themed(svg: str, prefix: str) -> str:
    """Matplotlib's SVG for inlining: colours from CSS variables, ids that no other drawing shares, no metadata."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    root = r'<svg viewBox="\1" aria-hidden="true" focusable="false">'
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', root, svg, count=1)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'xlink:href="#', f'href="#{prefix}', svg)
    svg = svg.replace("url(#", f"url(#{prefix}")
    svg = re.sub(r"font: [^;\"]*'[^\"]*?(?=[;\"])", "font: inherit", svg)
    names = {INK: "--ink", MUTED: "--muted", RULE: "--rule"} | {c: f"--s{i}" for i, c in enumerate(SERIES)}
    for colour, name in names.items():
        svg = svg.replace(colour, f"var({name})")
    return svg


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that span `low` to `high`, zero among them where it is inside."""
    span = max(high - low, 1e-9)
    raw = span / count
    power = 10.0 ** _floor_log10(raw)
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * 0.999)
    first, last = -(-round(low / step, 9) // 1), round(high / step, 9) // 1  # rounded: 0.3 / 0.1 is just below 3
    return [round(step * i, 10) for i in range(int(first), int(last) + 1)]


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".split("e")[1])


def _flat(records: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """History records with the validation figures spread out: `val R@1`, or `val t2i R@1` where they are nested."""
    flat = []
    for record in records:
        val = record.get("val")
        inner = _leaves(val, "val") if isinstance(val, Mapping) else {} if val is None else {"val R@1": val}
        shown = {key: value for key, value in {**record, **inner}.items() if key in ("step", *TERMS) or key in inner}
        flat.append({key: float(v) for key, v in shown.items() if isinstance(v, int | float) and math.isfinite(v)})
    return flat


def _leaves(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _leaves(value, f"{name} {key}") if isinstance(value, Mapping) else {f"{name} {key}": value}
    return leaves


def _series(records: Sequence[Mapping[str, float]], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one key, thinned to means of equal runs: a small plot shows some hundred points."""
    points = [(record.get("step", float(i)), record[key]) for i, record in enumerate(records) if key in record]
    run = -(-len(points) // POINTS) or 1
    bins = [points[i : i + run] for i in range(0, len(points), run)]
    return [sum(x for x, _ in b) / len(b) for b in bins], [sum(y for _, y in b) / len(b) for b in bins]


def _curve(key: str, lines: Mapping[str, tuple[list[float], list[float]]], colours: Mapping[str, int]) -> Curve | None:
    shown = {model: line for model, line in lines.items() if line[0]}
    if not shown or (key == "loss" and all(len(x) < 2 for x, _ in shown.values())):
        return None
    style = {"svg.fonttype": "none", "svg.hashsalt": "fastgoal", "font.size": 9, "axes.unicode_minus": True}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(3.7, 2.25), layout="constrained")
        axes = figure.add_subplot()
        for model, (x, y) in shown.items():
            number = colours.get(model, 0)
            mark = "o" if len(x) <= 12 else None
            axes.plot(x, y, color=SERIES[number], linestyle=_dash(number), linewidth=1.7, marker=mark, markersize=3.2)
        _calm(axes)
        out = io.StringIO()
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
    title = TERMS.get(key) or _validation(key)
    ends = ", ".join(f"{model} from {y[0]:.4g} to {y[-1]:.4g}" for model, (_, y) in shown.items())
    slug = re.sub(r"\W+", "-", key)
    return Curve(title=title, alt=f"{title} by training step: {ends}", svg=themed(out.getvalue(), f"{slug}-"))


def _validation(key: str) -> str:
    """`val t2i R@1` -> `Validation R@1, text to image`."""
    rest = [word for word in key.split()[1:] if word not in DIRECTIONS]
    return ", ".join([f"Validation {' '.join(rest)}", *(DIRECTIONS[d] for d in DIRECTIONS if d in key.split())])


def _dash(number: int) -> Any:
    return (0, tuple(float(length) for length in DASHES[number].split())) if DASHES[number] else "-"


def _calm(axes: Any) -> None:
    """Hairline grid, no frame, few ticks: the lines are what is read."""
    axes.patch.set_visible(False)
    axes.figure.patch.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.tick_params(length=0, labelcolor=MUTED, pad=4)
    axes.locator_params(axis="both", nbins=4)
    axes.ticklabel_format(axis="both", style="sci", scilimits=(-3, 5))
    axes.yaxis.get_offset_text().set_color(MUTED)
    axes.margins(x=0.02, y=0.1)
    axes.set_xlabel("step", color=MUTED, loc="right", labelpad=1)
