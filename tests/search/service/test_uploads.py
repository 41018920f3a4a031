"""Files that were made to break whoever opens them: each is an answer, and none of them costs much memory."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from fastgoal.search.service.settings import Limits
from fastgoal.search.service.uploads import UploadError, read_upload

PIXELS = Limits().pixels


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise(size=(64, 48)):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, pixels, extra=b""):
    """A PNG of one bit per pixel whose header says what it likes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")


def text_bomb():
    """A compressed comment of 100 MB."""
    return chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 100_000_000, 9))


def svg():
    return b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/><script>alert(1)</script></svg>'


def tiff_bomb():
    image = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(image, "TIFF", compression="group4")
    return image.getvalue()


def zip_bomb():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", b"\0" * 50_000_000)
    return out.getvalue()


JPEG, PNG, GIF = saved(noise(), "JPEG"), saved(noise(), "PNG"), saved(noise(), "GIF")
REFUSED = {
    "0 bytes": (b"", "empty"),
    "a bomb of 8 gigapixels": (png(90_000, 90_000, b"\0" * 1000), "too large"),
    "a bomb that Pillow only warns of": (png(10_000, 10_000, b"\0" * 12_510_000), "too large"),
    "a TIFF bomb": (tiff_bomb(), "too large"),
    "a side of 4 billion": (png(2**32 - 1, 1, b"\0"), "not an image"),
    "no width": (png(0, 10, b"\0"), ""),
    "a ribbon": (png(30_000, 2, b"\0" * 8000), "too elongated"),
    "a bomb in a comment": (png(64, 48, b"\0" * 500, text_bomb()), ""),
    "SVG": (svg(), "not an image"),
    "a zip bomb": (zip_bomb(), "not an image"),
    "EPS, which would start another program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "PDF": (b"%PDF-1.7\n1 0 obj\n", "not an image"),
    "HTML": (b"<!doctype html><script>alert(1)</script>", "not an image"),
    "a text": (b"a red ball", "not an image"),
    "a signature alone": (b"\x89PNG\r\n\x1a\n", "not an image"),
    "floating-point pixels": (saved(Image.new("F", (9, 9)), "TIFF"), "floating-point"),
} | {
    f"{kind} cut off after {share:.0%}": (data[: int(len(data) * share)], "")
    for kind, data in (("JPEG", JPEG), ("PNG", PNG))
    for share in (0.1, 0.5, 0.9)
}
POLYGLOTS = {
    "JPEG and HTML": JPEG + b"<html><script>alert(1)</script></html>",
    "GIF and script": GIF + b"/*<script>alert(1)</script>*/",
    "PNG and zip": PNG + zip_bomb(),
    "JPEG with a script in its comment": saved(noise(), "JPEG", comment=b"</script><script>alert(1)</script>"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(client, name):
    data, says = REFUSED[name]
    tracemalloc.start()
    answer = client.post("/api/search/image?top=1", files={"picture": ("a.png", data, "image/png")})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if name == "a bomb in a comment" and answer.status_code == 200:
        pytest.skip("this Pillow reads past comments")
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["error"]
    assert peak < 64 * 2**20 + 4 * len(data)


@pytest.mark.parametrize("name", POLYGLOTS)
def test_what_else_a_file_is_does_not_matter(client, name):
    answer = client.post("/api/search/image?top=1", files={"picture": ("a.html", POLYGLOTS[name], "text/html")})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "alert" not in answer.text


def test_200_mb_are_cut_off_long_before(client):
    sent = [0]

    def body():
        yield b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n'
        while sent[0] < 200_000_000:
            sent[0] += 2**20
            yield b"\0" * 2**20

    answer = client.post(
        "/api/search/image", content=body(), headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 413
    said = client.post("/api/search/image", content=b"", headers={"Content-Length": "200000000"})
    assert said.status_code == 413


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"--b--", "multipart/form-data; boundary=b"),
        (b"nothing", "multipart/form-data"),
        (
            b"--b\r\nContent-Disposition: form-data; name=picture\r\n\r\ntext\r\n--b--",
            "multipart/form-data; boundary=b",
        ),
        (b"\xff" * 1000, "multipart/form-data; boundary=\xff".encode("latin-1")),
        (PNG, "image/png"),
        (b"{}", "application/json"),
    ],
)
def test_a_form_that_is_none_is_the_clients_fault(client, content, kind):
    answer = client.post("/api/search/image", content=content, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]


def test_many_parts_do_not_pile_up(client):
    parts = b"".join(b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n' for _ in range(20_000)) + b"--b--"
    answer = client.post(
        "/api/search/image", content=parts, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code in (400, 422)


def test_a_photo_is_turned_upright_and_a_huge_jpeg_is_decoded_small():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read_upload(io.BytesIO(saved(noise(), "JPEG", exif=exif)), PIXELS)
    assert image.size == (48, 64)
    large = read_upload(io.BytesIO(saved(Image.new("RGB", (5000, 4100), "red"), "JPEG")), PIXELS)
    assert 1024 <= min(large.size) < 2100
    assert large.mode == "RGB"
    assert large.getpixel((5, 5)) == pytest.approx((254, 0, 0), abs=2)


def test_what_decoders_raise_beyond_the_usual_is_an_upload_error(monkeypatch):
    def surprise(*_, **__):
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(Image.Image, "convert", surprise)
    with pytest.raises(UploadError, match="cannot be decoded"):
        read_upload(io.BytesIO(PNG), PIXELS)
