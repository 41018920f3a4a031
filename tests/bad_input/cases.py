"""Bad input, case by case: what a user might have, and the command that meets it.

A case makes its trouble in an empty folder and returns the command to type there. `good(folder)` is the smallest sound
data set; most cases spoil it in one way. `test_bad_input` runs the
cases and writes the table of the docs.
"""

import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Outcome = str
"""`refused`: exit code 2 and one line; `left out`: goes on without it, counted and named; `used`: it is no trouble."""
REFUSED, LEFT_OUT, USED = "refused", "left out", "used"
Make = Callable[[Path], list[str]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of trouble. `says` has to be in the line that is printed, or be the reason that is counted."""

    group: str
    name: str
    make: Make
    outcome: Outcome
    says: str = ""


CASES: list[Case] = []


def case(group: str, name: str, outcome: Outcome, says: str = "") -> Callable[[Make], Make]:
    """Registers a function that makes the trouble."""

    def register(make: Make) -> Make:
        CASES.append(Case(group=group, name=name, make=make, outcome=outcome, says=says))
        return make

    return register


# Sound data to spoil


def match(data: str | Path = "data", *more: str) -> list[str]:
    """The command that most cases meet. `MODEL` is put in by the test."""
    return ["match", str(data), "--out", "pairs", "--matcher", "MODEL", "--regions", "fixed", *more]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def picture(size: tuple[int, int] = (40, 32), mode: str = "RGB", kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)
    image.save(out, kind, **options)
    return out.getvalue()


def good(folder: Path, count: int = 3) -> Path:
    """Images with a `.txt` each, in `folder/data`."""
    for i in range(count):
        write(folder / "data" / f"{i}.png", picture((40 + i, 32)))
        write(folder / "data" / f"{i}.txt", f"A red ball lies on the left of table {i}. A lamp stands behind it.")
    return folder / "data"


def with_caption(content: bytes) -> Make:
    def make(folder: Path) -> list[str]:
        write(good(folder) / "1.txt", content)
        return match()

    return make


def with_image(content: bytes, name: str = "1.png") -> Make:
    def make(folder: Path) -> list[str]:
        data = good(folder)
        (data / "1.png").unlink()
        write(data / name, content)
        return match()

    return make


RECORD = {"image": "0.png", "caption": "A red ball. A lamp."}


def with_line(line: Any) -> Make:
    """A `captions.jsonl` whose second line is bad: bytes as they are, anything else as JSON."""

    def make(folder: Path) -> list[str]:
        data = good(folder)
        raw = line if isinstance(line, bytes) else json.dumps(line).encode()
        write(data / "captions.jsonl", json.dumps({**RECORD, "id": "x"}).encode() + b"\n" + raw + b"\n")
        return match()

    return make


def with_region(region: Any) -> Make:
    def make(folder: Path) -> list[str]:
        with_line({**RECORD, "regions": [region] if not isinstance(region, str) else region})(folder)
        command = match()
        command[command.index("fixed")] = "given"
        return command

    return make


def with_csv(content: str | bytes, *more: str) -> Make:
    def make(folder: Path) -> list[str]:
        write(good(folder) / "captions.csv", content)
        return match("data", *more)

    return make


def table(folder: Path, columns: dict[str, list[Any]], name: str = "a.parquet") -> Path:
    good(folder)
    pq.write_table(pa.table(columns), folder / "data" / name)
    return folder / "data" / name


def tar(folder: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path = folder / "data" / "a.tar"
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode) as out:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return path


MEMBERS = {"a.png": picture(), "a.txt": b"A red ball.", "b.png": picture(), "b.txt": b"A lamp."}


# Folders


@case("folder", "an empty folder", REFUSED, "no usable sample here")
def _(folder: Path) -> list[str]:
    (folder / "data").mkdir()
    return match()


@case("folder", "no such folder", REFUSED, "no such file or folder")
def _(folder: Path) -> list[str]:
    return match("nowhere")


@case("folder", "a file of another kind", REFUSED, "not a kind of data")
def _(folder: Path) -> list[str]:
    return match(write(folder / "captions.xlsx", b"x").name)


@case("folder", "a named pipe in the place of the data", REFUSED, "neither a file nor a folder")
def _(folder: Path) -> list[str]:
    os.mkfifo(folder / "data")
    return match()


@case("folder", "images without any caption", REFUSED, "image without a caption")
def _(folder: Path) -> list[str]:
    for text in good(folder).glob("*.txt"):
        text.unlink()
    return match()


@case("folder", "captions without any image", REFUSED, "caption without an image")
def _(folder: Path) -> list[str]:
    for image in good(folder).glob("*.png"):
        image.unlink()
    return match()


@case("folder", "an image without a caption", LEFT_OUT, "image without a caption")
def _(folder: Path) -> list[str]:
    (good(folder) / "1.txt").unlink()
    return match()


@case("folder", "a caption without an image", LEFT_OUT, "caption without an image")
def _(folder: Path) -> list[str]:
    (good(folder) / "1.png").unlink()
    return match()


@case("folder", "a README.txt and hidden files beside the images", USED)
def _(folder: Path) -> list[str]:
    write(good(folder) / "README.txt", "Notes.")
    write(folder / "data" / ".thumbs" / "x.png", b"x")
    return match()


@case("folder", "a link that leads back to its own folder", USED)
def _(folder: Path) -> list[str]:
    (good(folder) / "again").symlink_to(folder / "data")
    return match()


@case("folder", "a caption file that is a folder", LEFT_OUT, "image without a caption")
def _(folder: Path) -> list[str]:
    (good(folder) / "1.txt").unlink()
    (folder / "data" / "1.txt").mkdir()
    return match()


@case("folder", "a limit of no samples", REFUSED, "a limit of 0")
def _(folder: Path) -> list[str]:
    good(folder)
    return match("data", "--limit", "0")


@case("folder", "every image unreadable", REFUSED, "0 of 3 samples can be used")
def _(folder: Path) -> list[str]:
    for image in good(folder).glob("*.png"):
        image.write_bytes(b"x")
    return match()


# Captions

for name, content, outcome, says in (
    ("empty", b"", LEFT_OUT, "the caption is empty"),
    ("only white space", b" \n\t\xc2\xa0", LEFT_OUT, "the caption is empty"),
    ("one word", b"Ball", USED, ""),
    ("ten thousand words", b"A red ball lies here. " * 2_000, USED, ""),
    ("one sentence of ten thousand words", b"ball " * 10_000, USED, ""),
    ("not UTF-8 (Latin-1)", "Ein schöner Ball.".encode("latin-1"), LEFT_OUT, "not UTF-8 at byte 7"),
    ("UTF-16", "A ball.".encode("utf-16"), LEFT_OUT, "not UTF-8 at byte 0"),
    ("a NUL character", b"A red\x00 ball.", USED, ""),
    ("control characters", b"A red \x07\x1b[31mball.", USED, ""),
    ("right-to-left", "כדור אדום. מנורה.".encode(), USED, ""),
    ("emoji only", "🎈🏠".encode(), USED, ""),
    ("the word None", b"None", USED, ""),
    ("the word NA", b"NA", USED, ""),
    ("the word nan", b"nan", USED, ""),
    ("a byte order mark", b"\xef\xbb\xbfA ball.", USED, ""),
    ("Windows line ends", b"A ball.\r\nA lamp.\r\n", USED, ""),
    ("HTML", b"<b>A ball</b> &amp; a lamp.", USED, ""),
    ("punctuation only", b"... -- !", USED, ""),
):
    case("caption", name, outcome, says)(with_caption(content))


# Images


def _png_bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + picture()[33:]


def _cut(content: bytes, share: float) -> bytes:
    return content[: max(1, int(len(content) * share))]


def _garbled(content: bytes, share: float) -> bytes:
    at = int(len(content) * share)
    return content[:at] + bytes(64) + content[at + 64 :]


def _animated() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (40, 32), (0, 90 * i, 0)) for i in range(3)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def _sixteen_bit() -> bytes:
    out = io.BytesIO()
    Image.fromarray((np.arange(40 * 32, dtype=np.uint16) * 50).reshape(32, 40)).save(out, "PNG")
    return out.getvalue()


def _floating() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((32, 40), dtype=np.float32)).save(out, "TIFF")
    return out.getvalue()


JPEG = picture((64, 48), kind="JPEG")
for name, content, file, outcome, says in (
    ("one pixel", picture((1, 1)), "1.png", USED, ""),
    ("20,000 x 10 pixels", picture((20_000, 10)), "1.png", LEFT_OUT, "too elongated"),
    ("zero bytes", b"", "1.png", LEFT_OUT, "0 bytes"),
    ("a PNG cut after 1 %", _cut(picture(), 0.01), "1.png", LEFT_OUT, "not an image"),
    ("a PNG cut after half", _cut(picture(), 0.5), "1.png", LEFT_OUT, "cannot be decoded"),
    ("a PNG garbled in the middle", _garbled(picture(), 0.5), "1.png", LEFT_OUT, "cannot be decoded"),
    ("a JPEG cut after 1 %", _cut(JPEG, 0.01), "1.jpg", LEFT_OUT, "not an image"),
    ("a JPEG cut after half", _cut(JPEG, 0.5), "1.jpg", LEFT_OUT, "cannot be decoded"),
    ("a JPEG cut after 90 %", _cut(JPEG, 0.9), "1.jpg", LEFT_OUT, "cannot be decoded"),
    ("a PNG called .jpg", picture(), "1.jpg", USED, ""),
    ("a text called .jpg", b"A red ball.", "1.jpg", LEFT_OUT, "not an image"),
    ("a web page called .jpg", b"<!doctype html><title>404</title>", "1.jpg", LEFT_OUT, "not an image"),
    ("an upper-case suffix", JPEG, "1.JPG", USED, ""),
    ("a palette", picture(mode="P"), "1.png", USED, ""),
    ("grey", picture(mode="L"), "1.png", USED, ""),
    ("black and white", picture(mode="1"), "1.png", USED, ""),
    ("transparency", picture(mode="RGBA"), "1.png", USED, ""),
    ("grey with transparency", picture(mode="LA"), "1.png", USED, ""),
    ("CMYK", picture(mode="CMYK", kind="JPEG"), "1.jpg", USED, ""),
    ("16 bits", _sixteen_bit(), "1.png", USED, ""),
    ("floating point", _floating(), "1.tif", LEFT_OUT, "floating-point pixels"),
    ("an animation", _animated(), "1.gif", USED, ""),
    ("WebP", picture(kind="WEBP"), "1.webp", USED, ""),
    ("a decompression bomb", _png_bomb(), "1.png", LEFT_OUT, "too large"),
    ("malformed EXIF", picture(kind="JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff"), "1.jpg", USED, ""),
    ("a name with spaces and quotes", picture(), 'it\'s "1".png', LEFT_OUT, "image without a caption"),
):
    case("image", name, outcome, says)(with_image(content, file))


@case("image", "a folder called 1.jpg, named by a caption", LEFT_OUT, "cannot be read")
def _(folder: Path) -> list[str]:
    with_line({**RECORD, "image": "1.jpg"})(folder)
    (folder / "data" / "1.jpg").mkdir()
    return match()


@case("image", "a link to itself", LEFT_OUT, "cannot be read")
def _(folder: Path) -> list[str]:
    with_line({**RECORD, "image": "1.jpg"})(folder)
    (folder / "data" / "1.jpg").symlink_to(folder / "data" / "1.jpg")
    return match()


@case("image", "a link to nothing", LEFT_OUT, "cannot be read")
def _(folder: Path) -> list[str]:
    with_line({**RECORD, "image": "1.jpg"})(folder)
    (folder / "data" / "1.jpg").symlink_to(folder / "gone.jpg")
    return match()


@case("image", "a named pipe", LEFT_OUT, "not a file")
def _(folder: Path) -> list[str]:
    with_line({**RECORD, "image": "1.jpg"})(folder)
    os.mkfifo(folder / "data" / "1.jpg")
    return match()


# JSON lines

for name, line, outcome, says in (
    ("broken JSON", b'{"image": "0.png", ', LEFT_OUT, "not JSON at column"),
    ("a list", ["0.png", "A ball."], LEFT_OUT, "not a JSON object"),
    ("a number", 7, LEFT_OUT, "not a JSON object"),
    ("not UTF-8", b'{"image": "0.png", "caption": "\xe9"}', LEFT_OUT, "not UTF-8"),
    ("nested a hundred thousand deep", b"[" * 100_000, LEFT_OUT, "nested too deeply"),
    ("an empty line", b"", USED, ""),
    ("no caption", {"image": "0.png"}, LEFT_OUT, "caption is missing"),
    ("an empty caption", {**RECORD, "caption": ""}, LEFT_OUT, "caption is empty"),
    ("a number as caption", {**RECORD, "caption": 5}, LEFT_OUT, "caption is not a text"),
    ("null as caption", {**RECORD, "caption": None}, LEFT_OUT, "caption is missing"),
    ("several captions", {**RECORD, "caption": ["A ball.", "A lamp."]}, USED, ""),
    ("an empty list of captions", {**RECORD, "caption": []}, LEFT_OUT, "caption is an empty list"),
    ("half a surrogate pair", b'{"image": "0.png", "caption": "\\ud800"}', LEFT_OUT, "not valid Unicode"),
    ("no image", {"caption": "A ball."}, LEFT_OUT, "image is missing"),
    ("an image that is not there", {**RECORD, "image": "gone.png"}, LEFT_OUT, "cannot be read"),
    ("an absolute path", {**RECORD, "image": "/images/0.png"}, LEFT_OUT, "is not a relative path"),
    ("a Windows drive", {**RECORD, "image": "C:\\0.png"}, LEFT_OUT, "is not a relative path"),
    ("a web address", {**RECORD, "image": "https://example.org/0.png"}, LEFT_OUT, "is not a relative path"),
    ("backslashes", {**RECORD, "image": ".\\1.png"}, USED, ""),
    ("a detour", {**RECORD, "image": "../data/./1.png"}, USED, ""),
    ("a NUL in the path", {**RECORD, "image": "0\x00.png"}, LEFT_OUT, "cannot be read"),
    ("a path of 5,000 characters", {**RECORD, "image": "0" * 5_000}, LEFT_OUT, "cannot be read"),
    ("a number as image", {**RECORD, "image": 0}, LEFT_OUT, "image is not a text"),
    ("an id twice", {**RECORD, "id": "x"}, LEFT_OUT, "is used a second time"),
    ("a number as id", {**RECORD, "id": 7}, USED, ""),
    ("a fraction as id", {**RECORD, "id": 1.5}, LEFT_OUT, "id is neither"),
    (
        "a number of 5,000 digits",
        b'{"image": "0.png", "caption": "A.", "id": ' + b"7" * 5_000 + b"}",
        LEFT_OUT,
        "not JSON",
    ),
    ("a list as id", {**RECORD, "id": [1]}, LEFT_OUT, "id is neither"),
    ("an image a second time", {**RECORD, "caption": "Another."}, USED, ""),
    ("a member of a tar that is not there", {**RECORD, "image": "no.tar#a.png"}, LEFT_OUT, "cannot be read"),
    ("a row of a table that is not there", {**RECORD, "image": "no.parquet#image/1"}, LEFT_OUT, "cannot be read"),
):
    case("JSON line", name, outcome, says)(with_line(line))


@case("JSON line", "every image missing", REFUSED, "no image is where the data says")
def _(folder: Path) -> list[str]:
    with_line(RECORD)(folder)
    for image in (folder / "data").glob("*.png"):
        image.unlink()
    return match()


@case("JSON line", "every line broken", REFUSED, "no usable sample here")
def _(folder: Path) -> list[str]:
    write(good(folder) / "captions.jsonl", b"{\n{\n")
    return match()


@case("JSON line", "fields by other names", REFUSED, "--caption-column")
def _(folder: Path) -> list[str]:
    write(good(folder) / "captions.jsonl", b'{"image": "0.png", "words": "A ball."}')
    return match()


# Regions

for name, region, outcome, says in (
    ("outside the image", {"box": [500, 500, 600, 600]}, USED, ""),
    ("partly outside", {"box": [-5, -5, 20, 20]}, USED, ""),
    ("inverted", {"box": [20, 20, 5, 5]}, LEFT_OUT, "has no area"),
    ("without width", {"box": [5, 5, 5, 20]}, LEFT_OUT, "has no area"),
    ("NaN", {"box": [0, 0, float("nan"), 9]}, LEFT_OUT, "box is not four numbers"),
    ("infinite", {"box": [0, 0, float("inf"), 9]}, LEFT_OUT, "box is not four numbers"),
    ("texts", {"box": ["0", "0", "9", "9"]}, LEFT_OUT, "box is not four numbers"),
    ("three numbers", {"box": [0, 0, 9]}, LEFT_OUT, "box is not four numbers"),
    ("true and false", {"box": [False, False, True, True]}, LEFT_OUT, "box is not four numbers"),
    ("an empty box", {"box": []}, LEFT_OUT, "box is not four numbers"),
    ("no box", {"span": [0, 3]}, LEFT_OUT, "box is not four numbers"),
    ("a bare list", [0, 0, 9, 9], LEFT_OUT, "box is not four numbers"),
    ("not a list of regions", "0 0 9 9", LEFT_OUT, "regions is not a list"),
    ("a number of 300 digits", {"box": [0, 0, 10**300, 9]}, USED, ""),
    ("a number of 400 digits", {"box": [0, 0, 10**400, 9]}, LEFT_OUT, "box is not four numbers"),
    ("a span beyond the caption", {"box": [0, 0, 9, 9], "span": [0, 999]}, LEFT_OUT, "is outside the caption"),
    ("an inverted span", {"box": [0, 0, 9, 9], "span": [5, 2]}, LEFT_OUT, "is outside the caption"),
    ("a negative span", {"box": [0, 0, 9, 9], "span": [-3, 2]}, LEFT_OUT, "is outside the caption"),
    ("fractions as span", {"box": [0, 0, 9, 9], "span": [0.5, 2]}, LEFT_OUT, "not two whole numbers"),
    ("a number as label", {"box": [0, 0, 9, 9], "label": 3}, LEFT_OUT, "label is not a text"),
):
    case("region", name, outcome, says)(with_region(region))


# CSV

HEAD = "image,caption\n0.png,A ball.\n"
for name, content, outcome, says in (
    ("quotes, commas and line breaks inside quotes", HEAD + '1.png,"A ""ball"", red.\nA lamp."\n', USED, ""),
    ("semicolons", "image;caption\n0.png;A ball, red.\n", USED, ""),
    ("tabs", "image\tcaption\n0.png\tA ball, red.\n", USED, ""),
    ("a byte order mark and Windows line ends", "\ufeffimage,caption\r\n0.png,A ball.\r\n", USED, ""),
    ("other names", "file_name,text\n0.png,A ball.\n", USED, ""),
    ("None and NA as captions", "image,caption\n0.png,None\n1.png,NA\n", USED, ""),
    ("a comma without quotes", HEAD + "1.png,A ball, red.\n", LEFT_OUT, "3 cells under 2 columns"),
    ("too few cells", HEAD + "1.png\n", LEFT_OUT, "1 cells under 2 columns"),
    ("an empty cell", HEAD + "1.png,\n", LEFT_OUT, "caption is empty"),
    ("an empty row", HEAD + "\n,\n", USED, ""),
    ("an open quote", HEAD + '1.png,"A ball.\n', REFUSED, "not CSV"),
    ("no known column", "a,b\n0.png,A ball.\n", REFUSED, "no column is plainly the image"),
    ("two columns of captions", "image,text,description\n0.png,A.,B.\n", REFUSED, "could be the caption"),
    ("a column twice", "image,caption,caption\n0.png,A.,B.\n", REFUSED, "is there twice"),
    ("Latin-1", "image,caption\n0.png,caf\xe9\n".encode("latin-1"), REFUSED, "not UTF-8"),
    ("an empty file", "", REFUSED, "no column is plainly the image"),
    ("a header only", "image,caption\n", REFUSED, "no usable sample here"),
    (
        "broken JSON in a regions cell",
        'image,caption,regions\n0.png,A.,""\n1.png,B.,[\n',
        LEFT_OUT,
        "regions is not JSON",
    ),
    ("a cell of 200,000 characters", HEAD + f"1.png,{'ball ' * 40_000}\n", USED, ""),
):
    case("CSV", name, outcome, says)(with_csv(content))
case("CSV", "a named column that is not there", REFUSED, "there is no column 'words'")(
    with_csv(HEAD, "--caption-column", "words")
)
case("CSV", "two columns of captions, one named", USED)(
    with_csv("image,text,description\n0.png,A.,B.\n", "--caption-column", "text")
)


# Tables and tars


@case("Parquet", "other columns", REFUSED, "no column is plainly the image")
def _(folder: Path) -> list[str]:
    table(folder, {"a": [1]})
    return match()


@case("Parquet", "cut off", REFUSED, "the table cannot be read")
def _(folder: Path) -> list[str]:
    file = table(folder, {"image": ["0.png"], "caption": ["A."]})
    file.write_bytes(file.read_bytes()[:-30])
    return match()


@case("Parquet", "an empty file", REFUSED, "the table cannot be read")
def _(folder: Path) -> list[str]:
    write(good(folder) / "a.parquet", b"")
    return match()


@case("Parquet", "a text called .parquet", REFUSED, "the table cannot be read")
def _(folder: Path) -> list[str]:
    write(good(folder) / "a.parquet", "A red ball. " * 10)
    return match()


@case("Parquet", "no rows", REFUSED, "no usable sample here")
def _(folder: Path) -> list[str]:
    table(folder, {"image": pa.array([], pa.string()), "caption": pa.array([], pa.string())})
    return match()


@case("Parquet", "a second file of other columns", REFUSED, "no column is plainly the caption")
def _(folder: Path) -> list[str]:
    table(folder, {"image": ["0.png"], "caption": ["A."]})
    table(folder, {"image": ["0.png"], "words": ["A."]}, "b.parquet")
    return match()


@case("Parquet", "null as caption", LEFT_OUT, "caption is missing")
def _(folder: Path) -> list[str]:
    table(folder, {"image": ["0.png", "1.png"], "caption": ["A ball.", None]})
    return match()


@case("Parquet", "null as image bytes", LEFT_OUT, "0 bytes")
def _(folder: Path) -> list[str]:
    table(folder, {"image": [picture(), None], "caption": ["A ball.", "A lamp."]})
    return match()


@case("Parquet", "numbers as captions", REFUSED, "caption is not a text")
def _(folder: Path) -> list[str]:
    table(folder, {"image": ["0.png"], "caption": [1]})
    return match()


@case("datasets folder", "several splits", REFUSED, "a data set of several splits")
def _(folder: Path) -> list[str]:
    write(folder / "data" / "dataset_dict.json", '{"splits": ["train", "test"]}')
    (folder / "data" / "train").mkdir()
    return match()


@case("datasets folder", "a table that is cut off", REFUSED, "the table cannot be read")
def _(folder: Path) -> list[str]:
    data = good(folder)
    content = pa.table({"image": ["0.png"], "caption": ["A ball."]})
    with pa.OSFile(str(data / "data.arrow"), "wb") as sink, pa.ipc.new_stream(sink, content.schema) as out:
        out.write_table(content)
    (data / "data.arrow").write_bytes((data / "data.arrow").read_bytes()[:100])
    write(data / "state.json", "{}")
    return match()


for name, members, outcome, says in (
    ("an image without a caption", {**MEMBERS, "c.png": picture()}, LEFT_OUT, "sample without a caption"),
    ("a caption without an image", {**MEMBERS, "c.txt": b"A lamp."}, LEFT_OUT, "sample without an image"),
    ("an empty caption", {**MEMBERS, "c.png": picture(), "c.txt": b" "}, LEFT_OUT, "caption is empty"),
    (
        "JSON without a caption",
        {**MEMBERS, "c.png": picture(), "c.json": b'{"a": 1}'},
        LEFT_OUT,
        "no column is plainly",
    ),
    ("JSON that is a list", {**MEMBERS, "c.png": picture(), "c.json": b"[]"}, LEFT_OUT, "not a JSON object"),
    (
        "a caption that is not UTF-8",
        {**MEMBERS, "c.png": picture(), "c.txt": b"\xe9"},
        LEFT_OUT,
        "not UTF-8 or not JSON",
    ),
    ("a broken image", {**MEMBERS, "c.png": b"x", "c.txt": b"A lamp."}, LEFT_OUT, "not an image"),
    ("nothing in it", {}, REFUSED, "no usable sample here"),
):

    def _tarred(members: dict[str, bytes]) -> Make:
        def make(folder: Path) -> list[str]:
            tar(folder, members)
            return match()

        return make

    case("tar", name, outcome, says)(_tarred(members))


@case("tar", "cut off inside a member", LEFT_OUT, "the tar is cut off or broken")
def _(folder: Path) -> list[str]:
    path = tar(folder, MEMBERS | {"c.png": picture((200, 200)), "c.txt": b"A lamp."})
    path.write_bytes(path.read_bytes()[:30_000])
    return match()


@case("tar", "cut off between two members", LEFT_OUT, "the tar is cut off or broken")
def _(folder: Path) -> list[str]:
    path = tar(folder, MEMBERS)
    with tarfile.open(path) as opened:
        end = opened.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[:end])
    return match()


@case("tar", "compressed", REFUSED, "unpack it to a plain .tar")
def _(folder: Path) -> list[str]:
    tar(folder, MEMBERS, "w:gz")
    return match()


@case("tar", "a text called .tar", REFUSED, "the tar is cut off or broken")
def _(folder: Path) -> list[str]:
    write(folder / "data" / "a.tar", "A red ball.")
    return match()


# Models


def with_model(spoil: Callable[[Path], object]) -> Make:
    """A copy of the small model, spoilt. The test puts `MODEL` in the command's place of the folder to copy."""

    def make(folder: Path) -> list[str]:
        good(folder)
        shutil.copytree(os.environ["SMALL_CLIP"], folder / "model")
        spoil(folder / "model")
        command = match()
        command[command.index("MODEL")] = "model"
        return command

    return make


def _edit(name: str, **changes: Any) -> Callable[[Path], object]:
    def spoil(model: Path) -> None:
        content = json.loads((model / name).read_text())
        (model / name).write_text(json.dumps({**content, **changes}))

    return spoil


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def _unsafe(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(_Evil()))


def _smaller_vocabulary(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["text_config"]["vocab_size"] = 100
    (model / "config.json").write_text(json.dumps(config))


for name, spoil, says in (
    ("no weights", lambda m: (m / "model.safetensors").unlink(), "the folder has no weights"),
    ("no config.json", lambda m: (m / "config.json").unlink(), "the folder has no config"),
    ("no tokenizer", lambda m: (m / "tokenizer.json").unlink(), "the folder has no tokenizer"),
    (
        "no image processor",
        lambda m: [(m / f"{n}_config.json").unlink() for n in ("preprocessor", "processor")],
        "the folder has no image processor",
    ),
    ("another architecture", _edit("config.json", model_type="bert"), 'its architecture is "bert"'),
    ("a config that is not JSON", lambda m: (m / "config.json").write_text("{"), "cannot be loaded"),
    ("weights that are cut off", lambda m: os.truncate(m / "model.safetensors", 5_000), "cannot be loaded"),
    ("weights of another size", _smaller_vocabulary, "another shape than config.json says"),
    ("a pickle that runs code, and no safetensors", _unsafe, "a pickle that may run code"),
    ("a tokenizer that is not JSON", lambda m: (m / "tokenizer.json").write_text("{"), "cannot be loaded"),
):
    case("model", name, REFUSED, says)(with_model(spoil))


@case("model", "no such folder", REFUSED, "there is no such model folder")
def _(folder: Path) -> list[str]:
    good(folder)
    return ["match", "data", "--out", "pairs", "--matcher", "./nowhere"]


@case("model", "a file", REFUSED, "there is no such model folder")
def _(folder: Path) -> list[str]:
    good(folder)
    write(folder / "model.safetensors", b"x")
    return ["match", "data", "--out", "pairs", "--matcher", "./model.safetensors"]


@case("model", "a device that is not there", REFUSED, "this device cannot be used")
def _(folder: Path) -> list[str]:
    good(folder)
    return match("data", "--device", "cuda:77")


# Settings


def with_settings(content: str | bytes) -> Make:
    def make(folder: Path) -> list[str]:
        write(folder / "settings.yaml", content)
        return ["train", "pairs", "--model", "MODEL", "--out", "run", "--config", "settings.yaml"]

    return make


for name, content, says in (
    ("not YAML", "epochs: [", "not a YAML file"),
    ("a list", "- epochs\n- 3\n", "not a list of settings"),
    ("an unknown name", "learning_rte: 1e-5\n", "Did you mean 'learning_rate'?"),
    ("a text for a number", "epochs: many\n", "not a whole number"),
    ("true for a number", "epochs: true\n", "not a whole number"),
    ("a fraction for a whole number", "epochs: 1.5\n", "not a whole number"),
    ("out of range", "batch_size: 1\n", "batch_size: 1 is out of range"),
    ("infinite", "learning_rate: .inf\n", "out of range"),
    ("not a number", "learning_rate: .nan\n", "out of range"),
    ("an unknown method", "method: gaol\n", "Did you mean 'goal'?"),
    ("a name twice", "epochs: 3\nepochs: 5\n", "'epochs' is there twice"),
    ("a Python object", "epochs: !!python/object/apply:os.getcwd []\n", "not a YAML file"),
    ("an anchor that refers to itself", "log_to: &a [*a]\n", "log_to"),
    ("a tab", "epochs:\t3\n\tseed: 1\n", "not a YAML file"),
    ("not UTF-8", b"method: \xe9\n", "not a YAML file"),
    ("all weights zero", "global_weight: 0\nlocal_weight: 0\ntsl_weight: 0\n", "weight"),
):
    case("settings file", name, REFUSED, says)(with_settings(content))


@case("settings file", "no such file", REFUSED, "cannot read the settings")
def _(folder: Path) -> list[str]:
    return ["train", "pairs", "--model", "MODEL", "--out", "run", "--config", "gone.yaml"]


@case("settings file", "anchors and an empty list", REFUSED, "not a pairs table")
def _(folder: Path) -> list[str]:
    return with_settings("epochs: &n 3\nseed: *n\nlog_to: []\n")(folder)  # the settings are fine, the table is missing


# Output folders and tables; `BEFORE` is a finished table of the good data, copied here by the test


def with_table(spoil: Callable[[Path], object], command: list[str]) -> Make:
    def make(folder: Path) -> list[str]:
        good(folder)
        shutil.copytree(os.environ["GOOD_PAIRS"], folder / "pairs")
        spoil(folder / "pairs")
        return command

    return make


TRAIN = ["train", "pairs", "--model", "MODEL", "--out", "run", "--epochs", "1", "--batch-size", "2"]


def _unfinished(pairs: Path) -> None:
    manifest = json.loads((pairs / "manifest.json").read_text())
    (pairs / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))


def _other_schema(pairs: Path) -> None:
    manifest = json.loads((pairs / "manifest.json").read_text())
    (pairs / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))


