"""Sources: every shape of data becomes the same samples, broken entries are left out and said, memory stays flat."""

import csv
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastgoal.data.columns import Columns
from fastgoal.data.images import read_image
from fastgoal.data.samples import Sample
from fastgoal.data.source import Source, open_source
from fastgoal.errors import DataError

CAPTIONS = ('A dog, "quoted"; it sleeps.', "Zwei Zeilen.\nÜ 👩‍👧 e\u0301.", "None", "NA", "שלום. عالم.")


def picture(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (10 + number, 20), (10 * number, 0, 0)).save(out, "PNG")
    return out.getvalue()


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pictures(folder: Path) -> list[str]:
    return [touch(folder / f"images/{i}.png", picture(i)).relative_to(folder).as_posix() for i in range(len(CAPTIONS))]


# One data set in every shape


def as_text_files(folder: Path) -> Path:
    for name, caption in zip(pictures(folder), CAPTIONS, strict=True):
        touch((folder / name).with_suffix(".txt"), caption.encode())
    touch(folder / "README.txt")
    touch(folder / ".hidden" / "x.png")
    return folder


def as_json_lines(folder: Path) -> Path:
    rows = [{"image": i, "caption": c} for i, c in zip(pictures(folder), CAPTIONS, strict=True)]
    touch(
        folder / "captions.jsonl", "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("utf-8-sig")
    )
    return folder


def as_csv(folder: Path, delimiter: str = ",") -> Path:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["Caption", "file_name", "split"])
    writer.writerows((caption, image, "x") for image, caption in zip(pictures(folder), CAPTIONS, strict=True))
    touch(folder / "captions.csv", out.getvalue().encode("utf-8-sig"))
    return folder


def as_parquet_of_paths(folder: Path) -> Path:
    pq.write_table(pa.table({"image": pictures(folder), "text": CAPTIONS}), folder / "train.parquet", row_group_size=2)
    return folder / "train.parquet"


