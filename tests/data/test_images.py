"""Decoding against Pillow's own operations; fitting bit for bit against transformers' CLIP image processor."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.data import images
from fastgoal.data.images import fit_pixels, normalise, read_image
from fastgoal.errors import DataError
from fastgoal.geometry import ImageFit


def picture(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def processor_for(fit):
    size = {
        "crop": {"shortest_edge": fit.resize},
        "squash": {"height": fit.size, "width": fit.size},
        "pad": {"shortest_edge": fit.size, "longest_edge": fit.size},
    }[fit.mode]
    crop = {"height": fit.size, "width": fit.size}
    return CLIPImageProcessorPil(size=size, crop_size=crop, do_center_crop=fit.mode != "squash", resample=fit.resample)


FITS = [
    ImageFit(),
    ImageFit(size=224, resize=256),
    ImageFit(size=96, resize=80),  # the crop is larger than the image: the processor pads with black
    ImageFit(size=225, resize=225, resample=2),
    ImageFit(mode="squash", size=64, resample=2),
    ImageFit(mode="pad", size=96),
    ImageFit(mode="pad", size=97),
]
SIZES = [(320, 240), (224, 224), (97, 301), (511, 333), (31, 40), (640, 17)]


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: f"{fit.mode}-{fit.size}-{fit.resize}")
@pytest.mark.parametrize("size", SIZES)
def test_fit_pixels_equals_the_processor(fit, size):
    image = picture(*size)
    theirs = processor_for(fit)(image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
    ours = fit_pixels(image, fit)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, theirs.transpose(1, 2, 0))


@pytest.mark.parametrize("box", [(0, 0, 160, 120), (13, 7, 200, 31), (319, 0, 320, 240), (0.0, 5.0, 320.0, 90.0)])
def test_fit_pixels_of_a_box_equals_the_processor_on_the_crop(box):
    image, fit = picture(320, 240), ImageFit()
    theirs = processor_for(fit)(image.crop(tuple(map(int, box))), do_rescale=False, do_normalize=False)["pixel_values"][
        0
    ]
    np.testing.assert_array_equal(fit_pixels(image, fit, box), np.asarray(theirs).transpose(1, 2, 0))


@pytest.mark.parametrize("box", [(0, 0, 0, 10), (10, 10, 5, 20), (-1, 0, 10, 10), (0, 0, 321, 10), (0.5, 0, 10, 10)])
def test_a_box_that_is_no_crop_is_refused(box):
    with pytest.raises(DataError, match="no crop of a 320 x 240 image"):
        fit_pixels(picture(320, 240), ImageFit(), box)


def test_normalise_equals_the_processor():
    batch, fit = [picture(300, 250, 1), picture(224, 400, 2)], ImageFit()
    theirs = processor_for(fit)(batch, return_tensors="pt")["pixel_values"]
    ours = normalise(torch.from_numpy(np.stack([fit_pixels(image, fit) for image in batch])), fit)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs.float(), atol=2e-6, rtol=0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(40, 24), "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert (expected.size == (24, 40)) == (orientation > 4)
    np.testing.assert_array_equal(read_image(data), expected)


def test_a_malformed_exif_block_is_ignored():
    image = picture(40, 24)
    np.testing.assert_array_equal(read_image(encoded(image, exif=b"Exif\0\0II*\0\xff\xff")), image)


def test_transparency_goes_on_white():
    rgba = np.zeros((2, 2, 4), dtype=np.uint8)
    rgba[..., 3] = [[0, 255], [51, 255]]
    got = np.asarray(read_image(encoded(Image.fromarray(rgba))))
    assert got[..., 0].tolist() == [[255, 0], [204, 0]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    got = np.asarray(read_image(encoded(palette, transparency=0)))
    assert got.tolist() == [[[255, 255, 255], [200, 100, 50]]]


@pytest.mark.parametrize("mode", ["L", "1", "LA", "CMYK", "P"])
def test_every_mode_becomes_rgb(mode):
    source = picture(20, 10).convert(mode)
    got = read_image(encoded(source, "TIFF" if mode == "CMYK" else "PNG"))
    assert (got.mode, got.size) == ("RGB", (20, 10))
    np.testing.assert_array_equal(got, source.convert("RGB"))


def test_sixteen_bits_are_scaled_not_clipped():
    grey = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    got = np.asarray(read_image(encoded(Image.fromarray(grey))))
    assert got[0, :, 0].tolist() == [0, 1, 128, 255]


def test_paths_and_bytes_give_the_same(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(picture(30, 20), "JPEG"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), read_image((tmp_path / "a.jpg").read_bytes()))
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.jpg")), read_image(tmp_path / "a.jpg"))


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    got = read_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert got.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_truncated_files_are_named(format):
    data = encoded(picture(200, 200), format)
    for share in (0.02, 0.5, 0.9):
        with pytest.raises(DataError, match=r"row 7: .+\. \w+") as caught:
            read_image(data[: int(len(data) * share)], where="row 7")
        assert caught.value.mend


def test_unreadable_sources_are_named(tmp_path, monkeypatch):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    for name, what in [("empty.jpg", "0 bytes"), ("text.jpg", "not an image"), ("gone.jpg", "No such file")]:
        with pytest.raises(DataError, match=what) as caught:
            read_image(tmp_path / name)
        assert caught.value.where == str(tmp_path / name)
    with pytest.raises(DataError, match="floating-point"):
        read_image(encoded(Image.fromarray(np.zeros((4, 4), dtype=np.float32)), "TIFF"))
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    with pytest.raises(DataError, match="too large"):
        read_image(encoded(picture(10, 10)))


def test_a_decompression_bomb_is_refused_before_decoding():
    head = b"P5 60000 60000 255\n"  # a PGM header that promises 3.6 billion pixels
    with pytest.raises(DataError, match="too large"):
        read_image(head)
