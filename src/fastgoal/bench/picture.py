"""Time and memory over size as one picture: a column for each measurement, time and its line above, memory below."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from fastgoal.bench.scaling import Growth
from fastgoal.errors import ConfigError
from fastgoal.files import make_folder

SUFFIXES = (".png", ".svg")
POINTS, LINE = "#1f5fa8", "#9aa5b1"


def expect_picture(path: Path | None) -> None:
    """Refuse a file that matplotlib cannot write here, before anything is measured.

    Raises:
        ConfigError: it is neither PNG nor SVG.
    """
    if path is not None and path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path.name} is no picture", where="--plot", mend=f"End it in {' or '.join(SUFFIXES)}.")


def draw(growths: Sequence[Growth], path: Path) -> None:
    """Write the picture; both axes of every panel begin at 0, so that a straight line looks like one."""
    figure = Figure(figsize=(3.4 * len(growths), 5.2), layout="constrained")
    panels = figure.subplots(2, len(growths), squeeze=False)
    for (upper, lower), growth in zip(panels.T, growths, strict=True):
        _time(upper, growth)
        _memory(lower, growth)
    make_folder(path.parent)
    figure.savefig(path, dpi=150)


def _time(axes: Axes, growth: Growth) -> None:
    axes.plot(growth.sizes, growth.seconds, "o", color=POINTS)
    if growth.linear:
        line, ends = growth.line, np.array([0, growth.sizes[-1]])
        axes.plot(ends, line.a + line.b * ends, color=LINE, zorder=0)
        axes.text(0.04, 0.96, f"R² {line.r2:.4f}", transform=axes.transAxes, va="top")
    axes.set_title(growth.what.replace(", ", ",\n", 1), fontsize=10)
    _frame(axes, growth, "seconds")


def _memory(axes: Axes, growth: Growth) -> None:
    axes.plot(growth.sizes, growth.peak_mib, "o-", color=POINTS)
    _frame(axes, growth, "peak MiB")


def _frame(axes: Axes, growth: Growth, label: str) -> None:
    axes.set_xlim(0, 1.06 * growth.sizes[-1])
    axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
    axes.set_xlabel(growth.of)
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
