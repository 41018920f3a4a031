"""Maps and boxes over images, pixel by pixel; text in lines."""

import numpy as np
import pytest
from PIL import Image

from fastgoal.checking.picture import font_of
from fastgoal.explain import ExplainedWord, patch_box, view_box
from fastgoal.explain.overlay import heat_image, numbered, outline, with_heat
from fastgoal.explain.prose import lay_out, on_white, shades
from fastgoal.geometry import ImageFit

GREY = Image.new("RGB", (300, 200), (128, 128, 128))


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize("patch", [5, 6, 9])
def test_the_brightest_spot_is_the_hottest_patch(mode, patch):
    width, height = 600, 400
    view = view_box(width, height, ImageFit(mode=mode, size=64, resize=64), 4)
    heat_GG = np.zeros((4, 4), np.float32)
    heat_GG.flat[patch] = 1
    drawn = np.asarray(with_heat(GREY, heat_GG, view, width, height)).astype(int)
    x1, y1, x2, y2 = (value / 2 for value in patch_box(view, 4, patch))
    y, x = np.unravel_index((drawn[..., 0] - drawn[..., 2]).argmax(), drawn.shape[:2])  # yellow: red without blue
    assert x1 <= x < x2
    assert y1 <= y < y2


def test_what_the_fit_cuts_away_is_pale():
    view = view_box(300, 200, ImageFit(size=64, resize=64), 4)
    drawn = np.asarray(with_heat(GREY, np.eye(4, dtype=np.float32), view, 300, 200))
    assert view == pytest.approx((50, 0, 250, 200), abs=2)
    assert (drawn[:, :46] > 200).all() and (drawn[:, 254:] > 200).all()
    assert (drawn[:, 60:240].min(axis=2) < 200).all()


def test_a_flat_map_has_one_colour():
    assert np.ptp(np.asarray(heat_image(np.full((3, 3), 0.4, np.float32), 9, 9)), axis=(0, 1)).max() == 0


def test_boxes_are_where_they_are_said_to_be():
    drawn = GREY.copy()
    assert outline(drawn, (100, 40, 200, 120), 600, 400, "#ff0000") == (50, 20)
    red_hw = (np.asarray(drawn) == (255, 0, 0)).all(axis=2)
    rows, columns = np.flatnonzero(red_hw.any(1)), np.flatnonzero(red_hw.any(0))
    assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (51, 21, 99, 59)
    assert not red_hw[25:55, 55:95].any()


def test_boxes_outside_or_empty_do_no_harm():
    drawn = GREY.copy()
    for box in [(-50.0, -50.0, -10.0, -10.0), (5.0, 5.0, 5.0, 9.0), (-100.0, -100.0, 900.0, 900.0)]:
        outline(drawn, box, 300, 200, "#ff0000", dashed=True)
    tiny = numbered(Image.new("RGB", (1, 1)), [("1", (0.0, 0.0, 1.0, 1.0), "#0b6e99")] * 3, 1, 1, font_of(13))
    assert tiny.size == (1, 1)


def test_lines_hold_every_character_and_no_more_than_fits():
    font = font_of(15)
    text = "A red ball lies here. " + "x" * 4000 + " and <b>more</b>\nthere 🎈."
    placed = lay_out(text, font, 200, {0: 1, 6: 2}, 0)
    assert "".join(piece.text for piece in placed) == "".join(text.split())
    assert all(text[piece.at :].startswith(piece.text) for piece in placed)
    assert all(piece.x + font.getlength(piece.text) <= 200 for piece in placed)
    lines = [piece.line for piece in placed]
    assert lines == sorted(lines)
    assert [(piece.text, piece.number) for piece in placed if piece.number] == [("A", 1), ("ball", 2)]


def test_shades_are_shares_of_the_heaviest_word():
    words = [ExplainedWord(span=(0, 1), weight=0.02), ExplainedWord(span=(2, 3), weight=-0.04)]
    assert shades(words) == [((0, 1), 0.5), ((2, 3), -1.0)]
    assert shades([ExplainedWord(span=(0, 1), weight=0.0)]) == [((0, 1), 0.0)]
    assert on_white(0.0) == (255, 255, 255)
    assert on_white(1.0)[2] > on_white(1.0)[0]  # blue
    assert on_white(-1.0)[0] > on_white(-1.0)[2]  # orange
