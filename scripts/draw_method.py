"""Draw the pictures of docs/method.md, from the code that they explain.

python scripts/draw_method.py [OUT]      default: docs/images

One drawn scene, its caption and the bundled model; boxes, patches, tokens and stretched positions are those that
fastgoal computes. Each picture has a ground of its own, so that it reads in light and in dark. The same code, fonts and
libraries give the same files.
"""

import base64
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path as Outline
from PIL import Image

from fastgoal.data.images import fit_pixels
from fastgoal.data.scenes import ScenesConfig, draw_samples
from fastgoal.data.sentences import split_sentences
from fastgoal.embed import embed_images, embed_texts
from fastgoal.geometry import Box, patch_weights
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.longtext import stretch_positions
from fastgoal.models.tokens import token_weights
from fastgoal.regions import make_proposer

PAPER, INK, MUTED, RULE = "#fcfbf8", "#22211e", "#6b6861", "#dedad0"
ACCENT, BLUE, GREEN, MARK = "#b2451f", "#2f6aa3", "#4c8047", "#f7e3b5"
_PNG = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
_PATH, _LONG = re.compile(r'[" ]d="[^"]+"|translate\([^)]+\)'), re.compile(r"-?\d+\.\d\d+")
_NOTHING = re.compile(
    r'<!--.*?-->\s*|<metadata>.*?</metadata>\s*|(>)\s+(?=<)| id="[a-z0-9]+_\d+"|; stroke-linejoin: miter', re.DOTALL
)
SCENE = 11
"""Number of the test scene: few things, far apart."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The scene with everything that matching made of it.

    Shapes: S sentences, R regions.
    """

    image: Image.Image
    caption: str
    sentences: Sequence[tuple[int, int]]
    boxes: Sequence[Box]
    sim_SR: Any
    encoder: DualEncoder

    @property
    def best(self) -> tuple[int, int]:
        """The local pair: the most similar sentence and region."""
        sentence, region = np.unravel_index(self.sim_SR.argmax(), self.sim_SR.shape)
        return int(sentence), int(region)

    def sentence(self, index: int) -> str:
        return self.caption[slice(*self.sentences[index])]


def matched() -> Matched:
    """The scene, matched by the bundled model: every sentence with every region."""
    encoder = DualEncoder.load("tiny", text_tokens=248)
    sample, image = list(draw_samples(ScenesConfig(seed=0), "test", SCENE + 1))[SCENE]
    boxes = [region.box for region in make_proposer("flism").propose([image])[0]]
    sentences = split_sentences(sample.caption)
    region_RD = embed_images(encoder, [fit_pixels(image, encoder.fit, box) for box in boxes])
    sentence_SD, _ = embed_texts(encoder, [sample.caption[a:b] for a, b in sentences])
    return Matched(
        image=image,
        caption=sample.caption,
        sentences=sentences,
        boxes=boxes,
        sim_SR=sentence_SD @ region_RD.T,
        encoder=encoder,
    )


# Pictures


