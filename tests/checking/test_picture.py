import json

import numpy as np
import pytest
from PIL import Image, ImageColor

from fastgoal.checking import CheckSettings, audit, draw_examples
from fastgoal.checking.picture import COLOURS, draw_sample
from fastgoal.data.samples import GivenRegion, Sample
from fastgoal.data.source import open_source
from fastgoal.errors import DataError

QUIET = CheckSettings(progress=False)
TEXT = "A red ball is on the left. The box is blue."


def has(image, colour):
    return bool((np.asarray(image) == ImageColor.getrgb(colour)).all(axis=-1).any())


def test_five_samples_in_a_png(messy, text_model, tmp_path):
    file = tmp_path / "new" / "look.png"
    assert draw_examples(audit(open_source(messy), text_model, QUIET), file) == 5
    with Image.open(file) as picture:
        assert picture.format == "PNG"
        assert 900 < picture.width < 1200
        assert 1000 < picture.height < 2500
        assert file.stat().st_size < 2_000_000
        assert has(picture, COLOURS[0]) and has(picture, COLOURS[1])


def test_a_box_has_the_colour_of_its_sentence():
    span = (TEXT.index("box"), TEXT.index("box") + 3)
    sample = Sample(id="a", image="a.jpg", caption=TEXT, regions=(GivenRegion(box=(10, 10, 60, 60), span=span),))
    row = draw_sample(sample, Image.new("RGB", (100, 80), "black"), "en")
    left = row.crop((0, 0, 360, row.height))
    assert has(left, COLOURS[1]) and not has(left, COLOURS[0])
    right = row.crop((360, 0, *row.size))
    assert has(right, COLOURS[0]) and has(right, COLOURS[1])
    assert not has(draw_sample(Sample(id="a", image="a", caption=TEXT), Image.new("RGB", (9, 9)), "en"), COLOURS[2])


@pytest.mark.parametrize("caption", ["word " * 3000, "x" * 5000, "犬" * 500, "..."])
@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (10, 10)])
def test_long_captions_and_odd_images_keep_to_their_place(caption, size):
    region = GivenRegion(box=(-5, -5, 5000, 5000))
    row = draw_sample(
        Sample(id="i" * 300, image="a.jpg", caption=caption, regions=(region,)), Image.new("RGB", size, "white"), "en"
    )
    assert row.width == 1000
    assert row.height < 600


def test_images_that_were_not_opened_before_may_be_broken(tmp_path, text_model, truth):
    (tmp_path / "a.jpg").write_bytes(truth.jpeg(truth.photo(0)))
    (tmp_path / "b.jpg").write_bytes(b"")
    lines = [{"image": name, "caption": "A dog."} for name in ("a.jpg", "b.jpg")]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = audit(open_source(tmp_path), text_model, CheckSettings(images=0, progress=False))
    assert draw_examples(found, tmp_path / "look.png") == 1
    (tmp_path / "blocked").write_text("")
    with pytest.raises(DataError, match="cannot write here"):
        draw_examples(found, tmp_path / "blocked" / "look.png")