for name, spoil, command, says in (
    ("a table of other settings", lambda p: None, match("data", "--rule", "lism"), "made differently: rule was"),
    (
        "a table of other data",
        lambda p: write(p.parent / "data" / "1.txt", "Other."),
        match(),
        "made differently: data",
    ),
    ("a broken manifest", lambda p: (p / "manifest.json").write_text("{"), TRAIN, "not the manifest of a pairs table"),
    ("a table of another version", _other_schema, TRAIN, "schema version 99"),
    ("an unfinished table", _unfinished, TRAIN, "matching was interrupted after 3 samples"),
    ("a missing shard", lambda p: (p / "shard-00000.parquet").unlink(), TRAIN, "unreadable shard"),
    ("a damaged shard", lambda p: os.truncate(p / "shard-00000.parquet", 500), TRAIN, "unreadable shard"),
    ("a damaged shard, continued", lambda p: os.truncate(p / "shard-00000.parquet", 500), match(), "its checksum"),
    ("a warm-up longer than the run", lambda p: None, [*TRAIN, "--warmup-steps", "500"], "never ends in a run of"),
    ("a validation table that is none", lambda p: None, [*TRAIN, "--val", "data"], "not a pairs table"),
    ("a run with other settings to resume", lambda p: _run_folder(p.parent), [*TRAIN, "--resume"], "made differently"),
    ("a run that is already there", lambda p: _run_folder(p.parent), TRAIN, "already holds a run"),
):
    case("table or run", name, REFUSED, says)(with_table(spoil, command))


