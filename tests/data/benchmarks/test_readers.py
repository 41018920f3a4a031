"""Every reader on a copy written by hand from the published layout, and on copies with something wrong."""

import json

import pytest
from tests.data.benchmarks import copies

from fastgoal.data.benchmarks import BENCHMARKS
from fastgoal.data.columns import Columns
from fastgoal.data.source import open_source
from fastgoal.errors import DataError

WHOLE = {
    "docci": [
        ("test_00000", "images/test_00000.jpg", "A stone wall. Moss grows on it."),
        ("qual_test_00000", "images/qual_test_00000.jpg", "A metal daisy."),
        ("test_00001", "images/test_00001.jpg", "A cat sits\u2028on a mat."),
    ],
    "docci/train": [("train_00000", "images/train_00000.jpg", "A red door.")],
    "docci/qual_dev": [("qual_dev_00000", "images/qual_dev_00000.jpg", "A dev photo.")],
    "dci": [("sa_12", "densely_captioned_images/photos/sa_12.jpg", "A fountain, as listed.")],
    "dci/train": [
        ("sa_11", "densely_captioned_images/photos/sa_11.jpg", "Two escalators."),
        ("sa_14", "densely_captioned_images/photos/sa_14.jpg", "A tower."),
    ],
    "long-dci": [
        ("sa_11", "densely_captioned_images/photos/sa_11.jpg", "Two escalators."),
        ("sa_12", "densely_captioned_images/photos/sa_12.jpg", "A fountain."),
        ("sa_14", "densely_captioned_images/photos/sa_14.jpg", "A tower."),
    ],
    "urban1k": [(str(i), f"Urban1k/image/{i}.jpg", f"Street {i} at dusk.") for i in (1, 2, 10)],
    "flickr30k": [("8" + f"#{i + 1}" * (i > 0), "flickr30k-images/8.jpg", f"a child {i}.") for i in range(5)],
    "glit100k": [("images/sa_1.jpg", "images/sa_1.jpg", "A long caption.")],
}


def copy_of(name, root):
    own = name.partition("/")[0]
    return getattr(copies, "dci" if own == "long-dci" else own)(root)


def read(name, root):
    source = open_source(name, root=root)
    return source, [(sample.id, sample.image, sample.caption) for sample in source]


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_copy(name, tmp_path):
    root = copy_of(name, tmp_path)
    source, samples = read(name, root)
    assert samples == WHOLE[name]
    assert not source.problems
    assert source.name == (name if "/" in name else f"{name}/{BENCHMARKS[name].splits[0]}")
    assert read(name, root)[1] == samples  # as often as asked
    assert all(source.images.size(image) > 0 for _, image, _ in samples)


def test_coco_has_the_first_five_captions_of_each_image_and_restval_trains(tmp_path):
    copies.coco(tmp_path)
    _, samples = read("coco", tmp_path)
    dog, bike = "val2014/COCO_val2014_000000000042.jpg", "val2014/COCO_val2014_000000000073.jpg"
    assert [image for _, image, _ in samples] == [dog] * 5 + [bike] * 5
    assert [own for own, *_ in samples][:6] == ["42", "42#2", "42#3", "42#4", "42#5", "73"]
    assert [caption for *_, caption in samples][:5] == [f"a dog {i}." for i in range(5)]
    assert {image.partition("/")[0] for _, image, _ in read("coco/train", tmp_path)[1]} == {"train2014", "val2014"}


def test_sharegpt4v_tests_on_the_first_thousand(tmp_path):
    copies.sharegpt4v(tmp_path)
    _, test = read("sharegpt4v", tmp_path)
    _, train = read("sharegpt4v/train", tmp_path)
    assert (len(test), len(train)) == (1000, 3)
    assert test[999] == ("sam/images/sa_999.jpg", "sam/images/sa_999.jpg", "Item 999 here.")
    assert train[0][2] == "Item 1000 here."


def test_a_root_one_level_in_is_taken_too(tmp_path):
    copies.urban1k(tmp_path)
    copies.dci(tmp_path)
    assert read("urban1k", tmp_path / "Urban1k")[1][0][1] == "image/1.jpg"
    (tmp_path / "DCI_test.json").rename(tmp_path / "densely_captioned_images" / "DCI_test.json")
    assert read("dci", tmp_path / "densely_captioned_images")[1][0][1] == "photos/sa_12.jpg"