def matching(found: Matched) -> Figure:
    """The scene with its regions, its sentences, and every similarity; the best is the local pair."""
    figure = Figure(figsize=(10.4, 4.9))
    sentence, region = found.best
    scene = figure.add_axes((0.015, 0.1, 0.34, 0.74))
    show(scene, found.image)
    for index, box in enumerate(found.boxes):
        own = index == region
        outline(scene, box, ACCENT if own else INK, width=2.6 if own else 0.9, dashed=not own)
        scene.text(
            box[0] + 4, box[1] + 4, chr(65 + index), va="top", size=9, weight="bold",
            color="white", bbox={"facecolor": ACCENT if own else INK, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    title(figure, 0.015, "Regions")
    table = figure.add_axes((0.7, 0.1, 0.285, 0.74))
    table.imshow(found.sim_SR, aspect="auto", cmap="Greys", vmin=0, vmax=1.15 * found.sim_SR.max())
    table.add_patch(Rectangle((region - 0.5, sentence - 0.5), 1, 1, fill=False, edgecolor=ACCENT, linewidth=2.6))
    table.set_xticks(range(len(found.boxes)), [chr(65 + i) for i in range(len(found.boxes))])
    table.set_yticks([])
    table.tick_params(length=0, labelsize=9)
    frame(table)
    title(figure, 0.7, "Cosine similarity: darker is closer")
    title(figure, 0.375, "Sentences")
    height = 0.74 / len(found.sentences)
    for index in range(len(found.sentences)):
        own = index == sentence
        figure.text(
            0.375, 0.84 - (index + 0.5) * height, wrapped(found.sentence(index), 46), va="center", size=8.6,
            color=INK, weight="bold" if own else "normal", linespacing=1.25,
            bbox={"facecolor": MARK, "edgecolor": "none", "pad": 3} if own else None,
        )  # fmt: skip
    figure.text(
        0.015, 0.025, "The darkest cell is the local pair: one sentence with the one region that fits it best.",
        size=9.5, color=MUTED,
    )  # fmt: skip
    return figure


def losses(found: Matched) -> Figure:
    """What each of the three terms compares."""
    figure = Figure(figsize=(10.4, 4.3))
    _, region = found.best
    contrast(figure, 0.02, "Global: whole images, whole captions", "captions", "images", ACCENT)
    contrast(figure, 0.355, "Local: regions, sentences", "sentences", "regions", BLUE, empty=2)
    title(figure, 0.69, "Token similarity", y=0.92)
    axes = blank(figure, (0.69, 0.08, 0.3, 0.78))
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    whole, crop = (axes.inset_axes(place) for place in ((0.0, 0.56, 0.34, 0.4), (0.0, 0.06, 0.24, 0.3)))
    show(whole, found.image)
    outline(whole, found.boxes[region], ACCENT, width=2)
    show(crop, found.image.crop([round(v) for v in found.boxes[region]]))
    for y, text in ((7.4, "patches of the region,\nread within the whole"), (2.1, "the region\nby itself")):
        axes.text(3.9, y + 1.25, text, size=8.3, color=MUTED, va="bottom", linespacing=1.2)
        arrow(axes, (3.7, y), (7.2, y), INK)
        vector(axes, 7.5, y, ACCENT if y > 5 else BLUE)
    arrow(axes, (8.05, 6.0), (8.05, 3.6), GREEN, both=True)
    axes.text(7.75, 4.8, "cosine to 1", size=9, color=GREEN, ha="right", va="center", weight="bold")
    axes.text(0, -0.35, "and likewise the sentence's tokens within the caption", size=8.3, color=MUTED, va="top")
    return figure


def pooling(found: Matched) -> Figure:
    """Which patches belong to the box, and which tokens to the sentence, for the local pair."""
    figure = Figure(figsize=(10.4, 5.4))
    sentence, region = found.best
    encoder, grid = found.encoder, found.encoder.grid
    weights_GG = patch_weights([found.boxes[region]], [found.image.size], encoder.fit, grid)[0].reshape(grid, grid)
    scene = figure.add_axes((0.015, 0.38, 0.27, 0.52))
    show(scene, found.image)
    step = found.image.width / grid
    for row, column in np.argwhere(weights_GG > 0):
        scene.add_patch(Rectangle((column * step, row * step), step, step, facecolor=ACCENT, alpha=0.42))
    for line in range(1, grid):
        scene.axvline(line * step, color="white", linewidth=0.5, alpha=0.8)
        scene.axhline(line * step, color="white", linewidth=0.5, alpha=0.8)
    outline(scene, found.boxes[region], INK, width=2)
    title(figure, 0.015, f"Image: {grid} x {grid} patches; {int(weights_GG.sum())} touch the box", y=0.935)
    side = blank(figure, (0.3, 0.38, 0.69, 0.52))
    side.set_xlim(0, 20)
    side.set_ylim(0, 10)
    crop = side.inset_axes((0.0, 0.0, 0.19, 0.42))
    show(crop, found.image.crop([round(v) for v in found.boxes[region]]))
    for y, start, steps, end, colour in (
        (7.4, 0.3, ("mean of these\npatches", "norm and\nprojection"), "P", ACCENT),
        (2.1, 4.3, ("image tower", "norm and\nprojection"), "v", BLUE),
    ):
        flow(side, y, start, steps, end, colour)
    arrow(side, (16.9, 6.1), (16.9, 3.4), GREEN, both=True)
    side.text(17.3, 4.75, "(cos(P, v) - 1)$^2$", size=10, color=GREEN, va="center")
    tokens = encoder.tokenize([found.caption])
    weight_T = token_weights(tokens.offsets_BT2, [found.sentences[sentence]])[0]
    title(figure, 0.015, f"Caption: {len(weight_T)} tokens; {int(weight_T.sum())} belong to the sentence", y=0.3)
    strip(figure, found.caption, tokens.offsets_BT2[0], weight_T)
    figure.text(
        0.015, 0.03, "Their mean, normed and projected, is S; the sentence by itself is t: (cos(S, t) - 1)$^2$.",
        size=9.5, color=MUTED,
    )  # fmt: skip
    return figure


def stretching() -> Figure:
    """Which old text position each of the 248 new ones reads."""
    figure = Figure(figsize=(10.4, 3.9))
    old = torch.arange(77, dtype=torch.float64)[:, None]
    read = stretch_positions(old, 248)[:, 0].numpy()
    axes = figure.add_axes((0.065, 0.16, 0.42, 0.68))
    axes.plot(range(248), read, color=ACCENT, linewidth=2.2)
    axes.axvspan(0, 20, color=MARK, zorder=0, linewidth=0)
    axes.axhline(76, color=RULE, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(24, 6, "the first 20 rows stay as they are", size=9, color=MUTED)
    axes.text(110, 30, "row 20 + m reads the old table\nat 20 + m / 4", size=9, color=MUTED)
    axes.set_xlabel("new position", color=MUTED, size=9)
    axes.set_ylabel("old position", color=MUTED, size=9)
    axes.set_xlim(0, 248)
    axes.set_ylim(0, 80)
    axes.tick_params(labelsize=8.5, labelcolor=MUTED, length=0)
    axes.set_xticks([0, 20, 77, 150, 248])
    axes.set_yticks([0, 20, 40, 60, 76])
    frame(axes)
    title(figure, 0.015, "77 positions become 248", y=0.92)
    rows = blank(figure, (0.53, 0.1, 0.455, 0.78))
    rows.set_xlim(17.9, 26.1)
    rows.set_ylim(-0.2, 5)
    for position in range(18, 26):
        cell(rows, position, 3.6, str(position), MARK if position < 20 else "white", 0.84)
    for new in range(18, 33):
        x = 18 + (new - 18) * 0.53
        cell(rows, x, 1.1, str(new), MARK if new < 20 else "white", 0.46, size=7.5)
        for row in {int(np.floor(read[new])), int(np.ceil(read[new]))}:
            share = 1 - abs(read[new] - row)
            if 18 <= row < 26:
                rows.plot([x + 0.23, row + 0.42], [1.58, 3.58], color=ACCENT, linewidth=0.4 + 1.6 * share, alpha=0.75)
    rows.text(18, 4.6, "old rows", size=9, color=MUTED)
    rows.text(18, 0.55, "new rows; the thicker the line, the more is read", size=9, color=MUTED)
    return figure


# Strokes


def title(figure: Figure, x: float, text: str, y: float = 0.9) -> None:
    figure.text(x, y, text, size=10.5, weight="bold", color=INK)


def show(axes: Any, image: Image.Image) -> None:
    axes.imshow(np.asarray(image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)),
                extent=(0, image.width, image.height, 0), interpolation="none")  # fmt: skip
    axes.set_axis_off()


def outline(axes: Any, box: Box, colour: str, *, width: float, dashed: bool = False) -> None:
    corner, size = (box[0], box[1]), (box[2] - box[0], box[3] - box[1])
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=width + 1.6, alpha=0.75))
    style: Any = (0, (4, 3)) if dashed else "-"
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=width, linestyle=style))