def _run_folder(folder: Path) -> None:
    write(folder / "run" / "settings.json", '{"epochs": 99}')


@case("output", "a file of that name", REFUSED, "cannot write here")
def _(folder: Path) -> list[str]:
    good(folder)
    write(folder / "pairs", "precious")
    return match()


@case("output", "a folder below a file", REFUSED, "cannot write here")
def _(folder: Path) -> list[str]:
    good(folder)
    write(folder / "file", "precious")
    command = match()
    command[command.index("pairs")] = "file/pairs"
    return command


@case("output", "a folder with other things in it", REFUSED, "the folder is not empty")
def _(folder: Path) -> list[str]:
    write(good(folder).parent / "pairs" / "photo.jpg", "precious")
    return match()


# The command line

for name, command, says in (
    ("a misspelt command", ["mtach", "data"], "match"),
    ("a misspelt option", ["match", "data", "--uot", "pairs"], "--out"),
    ("a missing option", ["match", "data"], "--out"),
    ("a text for a number", ["match", "data", "--out", "pairs", "--limit", "few"], "few"),
    ("no images at once", ["eval", "tiny", "data", "--batch", "0"], "0 images per forward pass"),
    ("unknown regions", ["match", "data", "--out", "pairs", "--regions", "magic"], "magic"),
    ("a protocol of another task", ["eval", "tiny", "data", "--task", "joint", "--protocol", "localisation"], "is for"),
    ("an unknown protocol", ["eval", "tiny", "data", "--protocol", "long-retrieva"], "Did you mean 'long-retrieval'"),
    ("a run without metrics to report", ["report", "data", "--out", "page"], "metrics.json"),
    ("too many objects in a scene", ["scenes", "out", "--objects", "3-12"], "3-12 objects"),
    ("a stretched model in the place of a file", ["stretch", "tiny", "data/1.png"], "a file has this name"),
    ("too short a text limit", ["stretch", "tiny", "out", "--tokens", "2"], "holds no text"),
):

    def _typed(command: list[str]) -> Make:
        def make(folder: Path) -> list[str]:
            good(folder)
            return command

        return make

    case("command line", name, REFUSED, says)(_typed(command))