def test_goals_lists_find_images_by_name_and_leave_crops_out(tmp_path):
    copies.dci(tmp_path)
    crop = {"filename": "../segments/sa_11.jpg_results/sa_11_max_1.png", "caption": "A.", "similarity_score": 25.2}
    record = {"filename": "../DCI/x/photos/sa_11.jpg", "caption": "Two."}
    copies.text(tmp_path / "DCI_test_joint_sim_max_11.json", [record, crop])
    source = open_source(tmp_path / "DCI_test_joint_sim_max_11.json", root=tmp_path / "densely_captioned_images")
    assert [(sample.image, sample.caption) for sample in source] == [("photos/sa_11.jpg", "Two.")]
    assert dict(source.problems.counts) == {"a crop, which is no image of the data set": 1}


@pytest.mark.parametrize(
    ("name", "file", "kept"),
    [
        ("docci", "images/test_00001.jpg", 2),
        ("long-dci", "densely_captioned_images/photos/sa_14.jpg", 2),
        ("urban1k", "Urban1k/image/2.jpg", 2),
        ("coco", "val2014/COCO_val2014_000000000042.jpg", 5),
    ],
)
def test_one_missing_image_is_counted_and_named(name, file, kept, tmp_path):
    copy_of(name, tmp_path)
    (tmp_path / file).unlink()
    source, samples = read(name, tmp_path)
    assert len(samples) == len(source) == kept
    assert dict(source.problems.counts) == {"an image of the benchmark is missing": 1}
    assert source.problems.first[0].where == str(tmp_path / file)


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("docci", "docci_descriptions.jsonlines", "docci_descriptions.jsonlines"),
        ("dci", "DCI_test.json", r"DCI_test.json: this belongs.*GOAL's repository"),
        ("dci/train", "densely_captioned_images/annotations", "annotations"),
        ("urban1k", "Urban1k/caption", "caption: this belongs to the benchmark"),
        ("coco", "val2014", "val2014"),
        ("flickr30k", "dataset_flickr30k.json", "dataset_flickr30k.json"),
        ("glit100k", "glit100k.json", "no layout"),
    ],
)
def test_a_renamed_file_or_folder_is_refused_by_name(name, file, expected, tmp_path):
    copy_of(name, tmp_path)
    (tmp_path / file).rename((tmp_path / file).with_name("renamed"))
    with pytest.raises(DataError, match=expected):
        open_source(name, root=tmp_path)


def test_missing_and_repeated_captions(tmp_path):
    copies.docci(tmp_path)
    file = tmp_path / "docci_descriptions.jsonlines"
    lines = file.read_text(encoding="utf-8").split("\n")
    record = json.loads(lines[1])
    file.write_text("\n".join([*lines[:2], lines[1], json.dumps({**record, "description": " "}), '{"split": "tset"}']))
    source, samples = read("docci", tmp_path)
    assert [own for own, *_ in samples] == ["test_00000"]
    assert [error.what for error in source.problems.first] == [
        f"id 'test_00000' is used a second time (first: {file}:2)",
        "caption is empty",
        "split is 'tset'",
    ]


def test_urban1k_names_what_stands_alone_and_ignores_other_files(tmp_path):
    copies.urban1k(tmp_path)
    (tmp_path / "Urban1k" / "caption" / "1.txt").unlink()
    copies.text(tmp_path / "Urban1k" / "caption" / "2.txt", "\nsecond line only")
    copies.text(tmp_path / "Urban1k" / "image" / "README.md", "notes")
    source, samples = read("urban1k", tmp_path)
    assert [own for own, *_ in samples] == ["10"]
    assert dict(source.problems.counts) == {"caption is empty": 1, "an image without a caption": 1}


def test_an_image_with_four_captions_is_left_out(tmp_path):
    copies.flickr30k(tmp_path)
    file = tmp_path / "dataset_flickr30k.json"
    whole = json.loads(file.read_text())
    short = {**whole["images"][1], "filename": "7.jpg", "sentences": copies.sentences("x", 4)}
    copies.text(file, {**whole, "images": [*whole["images"], short, {"filename": "7.jpg"}]})
    source, samples = read("flickr30k", tmp_path)
    assert len(samples) == 5
    assert dict(source.problems.counts) == {
        "4 captions where 5 belong to an image": 1,
        "a record without a split": 1,
    }


