"""The picture of a blend curve: what long captions gain against what short captions lose, from base to tuned.

One row per direction. Left, both changes over alpha with their 95 % bands; right, the same points as a path from light
to dark, on which a better choice lies further up (long) and further right (short).
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

DIRECTIONS = {"t2i R@1": "Text to image", "i2t R@1": "Image to text"}
LONG, SHORT, INK, MUTED, RULE = "#1b6ca8", "#c2571a", "#1d1d1f", "#6e6e73", "#d9d9de"

Points = Sequence[Mapping[str, Any]]
"""As `curve.json` lists them: `alpha`, and `change` by kind of caption and metric, with `difference` and `ci95`."""


def tradeoff_png(points: Points, *, title: str) -> bytes:
    """The picture of at least two points in the order of alpha, as PNG."""
    style = {"font.size": 9, "axes.unicode_minus": True, "axes.edgecolor": RULE, "axes.linewidth": 0.8}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(9.2, 7.4), dpi=150, layout=ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12))
        figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
        for row, metric in zip(figure.subplots(len(DIRECTIONS), 2), DIRECTIONS, strict=True):
            _over_alpha(row[0], points, metric)
            _path(row[1], points, metric)
        out = io.BytesIO()
        FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})
    return out.getvalue()


def _over_alpha(axes: Any, points: Points, metric: str) -> None:
    alphas = [point["alpha"] for point in points]
    for kind, colour, mark in (("long", LONG, "o"), ("short", SHORT, "s")):
        middle, low, high = _changes(points, kind, metric)
        axes.fill_between(alphas, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(alphas, middle, color=colour, marker=mark, markersize=4.5, linewidth=1.8, label=f"{kind} captions")
    _calm(axes)
    axes.legend(frameon=False, labelcolor=INK, loc="best")
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("alpha (0 the base, 1 the tuned model)", color=MUTED)
    axes.set_ylabel("R@1 against the base, points", color=MUTED)
    axes.set_title(f"{DIRECTIONS[metric]}: change over alpha", loc="left", color=INK, fontsize=10)


def _path(axes: Any, points: Points, metric: str) -> None:
    up, across = (_changes(points, kind, metric)[0] for kind in ("long", "short"))
    alphas = [point["alpha"] for point in points]
    axes.plot(across, up, color=RULE, linewidth=1.6, zorder=1)
    axes.scatter(across, up, c=alphas, cmap="viridis_r", vmin=-0.15, vmax=1, s=38, edgecolors="white", zorder=2)
    for index in labelled(across, up):
        axes.annotate(
            f"{alphas[index]:g}", (across[index], up[index]), xytext=(7, 5), textcoords="offset points", color=INK
        )
    _calm(axes)
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.margins(x=0.15, y=0.18)
    axes.annotate(
        "better for both \u2197", (0.99, 0.98), xycoords="axes fraction", ha="right", va="top", color=MUTED, fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip
    axes.set_xlabel("short captions: R@1 against the base, points", color=MUTED)
    axes.set_ylabel("long captions, points", color=MUTED)
    axes.set_title(f"{DIRECTIONS[metric]}: long against short, alpha at the points", loc="left", color=INK, fontsize=10)


def labelled(across: Sequence[float], up: Sequence[float], apart: float = 0.09) -> list[int]:
    """Points whose labels do not cover each other, the two ends first: at least `apart` of the axes between them."""
    wide, high = (max(max(values) - min(values), 1e-9) for values in (across, up))
    chosen: list[int] = []
    for index in dict.fromkeys((len(across) - 1, 0, len(across) // 2, *range(len(across)))):
        distance = [max(abs(across[index] - across[i]) / wide, abs(up[index] - up[i]) / high) for i in chosen]
        if all(one >= apart for one in distance):
            chosen.append(index)
    return chosen


def _changes(points: Points, kind: str, metric: str) -> tuple[list[float], list[float], list[float]]:
    """Differences to the base, and the low and high ends of their intervals."""
    found = [point["change"][kind][metric] for point in points]
    low, high = ([one["ci95"][end] for one in found] for end in (0, 1))
    return [one["difference"] for one in found], low, high


def _calm(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=RULE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.tick_params(length=0, labelcolor=MUTED, pad=4)
    axes.margins(x=0.08, y=0.12)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
