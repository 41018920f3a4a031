"""The pass: what it writes is data for every other command, and it goes on where it was stopped."""

import json
from dataclasses import replace

import pytest
from tests.captioning.conftest import draw

from fastgoal.captioning import CaptionSettings, caption, open_pictures
from fastgoal.captioning.captioner import Answer
from fastgoal.captioning.cleaning import clean_caption
from fastgoal.data.images import read_image
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError, DataError

SHORT = CaptionSettings(max_new_tokens=6, batch=2)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(folder, captioner, out, settings=SHORT, limit=None):
    return caption(open_pictures(folder, limit=limit), captioner, out, settings, progress=False)


class Told:
    """A captioner that is told what to answer, by the size of the image."""

    def __init__(self, captioner, answers):
        self._captioner, self._answers = captioner, answers

    def __getattr__(self, name):
        return getattr(self._captioner, name)

    def ask(self, images, prompt, **_):
        return [self._answers.get(image.height, Answer(text="A ball.", full=False)) for image in images]


def test_captions_are_data(captioner, tmp_path):
    folder = draw(tmp_path / "photos")
    (folder / "bad.jpg").write_bytes(b"x")
    report = write(folder, captioner, tmp_path / "made" / "out")
    source = open_source(tmp_path / "made" / "out")
    names = ["0.png", "2.png", "4.png", "below/1.png", "below/3.png"]
    assert [sample.id for sample in source] == names
    for name, sample in zip(names, source, strict=True):
        image = read_image(folder / name)
        assert read_image(source.images.open(sample.image)) == image
        answer = captioner.ask([image], report.prompt, max_new_tokens=6)[0]
        assert sample.caption == clean_caption(answer.text, full=answer.full).text
    assert (report.images, report.captioned, report.unfinished) == (6, 5, 5)
    assert report.left_out == {"not an image that Pillow can open": 1}
    assert report.left_out_images[0]["where"] == "../../photos/bad.jpg"
    assert report.words_mean == sum(len(sample.caption.split()) for sample in source) / 5
    assert json.loads((tmp_path / "made" / "out" / "caption.json").read_text())["report"] == report.to_json()


def test_what_the_captioner_says_is_cleaned_and_counted(captioner, tmp_path):
    told = {
        30: Answer(text="A red  ball. It lies on", full=True),
        48: Answer(text=" \n", full=False),
        66: Answer(text="A red ball and", full=True),
    }
    report = write(draw(tmp_path / "photos"), Told(captioner, told), tmp_path / "out")
    assert (report.captioned, report.dropped_sentences, report.unfinished) == (4, 1, 1)
    assert report.left_out == {"the captioner wrote nothing about it": 1}
    first, second = lines(tmp_path / "out" / "captions.jsonl")[:2]
    assert (first["caption"], first["dropped"]) == ("A red ball.", "It lies on")
    assert (second["caption"], second["unfinished"]) == ("A red ball and", True)


def test_ids_and_boxes_of_the_data_stay_and_spans_go(captioner, tmp_path):
    folder = draw(tmp_path / "photos")
    region = {"box": [1, 2, 3, 4], "span": [0, 3]}
    record = {"id": "x", "image": "2.png", "caption": "old", "regions": [region, region | {"label": "ball"}]}
    (folder / "captions.jsonl").write_text(json.dumps(record) + "\n")
    write(folder, captioner, tmp_path / "out")
    (sample,) = open_source(tmp_path / "out")
    assert sample.id == "x"
    assert sample.caption != "old"
    assert [(r.box, r.span, r.label) for r in sample.regions] == [
        ((1, 2, 3, 4), None, None),
        ((1, 2, 3, 4), None, "ball"),
    ]


def test_a_trial_on_a_few_images_is_continued_and_a_finished_run_is_left_alone(captioner, tmp_path):
    folder = draw(tmp_path / "photos")
    write(folder, captioner, tmp_path / "straight")
    for limit in (3, None):
        report = write(folder, captioner, tmp_path / "out", limit=limit)
    table = (tmp_path / "out" / "captions.jsonl").read_bytes()
    assert table == (tmp_path / "straight" / "captions.jsonl").read_bytes()
    assert report.images == 5
    assert write(folder, Told(captioner, {}), tmp_path / "out", replace(SHORT, batch=3)) == report
    assert (tmp_path / "out" / "captions.jsonl").read_bytes() == table


def test_drawn_captions_are_the_same_again(captioner, tmp_path):
    drawing = replace(SHORT, temperature=1.0)
    folder = draw(tmp_path / "photos")
    tables = []
    for name, settings in (("a", drawing), ("b", drawing), ("c", replace(drawing, seed=1))):
        write(folder, captioner, tmp_path / name, settings)
        tables.append((tmp_path / name / "captions.jsonl").read_text())
    assert tables[0] == tables[1] != tables[2]


def test_what_another_run_wrote_is_not_mixed_in(captioner, tmp_path):
    folder, out = draw(tmp_path / "photos"), tmp_path / "out"
    write(folder, captioner, out)
    before = (out / "captions.jsonl").read_bytes()
    for changed, says in (
        (replace(SHORT, prompt="Who?"), r"prompt was 'Describe .* \.\.\., now 'Who\?'"),
        (replace(SHORT, max_new_tokens=7), "max_new_tokens was 6, now 7"),
        (replace(SHORT, temperature=0.5), "temperature was 0.0, now 0.5; seed was None, now 0"),
    ):
        with pytest.raises(DataError, match=says):
            write(folder, captioner, out, changed)
    draw(tmp_path / "others").joinpath("0.png").rename(tmp_path / "others" / "1.png")
    with pytest.raises(DataError, match=r"images are others than before: .* goes on with \.\./photos/0\.png"):
        write(tmp_path / "others", captioner, out)
    assert (out / "captions.jsonl").read_bytes() == before
    assert write(folder, captioner, out, replace(SHORT, prompt="Who?", overwrite=True)).prompt == "Who?"


def test_places_that_captions_do_not_go_to(captioner, tmp_path):
    folder = draw(tmp_path / "photos")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("precious")
    for out, says in ((folder, "would lie among the images"), (tmp_path / "full", "it holds thesis.doc")):
        with pytest.raises(DataError, match=says):
            write(folder, captioner, out, replace(SHORT, overwrite=True))
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.doc"]


def test_no_image_can_be_captioned(captioner, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"0 of 1 images could be captioned \(first: \.\./photos/a\.png: .* empty"):
        write(tmp_path / "photos", captioner, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "value"), [("max_new_tokens", 0), ("batch", 0), ("temperature", -1.0), ("temperature", float("nan"))]
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ConfigError):
        CaptionSettings(**{name: value})
