"""Thumbnails against Pillow's own reading, scales and series by hand."""

import base64
import io

import pytest
from PIL import Image

from fastgoal.report.figures import POINTS, curves, series_of, thumbnail, ticks
from fastgoal.report.words import count, percent, seconds, shorten, shown, sources, tied


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))


def test_thumbnail_is_upright_and_remembers_the_size_boxes_are_given_in(tmp_path):
    image = Image.new("RGB", (400, 200), "blue")
    image.paste("red", (0, 0, 200, 200))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    thumb = thumbnail(tmp_path / "turned.jpg", edge=100)
    small = decoded(thumb.uri)
    assert (thumb.width, thumb.height, small.size) == (200, 400, (50, 100))
    assert small.getpixel((25, 10))[0] > 200  # what was left is on top
    assert small.getpixel((25, 90))[2] > 200


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_thumbnail_takes_any_mode_and_never_enlarges(mode):
    thumb = thumbnail(Image.new(mode, (30, 20)), edge=300)
    assert decoded(thumb.uri).size == (30, 20)
    assert decoded(thumb.uri).mode == "RGB"


def test_thumbnail_of_a_broken_file_is_none(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"")
    assert thumbnail(tmp_path / "broken.jpg") is None


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (-1.2, 4.1, [0, 2, 4]),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (-0.3, 0.1, [-0.3, -0.2, -0.1, 0, 0.1]),
        (21, 29, [22, 24, 26, 28]),
    ],
)
def test_ticks_are_round_and_inside(low, high, marks):
    assert ticks(low, high) == pytest.approx(marks)


def test_a_method_keeps_its_colour_whoever_else_is_there():
    assert series_of(["base", "global", "goal"])["goal"] == series_of(["goal"])["goal"]
    many = series_of(["base", "base cut at 77", "global", "goal", "no-tsl", "local", "mine"])
    assert many["base"] == many["base cut at 77"]
    assert len(set(many.values())) == 6


def test_curves_are_thinned_but_keep_their_ends():
    history = [{"step": i, "loss": float(i), "note": "x", "epoch": 0.1} for i in range(10 * POINTS)]
    [curve] = curves({"goal": history}, {"goal": 2})
    assert curve.alt == f"Loss by training step: goal from 4.5 to {10 * POINTS - 5.5:.4g}"
    assert len(curve.svg) < 30_000


def test_curves_without_records_are_left_out():
    assert curves({"goal": []}, {"goal": 2}) == []
    assert curves({}, {}) == []


def test_validation_nested_in_val_is_found():
    history = [{"step": s, "loss": 1.0 / s, "val": {"t2i": {"R@1": 10 * s}}} for s in (1, 2)]
    assert [c.title for c in curves({"goal": history}, {"goal": 2})] == ["Loss", "Validation R@1, text to image"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.84, "0.8 s"), (42.4, "42 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_seconds(value, text):
    assert seconds(value) == text


def test_small_words():
    assert [percent(s) for s in (0.5, 0.613, 1)] == ["50 %", "61.3 %", "100 %"]
    assert [shown(v) for v in (True, 5e-6, 0.05, 12000, None, (1, 2), "a")] == [
        "yes",
        "5e-6",
        "0.05",
        "12,000",
        "",
        "1, 2",
        "a",
    ]
    assert count(1234) == "1,234"
    assert sources({"fixed": 1, "detector": 3}) == "fixed 25 %, detector 75 %"
    assert tied("+1.0 to −2.0 points of 3 %") == "+1.0\u00a0to\u00a0−2.0\u00a0points of 3\u00a0%"


def test_shorten_cuts_at_words():
    assert shorten("one two three", 9, end=True) == "one two …"
    assert shorten("one two three", 9, end=False) == "… three"
    assert shorten("one", 9, end=True) == "one"
