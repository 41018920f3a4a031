"""Reading samples: what a user's folder or JSON lines become, and what is said about broken entries."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fastgoal.data.samples import GivenRegion, Sample, Source, open_source
from fastgoal.errors import DataError


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_lines(folder: Path, *records: Any) -> Path:
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    touch(folder / "a.jpg")
    return touch(folder / "captions.jsonl", b"\n".join(lines))


def test_a_folder_is_read_in_path_order_and_other_files_are_ignored(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "sub/c.webp", ".thumbs/d.jpg", "notes.pdf"):
        touch(tmp_path / name)
    for name, text in {"b": "\ufeffTwo.\r\nLines.\n", "a": "One.", "sub/c": "Ü."}.items():
        touch(tmp_path / f"{name}.txt", text.encode())
    touch(tmp_path / "README.txt", b"Nobody's caption.")
    source = open_source(tmp_path)
    assert list(source) == [
        Sample(id="a.png", image="a.png", caption="One."),
        Sample(id="b.JPG", image="b.JPG", caption="Two.\nLines."),
        Sample(id="sub/c.webp", image="sub/c.webp", caption="Ü."),
    ]
    assert source.image_path(source.samples[2]) == tmp_path / "sub" / "c.webp"
    assert (len(source), source.name) == (3, tmp_path.name)


def test_broken_folder_entries_stop_a_strict_reading_and_are_listed_otherwise(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        touch(tmp_path / f"{name}.jpg")
    touch(tmp_path / "b.txt", b" \n")
    touch(tmp_path / "c.txt", b"caf\xe9")
    touch(tmp_path / "d.txt", b"Fine.")
    with pytest.raises(DataError, match=r"a\.jpg: image without a caption.*a\.txt"):
        open_source(tmp_path)
    source = open_source(tmp_path, strict=False)
    assert [sample.id for sample in source] == ["d.jpg"]
    assert [problem.what for problem in source.problems] == [
        "image without a caption",
        "the caption is empty",
        "not UTF-8 at byte 3",
    ]


def test_json_lines_keep_captions_to_the_character(tmp_path: Path) -> None:
    caption = " Ein\u2028Hund\r\n👩‍👩‍👧 e\u0301. "
    record = {"id": 7, "image": "a.jpg", "caption": caption, "more": 1}
    region = {"box": [1, 2.5, 3, 4], "span": [1, 4], "label": "dog"}
    file = write_lines(tmp_path, b"\xef\xbb\xbf" + json.dumps(record, ensure_ascii=False).encode(), b"  ")
    with file.open("ab") as lines:
        lines.write(
            json.dumps({"image": "b.jpg", "caption": "A dog.", "regions": [region, {"box": [0, 0, 1, 1]}]}).encode()
        )
    first, second = open_source(tmp_path)
    assert first == Sample(id="7", image="a.jpg", caption=caption)
    assert second.regions == (
        GivenRegion(box=(1.0, 2.5, 3.0, 4.0), span=(1, 4), label="dog"),
        GivenRegion(box=(0.0, 0.0, 1.0, 1.0)),
    )
    assert list(open_source(file)) == [first, second]


def test_several_captions_of_one_image_get_their_own_ids(tmp_path: Path) -> None:
    line = {"image": "a.jpg", "caption": "One."}
    write_lines(tmp_path, line, {**line, "id": "a.jpg#2"}, line)
    assert [sample.id for sample in open_source(tmp_path)] == ["a.jpg", "a.jpg#2", "a.jpg#3"]


def line(**changes: Any) -> dict[str, Any]:
    return {"image": "a.jpg", "caption": "A dog.", **changes}


BAD_LINES = {
    "not JSON at column": b'{"image": "a.jpg", ',
    "not a JSON object": ["a.jpg", "A dog."],
    "not UTF-8 at byte 2": b'{"\xff": 1}',
    "caption is missing. This line has: image, text": {"image": "a.jpg", "text": "A dog."},
    "caption is not a text": line(caption=["A dog."]),
    "caption is empty": line(caption=""),
    "caption is not valid Unicode": b'{"image": "a.jpg", "caption": "A \\ud800 dog."}',
    "image '/data/a.jpg' is not a relative path": line(image="/data/a.jpg"),
    "image 'C:.*' is not a relative path": line(image="C:\\data\\a.jpg"),
    "image 'https://.*' is not a relative path": line(image="https://example.org/a.jpg"),
    "id is neither": line(id=1.5),
    "regions is not a list": line(regions={"box": [0, 0, 1, 1]}),
    r"regions\[0\]: box is not four numbers": line(regions=[{"box": [0, 0, 1]}]),
    "box is not four numbers.*pixels": line(regions=[{"box": [0, 0, 1, float("nan")]}]),
    r"box \[5, 0, 3, 4\] has no area.*not width": line(regions=[{"box": [5, 0, 3, 4]}]),
    "span is not two whole numbers": line(regions=[{"box": [0, 0, 1, 1], "span": [0.0, 2.0]}]),
    r"span \[0, 7\] is outside the caption of 6": line(regions=[{"box": [0, 0, 1, 1], "span": [0, 7]}]),
    "label is not a text": line(regions=[{"box": [0, 0, 1, 1], "label": 3}]),
    r"id 'a\.jpg' was used in line 1": line(id="a.jpg"),
}


@pytest.mark.parametrize("message", BAD_LINES)
def test_a_bad_line_is_named_with_its_file_and_number(tmp_path: Path, message: str) -> None:
    file = write_lines(tmp_path, line(), BAD_LINES[message])
    with pytest.raises(DataError, match=message) as caught:
        open_source(tmp_path)
    assert str(caught.value).startswith(f"{file}:2")
    assert caught.value.mend
    source = open_source(tmp_path, strict=False)
    assert (len(source), len(source.problems)) == (1, 1)


def test_what_holds_no_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no usable sample here.*captions\.jsonl"):
        open_source(tmp_path)
    with pytest.raises(DataError, match="not a kind of data"):
        open_source(touch(tmp_path / "captions.xlsx"))


def test_the_root_of_the_images_can_lie_elsewhere_and_a_wrong_one_is_noticed(tmp_path: Path) -> None:
    write_lines(tmp_path / "data", line())
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "data" / "a.jpg").rename(images / "a.jpg")
    with pytest.raises(DataError, match=r"no image is where the data says.*--root"):
        open_source(tmp_path / "data")
    source = open_source(tmp_path / "data", root=images)
    assert source.image_path(source.samples[0]).is_file()


def test_limit_stops_before_later_problems(tmp_path: Path) -> None:
    write_lines(tmp_path, line(), line(), b"broken")
    assert len(open_source(tmp_path, limit=2)) == 2


def test_the_key_follows_content_and_not_place(tmp_path: Path) -> None:
    write_lines(tmp_path / "here", line(), line(caption="Two dogs."))
    source = open_source(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert open_source(tmp_path / "there").key == source.key
    assert open_source(tmp_path / "here", limit=1).key != source.key
    turned = Source(name=source.name, root=source.root, samples=source.samples[::-1])
    assert turned.key != source.key
    touch(tmp_path / "there" / "a.jpg", b"another image")
    assert open_source(tmp_path / "there").key != source.key
