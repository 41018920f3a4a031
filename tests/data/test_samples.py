"""Records of the data contract: what is taken from them, and what is said about broken ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from fastgoal.data.columns import Columns
from fastgoal.data.samples import GivenRegion, Sample, parse_sample, relative_path
from fastgoal.errors import DataError


def record(**changes: Any) -> dict[str, Any]:
    return {"image": "a.jpg", "caption": "A dog.", **changes}


def test_a_record_is_read_to_the_character() -> None:
    caption = " Ein\u2028Hund\r\n👩‍👩‍👧 e\u0301\x00. "
    regions = [{"box": [1, 2.5, 3, 4], "span": [1, 4], "label": "dog"}, {"box": [0, 0, 1, 1]}]
    sample = parse_sample(record(id=7, caption=caption, regions=regions, more=1), "here:1")
    boxes = (
        GivenRegion(box=(1.0, 2.5, 3.0, 4.0), span=(1, 4), label="dog"),
        GivenRegion(box=(0.0, 0.0, 1.0, 1.0)),
    )
    assert sample == Sample(id="7", image="a.jpg", caption=caption, regions=boxes)
    assert sample.where == "here:1"


@pytest.mark.parametrize(
    ("given", "plain"),
    [("a.jpg", "a.jpg"), ("./b//a.jpg", "b/a.jpg"), ("b\\a.jpg", "b/a.jpg"), ("../c/a.jpg", "../c/a.jpg")],
)
def test_a_path_has_one_spelling(given: str, plain: str) -> None:
    assert relative_path(given, "here", None) == plain


def test_an_absolute_path_under_the_root_becomes_relative(tmp_path: Path) -> None:
    assert relative_path(str(tmp_path / "b" / "a.jpg"), "here", tmp_path) == "b/a.jpg"
    with pytest.raises(DataError, match="not a relative path"):
        relative_path("/elsewhere/a.jpg", "here", tmp_path)


@pytest.mark.parametrize(("given", "plain"), [("x", "x"), (3, "3"), (3.0, "3"), (float("nan"), ""), (None, "")])
def test_ids_are_texts_or_whole_numbers(given: object, plain: str) -> None:
    assert parse_sample(record(id=given), "here").id == plain


BAD = {
    "not a JSON object": ["a.jpg", "A dog."],
    "caption is missing. This record has: image, text": {"image": "a.jpg", "text": "A dog."},
    "caption is not a text": record(caption=["A dog."]),
    "caption is empty": record(caption=" \n"),
    "caption is not valid Unicode": record(caption="A \ud800 dog."),
    "image is missing": {"caption": "A dog."},
    "image '/data/a.jpg' is not a relative path": record(image="/data/a.jpg"),
    "image 'C:.*' is not a relative path": record(image="C:\\data\\a.jpg"),
    "image 'https://.*' is not a relative path": record(image="https://example.org/a.jpg"),
    "id is neither": record(id=1.5),
    "id is neither text": record(id=True),
    "regions is not a list": record(regions={"box": [0, 0, 1, 1]}),
    r"regions\[0\]: box is not four numbers": record(regions=[{"box": [0, 0, 1]}]),
    "box is not four numbers.*pixels": record(regions=[{"box": [0, 0, 1, float("nan")]}]),
    r"box \[5, 0, 3, 4\] has no area.*not width": record(regions=[{"box": [5, 0, 3, 4]}]),
    "span is not two whole numbers": record(regions=[{"box": [0, 0, 1, 1], "span": [0.0, 2.0]}]),
    r"span \[0, 7\] is outside the caption of 6": record(regions=[{"box": [0, 0, 1, 1], "span": [0, 7]}]),
    "label is not a text": record(regions=[{"box": [0, 0, 1, 1], "label": 3}]),
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_record_is_refused_with_its_place_and_the_mend(message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse_sample(BAD[message], "here:2")
    assert str(caught.value).startswith("here:2")
    assert caught.value.mend


def test_the_contracts_names_win_and_the_usual_ones_are_known() -> None:
    found = Columns().among(["Text", "file_name", "uid"], "here")
    assert found == Columns(image="file_name", caption="Text", id="uid")
    found = Columns().among(["caption", "text", "image", "path"], "here")
    assert found == Columns(image="image", caption="caption", id=None)
    assert Columns(caption="text").among(["caption", "text", "image"], "here").caption == "text"


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        (Columns(), ["image", "body"], "no column is plainly the caption.*--caption-column.*'image', 'body'"),
        (
            Columns(),
            ["description", "text", "image"],
            "'description' and 'text' could be the caption.*--caption-column",
        ),
        (Columns(image="photos"), ["image", "caption"], "there is no column 'photos'.*--image-column"),
        (Columns(), [], "no column is plainly the image.*none"),
    ],
)
def test_an_unclear_choice_is_asked_for_by_name(columns: Columns, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        columns.among(names, "here")


def test_json_round_trip_of_a_record() -> None:
    assert parse_sample(json.loads(json.dumps(record(id="ü"))), "here").id == "ü"