def blank(figure: Figure, place: tuple[float, float, float, float]) -> Any:
    axes = figure.add_axes(place)
    axes.set_axis_off()
    return axes


def frame(axes: Any) -> None:
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set_color(RULE)


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str, *, both: bool = False) -> None:
    style = "<|-|>" if both else "-|>"
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=11, color=colour, linewidth=1.4))


def cell(axes: Any, x: float, y: float, text: str, colour: str, width: float, size: float = 9) -> None:
    axes.add_patch(Rectangle((x, y), width, 0.62, facecolor=colour, edgecolor=INK, linewidth=0.7))
    axes.text(x + width / 2, y + 0.3, text, ha="center", va="center", size=size, color=INK)


def vector(axes: Any, x: float, y: float, colour: str) -> None:
    """An embedding: a column of cells of different strength."""
    for index, alpha in enumerate((0.9, 0.35, 0.6, 0.2, 0.75)):
        corner = x, y - 1.0 + 0.42 * index
        axes.add_patch(Rectangle(corner, 0.9, 0.42, facecolor=colour, alpha=alpha, edgecolor="white", linewidth=0.7))


def flow(axes: Any, y: float, start: float, steps: Sequence[str], name: str, colour: str) -> None:
    """Boxes in a row, with arrows between them, to an embedding with its name."""
    x = start
    for text in steps:
        arrow(axes, (x, y), (x + 1.2, y), INK)
        box = FancyBboxPatch((x + 1.35, y - 1.1), 3.9, 2.2, boxstyle="round,pad=0.05,rounding_size=0.3",
                             facecolor="white", edgecolor=RULE)  # fmt: skip
        axes.add_patch(box)
        axes.text(x + 3.3, y, text, ha="center", va="center", size=9, color=INK, linespacing=1.25)
        x += 5.4
    arrow(axes, (x, y), (16.2, y), INK)
    vector(axes, 16.4, y, colour)
    axes.text(17.6, y, name, size=13, weight="bold", color=colour, va="center")