def as_parquet_of_images(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": picture(i), "path": f"{i}.png"} for i in range(len(CAPTIONS))]
    for part, rows in enumerate((slice(0, 2), slice(2, None))):
        table = pa.table({"image": cells[rows], "caption": CAPTIONS[rows], "id": [str(i) for i in range(5)][rows]})
        pq.write_table(table, folder / f"part-{part}.parquet", row_group_size=2)
    return folder


def as_saved_dataset(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": [picture(i) for i in range(len(CAPTIONS))], "caption": CAPTIONS})
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table)
    touch(folder / "state.json", b"{}")
    return folder


def as_tars(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, numbers in enumerate((range(3), range(3, 5))):
        with tarfile.open(folder / f"{part}.tar", "w") as tar:
            for i in numbers:
                text = CAPTIONS[i].encode() if i % 2 else json.dumps({"text": CAPTIONS[i]}).encode()
                for name, content in ((f"x/{i}.png", picture(i)), (f"x/{i}.{'txt' if i % 2 else 'json'}", text)):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


SHAPES: dict[str, Callable[[Path], Path]] = {
    "text files": as_text_files,
    "json lines": as_json_lines,
    "csv": as_csv,
    "semicolons": lambda folder: as_csv(folder, ";"),
    "parquet of paths": as_parquet_of_paths,
    "parquet of images": as_parquet_of_images,
    "saved data set": as_saved_dataset,
    "tars": as_tars,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_captions_and_pictures(tmp_path: Path, shape: str) -> None:
    source = open_source(SHAPES[shape](tmp_path / "data"))
    assert [sample.caption for sample in source] == list(CAPTIONS)
    assert [read_image(source.images.open(sample.image)).width for sample in source] == [10, 11, 12, 13, 14]
    assert len({sample.id for sample in source}) == len(source) == 5
    assert not source.problems
    assert all(sample.where for sample in source)
    assert source.images.size(next(iter(source)).image) > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_images_of_any_shape_are_found_from_another_folder(tmp_path: Path, shape: str) -> None:
    data = SHAPES[shape](tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    inside = shape in {"parquet of images", "saved data set", "tars"}
    source = open_source(data, root=tmp_path / "elsewhere" if inside else tmp_path / "data")
    assert [read_image(source.images.open(sample.image)).width for sample in source] == [10, 11, 12, 13, 14]


def test_captions_in_a_list_become_samples_of_one_image(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    pq.write_table(
        pa.table({"image": ["a.jpg"], "captions": [["One.", "Two.", " "]], "id": [5]}), tmp_path / "a.parquet"
    )
    source = open_source(tmp_path)
    assert [(s.id, s.caption, s.image) for s in source] == [("5", "One.", "a.jpg"), ("5#2", "Two.", "a.jpg")]
    assert dict(source.problems.counts) == {"captions is empty": 1}


# What cannot be used


def test_broken_entries_are_left_out_and_said(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        touch(tmp_path / f"{name}.jpg")
    touch(tmp_path / "b.txt", b" \n")
    touch(tmp_path / "c.txt", b"caf\xe9")
    touch(tmp_path / "d.txt", b"Fine.")
    touch(tmp_path / "e.txt", b"Nobody's caption.")
    source = open_source(tmp_path)
    assert [sample.id for sample in source] == ["d.jpg"]
    assert dict(source.problems.counts) == {
        "image without a caption": 1,
        "the caption is empty": 1,
        "not UTF-8 at byte 3": 1,
        "caption without an image": 1,
    }
    assert [Path(str(problem.where)).name for problem in source.problems.first] == ["a.jpg", "b.txt", "c.txt", "e.txt"]
    assert all(problem.mend for problem in source.problems.first)


BAD_LINES = {
    "not JSON at column": b'{"image": "a.jpg", ',
    "not a JSON object": b'["a.jpg", "A dog."]',
    "not UTF-8 at byte 2": b'{"\xff": 1}',
    "JSON nested too deeply": b'{"image": ' + b"[" * 100_000,
    "caption is missing": b'{"image": "a.jpg"}',
    r"id 'x' is used a second time \(first: .*:1\)": b'{"image": "b.jpg", "caption": "A.", "id": "x"}',
}


@pytest.mark.parametrize("message", BAD_LINES)
def test_a_bad_line_is_named_with_its_file_and_number(tmp_path: Path, message: str) -> None:
    touch(tmp_path / "a.jpg")
    good = b'{"image": "a.jpg", "caption": "A.", "id": "x"}\n'
    file = touch(tmp_path / "captions.jsonl", good + BAD_LINES[message])
    source = open_source(tmp_path)
    assert (len(source), len(list(source)), len(source.problems)) == (1, 1, 1)
    with pytest.raises(DataError, match=message) as caught:
        raise source.problems.first[0]
    assert str(caught.value).startswith(f"{file}:2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,caption\na.jpg,A dog, asleep.\n", "3 cells under 2 columns.*double quotes"),
        (b"image,caption,regions\na.jpg,A.,[\n", "regions is not JSON"),
        (b"image,caption\na.jpg,\n", "caption is empty"),
    ],
)
def test_a_bad_row_of_a_csv_is_left_out(tmp_path: Path, content: bytes, message: str) -> None:
    touch(tmp_path / "a.jpg")
    empty = b"," * (content.split(b"\n")[0].count(b",") - 1)
    touch(tmp_path / "captions.csv", content + b'a.jpg,"Fine."' + empty)
    source = open_source(tmp_path)
    assert [sample.caption for sample in source] == ["Fine."]
    with pytest.raises(DataError, match=message) as caught:
        raise source.problems.first[0]
    assert str(caught.value).startswith(f"{tmp_path / 'captions.csv'}:2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"picture,words\na.jpg,A.\n", "no column is plainly the caption.*--caption-column"),
        (b"image,image,caption\n", "column 'image' is there twice"),
        (b'image,caption\na.jpg,"A.\n', "not CSV"),
        (b"image,caption\na.jpg,caf\xe9\n", "not UTF-8"),
        (b"", "no column is plainly the image"),
    ],
)
def test_a_csv_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    touch(tmp_path / "a.jpg")
    touch(tmp_path / "captions.csv", content)
    with pytest.raises(DataError, match=message):
        list(open_source(tmp_path))


def test_a_tar_that_is_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    folder = as_tars(tmp_path)
    whole = (folder / "0.tar").read_bytes()
    touch(folder / "0.tar", whole[: len(whole) // 2 - 700])
    source = open_source(folder)
    kept = list(source)
    assert 0 < len(kept) < 5
    assert [read_image(source.images.open(sample.image)).height for sample in kept] == [20] * len(kept)
    assert any("cut off" in what for what in source.problems.counts)


def test_a_parquet_file_that_is_cut_off_or_of_other_columns_is_refused(tmp_path: Path) -> None:
    file = as_parquet_of_paths(tmp_path)
    whole = file.read_bytes()
    touch(file, whole[:-20])
    with pytest.raises(DataError, match=r"train\.parquet: the table cannot be read"):
        open_source(file)
    pq.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(DataError, match=r"no column is plainly the image.*'a'"):
        open_source(file)


def test_what_holds_no_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no usable sample here.*captions\.jsonl"):
        open_source(tmp_path)
    with pytest.raises(DataError, match="not a kind of data"):
        open_source(touch(tmp_path / "captions.xlsx"))
    with pytest.raises(DataError, match="a limit of 0"):
        open_source(tmp_path, limit=0)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        open_source(tmp_path / "pipe")
    (tmp_path / "splits" / "train").mkdir(parents=True)
    touch(tmp_path / "splits" / "dataset_dict.json", b"{}")
    with pytest.raises(DataError, match=r"several splits.*splits/train"):
        open_source(tmp_path / "splits")


def test_the_root_of_the_images_can_lie_elsewhere_and_a_wrong_one_is_noticed(tmp_path: Path) -> None:
    touch(tmp_path / "data" / "captions.jsonl", b'{"image": "a.jpg", "caption": "A."}')
    touch(tmp_path / "images" / "a.jpg")
    with pytest.raises(DataError, match=r"no image is where the data says.*--root"):
        open_source(tmp_path / "data")
    source = open_source(tmp_path / "data", root=tmp_path / "images")
    assert source.images.open(next(iter(source)).image) == tmp_path / "images" / "a.jpg"


@pytest.mark.parametrize("root", [".", "photos", "other"])
def test_a_folder_of_images_is_found_from_any_root(root: str, tmp_path: Path) -> None:
    touch(tmp_path / "photos" / "b" / "a.png", picture(3))
    touch(tmp_path / "photos" / "b" / "a.txt", b"A.")
    (tmp_path / "other").mkdir()
    source = open_source(tmp_path / "photos", root=tmp_path / root)
    (sample,) = source
    assert (sample.id, source.root) == ("b/a.png", tmp_path / root)
    assert read_image(source.images.open(sample.image), where="").size == (13, 20)


# Ids, limits, parts, keys


def lines(folder: Path, *rows: dict[str, Any] | bytes) -> Path:
    touch(folder / "a.jpg")
    raw = [
        row if isinstance(row, bytes) else json.dumps({"image": "a.jpg", "caption": "A.", **row}).encode()
        for row in rows
    ]
    touch(folder / "captions.jsonl", b"\n".join(raw))
    return folder


def test_several_captions_of_one_image_get_their_own_ids(tmp_path: Path) -> None:
    source = open_source(lines(tmp_path, {}, {"id": "a.jpg#2"}, {}))
    assert [sample.id for sample in source] == ["a.jpg", "a.jpg#2", "a.jpg#3"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "x", "a", "a#2"]), st.sampled_from(["a", "b", "a#2"])), max_size=12))
def test_ids_are_those_of_a_slow_obvious_numbering(pairs: list[tuple[str, str]]) -> None:
    samples = [Sample(id=own, image=image, caption=str(i)) for i, (own, image) in enumerate(pairs)]
    source = Source(name="x", root=Path(), entries=samples)
    kept = list(source)
    taken = {sample.id or sample.image for sample in samples}
    used: set[str] = set()
    expected = []
    for sample in samples:
        name = sample.id or sample.image
        if sample.id and name in used:
            continue
        number = 1
        candidate = name
        while candidate in used or (number > 1 and candidate in taken):
            number += 1
            candidate = f"{name}#{number}"
        used.add(candidate)
        expected.append((candidate, sample.caption))
    assert [(sample.id, sample.caption) for sample in kept] == expected
    assert len(source) == len(kept)
    assert len(source.problems) == len(samples) - len(kept)


def test_limit_stops_before_later_problems(tmp_path: Path) -> None:
    source = open_source(lines(tmp_path, {}, {}, b"broken"), limit=2)
    assert (len(source), len(list(source)), len(source.problems)) == (2, 2, 0)


def test_a_part_keeps_ids_and_leaves_the_rest_out_silently(tmp_path: Path) -> None:
    source = open_source(lines(tmp_path, {"id": "x"}, {"id": "y"}, b"broken"))
    part = source.only(lambda sample: sample.id == "y", "half")
    assert ([sample.id for sample in part], len(part), part.name) == (["y"], 1, "half")
    assert [sample.id for sample in source.without({"y"})] == ["x"]


def test_the_key_follows_content_and_not_place(tmp_path: Path) -> None:
    source = open_source(lines(tmp_path / "here", {}, {"caption": "Two dogs."}))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert open_source(tmp_path / "there").key == source.key
    assert open_source(tmp_path / "here", limit=1).key != source.key
    assert Source(name="x", root=source.root, entries=tuple(source)[::-1]).key != source.key
    touch(tmp_path / "there" / "a.jpg", b"another image")
    assert open_source(tmp_path / "there").key != source.key


def test_columns_can_be_named(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    touch(tmp_path / "captions.csv", b"pic,short,long\na.jpg,A.,A long one.\n")
    source = open_source(tmp_path, columns=Columns(image="pic", caption="long"))
    assert [sample.caption for sample in source] == ["A long one."]


def test_members_and_cells_that_are_not_there_are_named(tmp_path: Path) -> None:
    source = open_source(as_tars(tmp_path / "tars"))
    for uri in ("0.tar#gone.png", "gone.tar#x", "0.tar/x#y"):
        with pytest.raises(DataError, match=r"cannot be read|No such"):
            read_image(source.images.open(uri))
    store = open_source(as_parquet_of_images(tmp_path / "parquet")).images
    for uri in ("part-0.parquet#image/99", "part-0.parquet#pixels/0", "part-0.parquet#image/x"):
        with pytest.raises(DataError, match="cannot be read"):
            store.open(uri)
    assert store.size("gone.parquet#image/0") == -1


def test_a_row_group_is_found_for_every_row(tmp_path: Path) -> None:
    values = [bytes([i]) for i in range(23)]
    pq.write_table(pa.table({"image": values, "caption": ["A."] * 23}), tmp_path / "a.parquet", row_group_size=4)
    source = open_source(tmp_path)
    order = np.random.default_rng(0).permutation(23)
    assert [source.images.open(f"a.parquet#image/{i}") for i in order] == [values[i] for i in order]


def test_kinds_of_problems_are_bounded(tmp_path: Path) -> None:
    rows = [{"id": str(i), "image": f"/{i}.jpg"} for i in range(150)]
    source = open_source(lines(tmp_path, {}, *rows))
    assert len(source.problems) == 150
    assert len(source.problems.counts) == 101
    assert source.problems.counts["other problems"] == 50


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip)


@settings(max_examples=40, deadline=None)
@given(captions=st.lists(WORDS, min_size=1, max_size=6))
def test_captions_come_back_to_the_character(captions: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("round-trip")
    touch(folder / "a.jpg")
    rows = [{"image": "a.jpg", "caption": caption} for caption in captions]
    touch(folder / "a.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode())
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    assert [sample.caption for sample in open_source(folder / "a.jsonl")] == captions
    assert [sample.caption for sample in open_source(folder / "a.parquet")] == captions
    plain = [caption for caption in captions if "\0" not in caption and "\r" not in caption]  # CSV has no such cells
    out = io.StringIO()
    writer = csv.DictWriter(out, ["image", "caption"], quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows({"image": "a.jpg", "caption": caption} for caption in plain)
    touch(folder / "a.csv", out.getvalue().encode())
    if plain:
        assert [sample.caption for sample in open_source(folder / "a.csv")] == plain


def test_a_pass_to_the_end_knows_the_problems(tmp_path):
    """And one that was left early does not pretend to."""
    lines = [{"id": "a", "image": "1.png", "caption": "x"}, {"image": 3}, {"id": "a", "image": "2.png", "caption": "y"}]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    early, whole = (open_source(tmp_path, probe=False) for _ in range(2))
    next(iter(early))
    assert [sample.image for sample in whole] == ["1.png"]
    assert "problems" in vars(whole)
    assert "problems" not in vars(early)
    assert whole.problems.counts == early.problems.counts
    assert len(early.problems) == 2
