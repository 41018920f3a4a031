"""The picture: of the stated size, with something in it, whatever is explained."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.explain.conftest import picture

from fastgoal.explain.compare import explained
from fastgoal.explain.sheet import TILE, WIDTH, draw, png, short_name
from fastgoal.explain.subjects import Instead, Subject
from fastgoal.regions import FixedRegions

HOSTILE = "<script>alert(1)</script> " + "y" * 500 + ". ﷽ 🎈 " + "A word more. " * 40


def test_a_png_is_as_wide_as_it_says_and_not_empty(every):
    drawn = draw(every[0])
    back = Image.open(io.BytesIO(png(drawn)))
    assert back.format == "PNG"
    assert back.size == drawn.size
    assert drawn.width == WIDTH
    pixels = np.asarray(back.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000
    assert (pixels[-4:] == 255).all()  # a margin, so nothing is cut off


def test_models_stand_side_by_side(every):
    one, two = every[0], replace(every[0], explanations=every[0].explanations[::-1], judged=every[0].judged[::-1])
    first, second = (np.asarray(draw(each)).astype(int) for each in (one, two))
    assert first.shape == second.shape
    strip = slice(100, 300)
    panel = (WIDTH - 56 - 20) // 2
    left, right = first[strip, 28 : 28 + panel], first[strip, 48 + panel : 48 + 2 * panel]
    assert not np.array_equal(left, right)
    np.testing.assert_array_equal(left, second[strip, 48 + panel : 48 + 2 * panel])
    np.testing.assert_array_equal(right, second[strip, 28 : 28 + panel])


def test_a_worst_case_shows_what_came_first(every):
    instead = Instead(name="9.png", image=picture(50, 50, 9), ranks=(3, 4), gallery=4)
    plain, worse = draw(every[0]), draw(
        replace(every[0], subject=replace(every[0].subject, instead=instead), instead_scores=(0.1, 0.2))
    )  # fmt: skip
    assert worse.height >= plain.height + TILE
    gone = replace(every[0], subject=replace(every[0].subject, instead=replace(instead, image=None)))
    assert draw(gone).height < worse.height


@pytest.mark.parametrize(
    ("size", "caption"), [((1, 1), "A ball."), ((100, 1), HOSTILE), ((64, 48), "..."), ((7, 90), "x")]
)
def test_nothing_is_too_odd_to_be_drawn(encoder, siglip, size, caption):
    subject = Subject(id=HOSTILE, image=picture(*size), caption=caption)
    for models in ([encoder], [siglip, encoder]):
        drawn = draw(next(explained(models, [subject], proposer=FixedRegions())))
        assert drawn.width == WIDTH
        assert 100 < drawn.height < 9000


def test_names_are_short(tmp_path):
    (tmp_path / "runs" / "goal" / "model").mkdir(parents=True)
    assert short_name(str(tmp_path / "runs" / "goal" / "model")) == "goal/model"
    assert short_name(str(tmp_path / "runs")) == "runs"
    assert short_name("openai/clip-vit-base-patch16") == "openai/clip-vit-base-patch16"
    assert len(short_name("x" * 100)) == 48