def contrast(figure: Figure, x: float, text: str, top: str, side: str, colour: str, empty: int | None = None) -> None:
    """A batch as a matrix: the diagonal is pulled up, everything else pushed down; a sample without a pair is out."""
    title(figure, x, text, y=0.92)
    axes = blank(figure, (x, 0.08, 0.3, 0.78))
    axes.set_xlim(-0.9, 7.4)
    axes.set_ylim(6.2, -1.4)
    axes.set_aspect("equal")
    for row, column in np.ndindex(6, 6):
        out = empty in (row, column)
        face = PAPER if out else colour if row == column else "white"
        axes.add_patch(Rectangle((column, row), 0.94, 0.94, facecolor=face, edgecolor=RULE, linewidth=1))
        if not out:
            sign = "+" if row == column else "\u2212"
            axes.text(column + 0.47, row + 0.49, sign, ha="center", va="center", size=11,
                      color="white" if row == column else MUTED)  # fmt: skip
    if empty is not None:
        axes.text(6.1, empty + 0.5, "no pair:\nleft out", size=8, color=MUTED, va="center", linespacing=1.2)
    axes.text(3, -0.35, top, ha="center", size=9.5, color=MUTED)
    axes.text(-0.35, 3, side, ha="center", va="center", rotation=90, size=9.5, color=MUTED)


def strip(figure: Figure, caption: str, offsets_T2: Any, weight_T: Any) -> None:
    """The caption's tokens in lines, those of the sentence marked."""
    axes = blank(figure, (0.015, 0.075, 0.97, 0.205))
    axes.set_xlim(0, 118)
    axes.set_ylim(0, 5)
    x, y = 0.0, 4.1
    outlines: dict[bool, list[Outline]] = {True: [], False: []}
    for (start, end), weight in zip(offsets_T2, weight_T, strict=True):
        word = caption[start:end]
        if not word:
            continue
        width = 0.86 * len(word) + 0.3
        if x + width > 118:
            x, y = 0.0, y - 1.05
        outlines[bool(weight)].append(rectangle(x, y, width, 0.8))
        colour = "white" if weight else INK
        text = axes.text(x + width / 2, y + 0.37, word, ha="center", va="center", size=6.6, color=colour)
        text.set_family("DejaVu Sans Mono")
        x += width + 0.25
    for own, face in ((True, ACCENT), (False, "white")):
        whole = Outline.make_compound_path(*outlines[own])
        axes.add_patch(PathPatch(whole, facecolor=face, edgecolor=RULE, linewidth=0.7))


def rectangle(x: float, y: float, width: float, height: float) -> Outline:
    return Outline([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)], closed=True)


def wrapped(text: str, width: int) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def svg(figure: Figure) -> str:
    """The figure as text: letters as outlines, so that it looks alike everywhere; no date and no random names."""
    figure.set_facecolor(PAPER)
    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    text = _NOTHING.sub(r"\1", _PNG.sub(_as_jpeg, out.getvalue()))
    for name, short in (("DejaVuSansMono-", "m"), ("DejaVuSans-Bold-", "b"), ("DejaVuSans-", "s")):
        text = text.replace(name, short)
    return _PATH.sub(_rounded, text)


def _rounded(found: re.Match[str]) -> str:
    """A tenth of a point is less than one sees."""
    return _LONG.sub(lambda number: f"{float(number[0]):.1f}", re.sub(r"\s+", " ", found[0]))


def _as_jpeg(found: re.Match[str]) -> str:
    """A scene takes a tenth of its size as JPEG."""
    image, out = Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB"), io.BytesIO()
    image.save(out, "JPEG", quality=74, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    style = {"svg.fonttype": "path", "svg.hashsalt": "fastgoal", "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(style):
        found = matched()
        drawn = {"matching": matching(found), "losses": losses(found), "pooling": pooling(found)}
        for name, figure in (drawn | {"stretching": stretching()}).items():
            text = svg(figure)
            (out / f"{name}.svg").write_text(text, encoding="utf-8")
            print(f"{name}.svg: {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images")