def test_two_annotations_of_one_photo_and_one_that_is_none(tmp_path):
    copies.dci(tmp_path)
    folder = tmp_path / "densely_captioned_images" / "annotations"
    (folder / "99-data.json").write_bytes((folder / "8-data.json").read_bytes())
    copies.text(folder / "100-data.json", '{"image": "sa_1.jpg"')
    source, samples = read("long-dci", tmp_path)
    assert [own for own, *_ in samples] == ["sa_11", "sa_12", "sa_14"]
    assert [error.what[:20] for error in source.problems.first] == ["id 'sa_11' is used a", "not an annotation of"]


@pytest.mark.parametrize(
    ("name", "file", "image"),
    [
        ("coco", "dataset_coco.json", '"COCO_val2014_000000000042.jpg"'),
        ("sharegpt4v", "share-captioner_coco_lcs_sam_1246k_1107.json", '"sam/images/sa_0.jpg"'),
        ("long-dci", "densely_captioned_images/annotations/8-data.json", '"sa_11.jpg"'),
    ],
)
def test_an_absolute_path_in_a_published_list_is_one_problem(name, file, image, tmp_path):
    copy_of(name, tmp_path)
    whole = len(read(name, tmp_path)[1])
    content = (tmp_path / file).read_text()
    assert image in content
    (tmp_path / file).write_text(content.replace(image, '"/etc/x.jpg"'))
    source, samples = read(name, tmp_path)
    assert len(samples) < whole
    assert dict(source.problems.counts) == {"an image of the benchmark is missing": 1}


def test_broken_json_is_named(tmp_path):
    copies.coco(tmp_path)
    file = tmp_path / "dataset_coco.json"
    whole = file.read_text()
    deep = '{"images": ' + "[" * 100_000
    for content, said in (
        (whole[:-40], "not JSON"),
        ("[]", "not an object with a list 'images'"),
        (deep, "JSON nested too deeply"),
    ):
        file.write_text(content)
        with pytest.raises(DataError, match=rf"dataset_coco.json: {said}"):
            list(open_source("coco", root=tmp_path, probe=False))


def test_long_arrays_are_read_across_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("fastgoal.data.benchmarks.common._CHUNK", 7)
    copies.dci(tmp_path)
    listed = [{"filename": f"a/sa_{i}.jpg", "caption": f'Say "{i}", [née]. ' * i} for i in (11, 12, 13)]
    copies.text(tmp_path / "DCI_test.json", json.dumps(listed, indent=3, ensure_ascii=False))
    assert [caption for *_, caption in read("dci", tmp_path)[1]] == [record["caption"] for record in listed]


def test_a_name_or_a_folder(tmp_path, monkeypatch):
    root = copies.docci(tmp_path / "docci")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no usable sample"):
        open_source("docci")  # the folder, which is none of the general shapes
    assert open_source("docci", root="docci").name == "docci/test"  # nobody names a folder as its own root
    with pytest.raises(DataError, match=r"both a benchmark's name and a folder.*Write .*docci for the folder"):
        open_source("docci", root=tmp_path)
    monkeypatch.chdir(root)
    assert open_source("docci", root=".").name == "docci/test"
    with pytest.raises(DataError, match="a benchmark's name without a folder"):
        open_source("docci/train")
    with pytest.raises(DataError, match=r"docci has no split 'tests'. There are: docci/test, docci/train"):
        open_source("docci/tests", root=root)
    with pytest.raises(DataError, match="Did you mean the benchmark 'docci'"):
        open_source("doci", root=root)
    with pytest.raises(DataError, match="columns are known"):
        open_source("docci", root=root, columns=Columns(caption="description"))
    with pytest.raises(DataError, match="no such folder"):
        open_source("docci", root=root / "x")


def test_a_limit_takes_the_first(tmp_path):
    copies.docci(tmp_path)
    assert len(open_source("docci", root=tmp_path, limit=2)) == 2
