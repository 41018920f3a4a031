"""A folder with every kind of trouble at once, and the truth about it, written down by hand."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

DOG = "A brown dog lies on the grass. It has a red ball in its mouth, and there is a tree to the right."
LEFT_OUT = {
    "not JSON at column ...: Expecting value": 1,
    "caption is empty": 1,
    "image is missing": 1,
    "image ... is not a relative path": 1,
    "box ... has no area": 1,
    "span ... is outside the caption of ... characters": 1,
    "id ... is used a second time": 1,
    "the image cannot be decoded": 2,
    "the image file is empty": 1,
    "not an image that Pillow can open": 1,
    "the image is too large": 1,
    "the image cannot be read": 1,
    "the image has floating-point pixels": 1,
}
MENDED = {
    "a sample is there twice": 1,
    "control characters in a caption": 2,
    "a box reaches beyond its image": 1,
    "a box lies wholly outside its image": 1,
}
LOOK = {
    "the image is of one plain colour": 2,
    "the caption does not seem to be English (a guess)": 2,
    "images with equal bytes under different names": 2,
    "images that look alike": 2,
    "one caption on different images": 1,
}
USABLE, BROKEN_RECORDS, BROKEN_IMAGES, TWINS = 17, 7, 7, 1


def photo(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """Soft random colours: pictures that resemble no other seed's."""
    dice = np.random.default_rng(seed)
    small = Image.fromarray(dice.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int = 90, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, **options)
    return out.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A small PNG whose header says another size."""
    out = io.BytesIO()
    Image.new("L", (4, 4)).save(out, "PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + out.getvalue()[24:29]
    return out.getvalue()[:12] + header + struct.pack(">I", zlib.crc32(header)) + out.getvalue()[33:]


def make_messy(folder: Path) -> Path:
    """31 records: 7 are no samples, 7 have no usable image, 17 can be trained on (one of them a twin of another)."""
    images = folder / "images"
    images.mkdir(parents=True)
    for name in ("fine-1", "fine-2", "boxes", "beyond", "spaces", "control", "german", "russian", "many"):
        (images / f"{name}.jpg").write_bytes(jpeg(photo(sum(map(ord, name)))))
    dog = photo(1, 320, 240)
    (images / "dog.jpg").write_bytes(jpeg(dog))
    (images / "dog-copy.jpg").write_bytes(jpeg(dog))
    (images / "dog-again.jpg").write_bytes(jpeg(dog))
    (images / "dog-small.png").write_bytes(_png(dog.resize((160, 120))))
    (images / "dog-poor.jpg").write_bytes(jpeg(dog, quality=40))
    for name, colour in {"white": "white", "blue": "#204080"}.items():
        Image.new("RGB", (50, 40), colour).save(images / f"{name}.png")
    _break(images)
    lines = [json.dumps(record, ensure_ascii=False) for record in _records()]
    lines.insert(3, '{"image": "images/fine-1.jpg", "caption": ')
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _break(images: Path) -> None:
    whole = jpeg(photo(7, 400, 300))
    (images / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "almost.png").write_bytes(_png(photo(8, 200, 200))[:-4000])
    (images / "nothing.jpg").write_bytes(b"")
    (images / "page.jpg").write_bytes(b"<html>404 Not Found</html>")
    (images / "huge.png").write_bytes(png_that_claims(12_000, 12_000))
    Image.fromarray(np.zeros((8, 8), dtype=np.float32)).save(images / "float.tiff")


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _records() -> list[dict]:
    def record(name: str, caption: str, **rest) -> dict:
        return {"id": rest.pop("id", name.partition(".")[0]), "image": f"images/{name}", "caption": caption, **rest}

    return [
        record("fine-1.jpg", "The first picture is soft. It has many colours in it, and the left is darker."),
        record("fine-2.jpg", "The second picture is soft as well. There is a bright spot at the top of it."),
        record("boxes.jpg", "A spot is there.", regions=[{"box": [1, 2, 30, 40], "span": [2, 6], "label": "spot"}]),
        record("beyond.jpg", "A spot and another one are in it.", regions=[
            {"box": [50, 40, 500, 60], "span": [2, 6]}, {"box": [200, 10, 300, 20], "span": [11, 18]}
        ]),
        record("spaces.jpg", "  \n A lamp is on the table. \n", regions=[
            {"box": [0, 0, 9, 9], "span": [6, 10]}, {"box": [0, 0, 9, 9], "span": [0, 3]}
        ]),
        record("control.jpg", "A cat\x00 is\ufeff on the mat of the house.",
               regions=[{"box": [0, 0, 5, 5], "span": [2, 5]}]),
        record("german.jpg", "Der Hund liegt auf der Wiese und hat einen roten Ball. Rechts ist ein Baum."),
        record("russian.jpg", "Коричневая собака лежит на траве. Справа стоит дерево."),
        record("many.jpg", "This is the first caption of the picture.", id=None),
        record("many.jpg", "This is the second caption of the picture.\x07", id=None),
        record("dog.jpg", DOG),
        record("dog-copy.jpg", DOG),
        record("dog-again.jpg", "A dog with a ball is seen in the garden. The sun is low."),
        record("dog-small.png", "The dog is on the grass in the morning. It is brown."),
        record("dog-poor.jpg", DOG),
        record("white.png", "A sheet of paper is on the desk."),
        record("blue.png", "The sea is calm on this day."),
        record("half.jpg", "The file is cut off."),
        record("almost.png", "The end of the file is missing."),
        record("nothing.jpg", "There is nothing in it."),
        record("page.jpg", "It is a page of the web."),
        record("huge.png", "A huge one of 144 million pixels."),
        record("float.tiff", "The pixels are not whole numbers."),
        record("gone.jpg", "The file is not there."),
        record("fine-1.jpg", "   ", id="empty"),
        {"id": "no-image", "caption": "There is no image in this record."},
        record("fine-1.jpg", "The path is of another machine.") | {"id": "abs", "image": "C:\\photos\\a.jpg"},
        record("fine-1.jpg", "A box.", id="no-area", regions=[{"box": [5, 5, 5, 9]}]),
        record("fine-1.jpg", "A span.", id="span", regions=[{"box": [5, 5, 9, 9], "span": [0, 99]}]),
        record("fine-1.jpg", "The id is taken.", id="fine-1"),
    ]  # fmt: skip
