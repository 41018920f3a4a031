import json

import pytest

from fastgoal.checking import CheckSettings, audit, tell
from fastgoal.data.source import open_source

QUIET = CheckSettings(progress=False)


def judge(folder, text_model, settings=QUIET):
    return tell(audit(open_source(folder, probe=False), text_model, settings))


def write(folder, records):
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, records)))


def test_the_messy_folder_in_words(messy, text_model):
    verdict = judge(messy, text_model)
    assert verdict.ready
    assert verdict.reason.startswith("Training can start: 17 usable samples of 31 records.")
    lines = verdict.text.splitlines()
    assert lines[0] == "messy: JSON lines (captions.jsonl)"
    assert "  samples   24 of 31 records; 23 images with 1 to 2 captions (median 1)" in lines
    sizes = "smallest 50 x 40, median 96 x 72, largest 320 x 240 pixels"
    assert f"  images    16 of 23 opened can be used; {sizes}" in lines
    order = [verdict.text.index(heading) for heading in ("Left out of training:", "Mended by --fix:", "Worth a look:")]
    assert order == sorted(order)
    assert verdict.text.endswith(verdict.reason)


def test_of_many_troubles_three_are_named(tmp_path, text_model, truth):
    for name in "abcdef":
        (tmp_path / f"{name}.jpg").write_bytes(truth.jpeg(truth.photo(ord(name))) if name in "af" else b"")
    write(tmp_path, [{"image": f"{name}.jpg", "caption": f"The letter {name}."} for name in "abcdef"])
    text = judge(tmp_path, text_model).text
    assert "  4 x the image file is empty" in text
    assert text.count("captions.jsonl:") == 3
    assert "and 1 more" in text
    assert text.count("-> Copy it again") == 1


def test_clean_data_is_short_and_german_data_is_told(tmp_path, text_model, truth):
    for seed in range(25):
        (tmp_path / f"{seed}.jpg").write_bytes(truth.jpeg(truth.photo(seed)))
    write(tmp_path, [{"image": f"{i}.jpg", "caption": f"The photo {i} is of a garden."} for i in range(25)])
    verdict = judge(tmp_path, text_model)
    assert len(verdict.text.splitlines()) == 9
    assert verdict.reason == "Training can start: 25 usable samples of 25 records."
    assert "25 of 25 opened can be used; all 96 x 72 pixels" in verdict.text
    write(tmp_path, [{"image": f"{i}.jpg", "caption": f"Der Hund {i} ist auf der Wiese."} for i in range(25)])
    text = judge(tmp_path, text_model).text
    assert "know English only; the captions seem to be German" in text
    assert "try --language de" in text


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "there is nothing here"),
        ([{"image": "a.jpg", "caption": "A dog."}], "1 usable sample; it takes two"),
        ([{"image": "gone.jpg", "caption": "A dog."}] * 3, "none of the 1 images"),
        ([{"image": "a.jpg", "caption": ""}], "0 usable samples; it takes two"),
    ],
)
def test_training_that_could_not_start(tmp_path, text_model, truth, records, reason):
    (tmp_path / "a.jpg").write_bytes(truth.jpeg(truth.photo(0)))
    write(tmp_path, records)
    verdict = judge(tmp_path, text_model)
    assert not verdict.ready
    assert reason in verdict.reason


def test_what_was_not_looked_at_is_said(messy, text_model):
    text = judge(messy, text_model, CheckSettings(images=4, progress=False)).reason
    assert "19 images were not opened" in text
    assert "not opened" in judge(messy, text_model, CheckSettings(images=0, progress=False)).text
