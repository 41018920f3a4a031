"""Pictures inside a page, read back."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from fastgoal.inline import image_uri, svg_rectangle


@pytest.mark.parametrize(("kind", "mode", "off"), [("PNG", "RGBA", 0), ("JPEG", "RGB", 12)])
def test_an_image_is_read_back(kind, mode, off):
    image = Image.new(mode, (31, 17), (200, 60, 20, 128)[: len(mode)])
    head, _, data = image_uri(image, kind).partition(",")
    assert head == f"data:image/{kind.lower()};base64"
    back = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (back.format, back.mode, back.size) == (kind, mode, image.size)
    assert np.abs(np.asarray(back).astype(int) - np.asarray(image)).max() <= off


def test_a_rectangle_is_cut_to_the_image():
    assert svg_rectangle((-5, 2.04, 12, 30), 10, 20) == {"x": 0, "y": 2.0, "width": 10, "height": 18.0}
    assert svg_rectangle((-4, 5, 50, 300), 40, 100) == {"x": 0, "y": 5, "width": 40, "height": 95}
