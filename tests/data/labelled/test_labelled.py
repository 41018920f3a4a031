"""Labelled images in every shape: which classes there are, which image shows which, and the pixels as written."""

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.data.labelled import pickles

from fastgoal.data.labelled import open_labelled
from fastgoal.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def put(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pictures(source):
    return [np.asarray(source.picture(item, source.raw(item))) for item in source.items]


@pytest.fixture
def folder(tmp_path):
    for index, name in enumerate(("tree_frog/a.png", "tree_frog/deep/b.PNG", "cat/c.png", "cat/.d.png", "bare/e.txt")):
        put(tmp_path / "data" / name, png(PIXELS[index]))
    put(tmp_path / "data" / "loose.png", png(PIXELS[5]))
    put(tmp_path / "data" / ".hidden" / "x.png", png(PIXELS[5]))
    return tmp_path / "data"


def test_a_folder_per_class(folder):
    source = open_labelled(folder)
    assert source.classes == ("bare", "cat", "tree frog")
    assert [(item.id, item.label) for item in source.items] == [
        ("cat/c.png", 1), ("tree_frog/a.png", 2), ("tree_frog/deep/b.PNG", 2),
    ]  # fmt: skip
    assert [np.array_equal(a, b) for a, b in zip(pictures(source), PIXELS[[2, 0, 1]], strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("classes.json", '{"cat": "house cat", "bare": "nothing", "tree_frog": "frog, green", "more": "x"}', None),
        ("classes.json", '["nothing", "house cat", "frog, green"]', None),
        ("classes.txt", "cat house cat\nbare\tnothing\n\ntree_frog   frog, green\n", None),
        ("classes.txt", "nothing\nhouse cat\nfrog, green\n", None),
        ("names.txt", "nothing\nhouse cat\nfrog, green\n", "given"),
    ],
)
def test_readable_names(folder, name, content, expected):
    file = put(folder / name, content)
    source = open_labelled(folder, classes=file if expected else None)
    assert source.classes == ("nothing", "house cat", "frog, green")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"cat": "a", "bare": "b"}', "no name for class 'tree_frog' (1 of 3"),
        ('["a", "b"]', "2 names for 3 classes"),
        ('["a", "b", 3]', "not a file of class names"),
        ('["a", "", "c"]', "class 'cat' has an empty name"),
        ('["Frog", "b", " frog "]', "classes 'bare' and 'tree_frog' have one name, 'frog'"),
        ("{", "not a file of class names"),
        ("[" * 100_000, "not a file of class names"),
        (b"\xff", "not a file of class names"),
        ('"names"', "not a file of class names"),
    ],
)
def test_names_that_do_not_fit(folder, content, says):
    put(folder / "classes.json", content)
    with pytest.raises(DataError) as error:
        open_labelled(folder)
    assert says in str(error.value) and "classes.json" in str(error.value)


def test_folders_that_are_something_else(tmp_path, folder):
    cases = {"splits": ["train/a/b.png", "val/a/b.png"], "empty": ["a/b.txt"], "flat": ["a.png"]}
    said = ["are splits", "no image in any", "no folder per class"]
    for (name, files), says in zip(cases.items(), said, strict=True):
        for file in files:
            put(tmp_path / name / file)
        with pytest.raises(DataError, match=says):
            open_labelled(tmp_path / name)
    put(tmp_path / "net" / "n01440764" / "a.png")
    put(tmp_path / "net" / "n01443537" / "a.png")
    with pytest.raises(DataError, match="WordNet ids"):
        open_labelled(tmp_path / "net")
    put(tmp_path / "net" / "classes.txt", "n01440764 tench\nn01443537 goldfish\n")
    assert open_labelled(tmp_path / "net").classes == ("tench", "goldfish")
    for wrong in (folder / "loose.png", tmp_path / "nowhere"):
        with pytest.raises(DataError):
            open_labelled(wrong)


def test_a_limit_is_spread_over_the_classes(folder):
    for index in range(20):
        put(folder / "bare" / f"{index:02}.png", png(PIXELS[0]))
    items = open_labelled(folder, limit=4).items
    assert [item.id for item in items] == ["bare/02.png", "bare/08.png", "bare/14.png", "cat/c.png"]
    assert len(open_labelled(folder, limit=99)) == 23
    with pytest.raises(DataError, match="a limit of 0"):
        open_labelled(folder, limit=0)


def cifar(folder, hundred=False, **changes):
    """A CIFAR folder as published, of Python 2 pickles, with the first images only."""
    planes = np.stack([np.concatenate([image[..., channel].ravel() for channel in range(3)]) for image in PIXELS])
    names = [b"apple", b"aquarium_fish", b"bear"] if hundred else [b"airplane", b"automobile", b"bird"]
    labels = pickles.items([bytes([75, i % 3]) for i in range(6)])
    coarse = {"coarse_labels": pickles.items([b"K\x00"] * 6)} if hundred else {}
    fields = {"data": pickles.array(planes), "fine_labels" if hundred else "labels": labels, **coarse} | changes
    meta = {"fine_label_names" if hundred else "label_names": pickles.items([pickles.text(name) for name in names])}
    place = folder / ("cifar-100-python" if hundred else "cifar-10-batches-py")
    put(place / ("test" if hundred else "test_batch"), pickles.record(**fields))
    put(place / ("meta" if hundred else "batches.meta"), pickles.record(**meta))
    return place


@pytest.mark.parametrize("hundred", [False, True])
def test_cifar_as_published(tmp_path, hundred):
    place = cifar(tmp_path, hundred)
    for data in (place, tmp_path):
        source = open_labelled(data)
        assert source.classes[1] == ("aquarium fish" if hundred else "automobile")
        assert [item.label for item in source.items] == [0, 1, 2, 0, 1, 2]
        assert all(np.array_equal(a, b) for a, b in zip(pictures(source), PIXELS, strict=True))
    put(place / "classes.txt", "one\ntwo\nthree")
    assert open_labelled(place).classes == ("one", "two", "three")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": pickles.items([b"K\x00"] * 5)}, "one label each"),
        ({"labels": pickles.items([b"K\x07"] * 6)}, "beyond the 3 classes"),
        ({"labels": b"N"}, "one label each"),
        ({"data": pickles.text(b"x")}, "one label each"),
        ({"data": pickles.array(PIXELS[:, 0])}, "one label each"),
    ],
)
def test_cifar_that_does_not_fit_together(tmp_path, changes, says):
    with pytest.raises(DataError, match=says):
        open_labelled(cifar(tmp_path, **changes))


def test_cifar_names_that_are_none(tmp_path):
    place = cifar(tmp_path)
    put(place / "batches.meta", pickle.dumps({"label_names": 3}))
    with pytest.raises(DataError, match="no label_names"):
        open_labelled(place)


def as_datasets_does(names, column="label"):
    kind = {column: {"names": names, "_type": "ClassLabel"}, "img": {"_type": "Image"}}
    return {"huggingface": json.dumps({"info": {"features": kind}})}


@pytest.mark.parametrize("column", ["label", "fine_label"])
def test_a_table_with_images_and_named_numbers(tmp_path, column):
    images = [{"bytes": png(pixels), "path": None} for pixels in PIXELS]
    data = pa.table({"img": images, column: [0, 1, 1, -1, 0, 9]})
    names = as_datasets_does(["dog", "cat_fish"], column)
    pq.write_table(data.replace_schema_metadata(names), tmp_path / "a.parquet", row_group_size=2)
    for path in (tmp_path, tmp_path / "a.parquet"):
        source = open_labelled(path)
        assert source.classes == ("dog", "cat fish")
        assert [item.label for item in source.items] == [0, 1, 1, 0]
        assert all(np.array_equal(a, b) for a, b in zip(pictures(source), PIXELS[[0, 1, 2, 4]], strict=True))
        assert source.problems.counts == {"label -1 is no class": 1, "label 9 is no class": 1}
        assert "row 3" in str(source.problems.first[0].where)


def test_a_table_with_paths_and_texts(tmp_path):
    put(tmp_path / "images" / "a.png", png(PIXELS[0]))
    images = ["images/a.png", "images/a.png", "images/a.png", "/elsewhere/a.png", None]
    table = pa.table({"image": images, "label": ["dog", "cat", None, "dog", "cat"]})
    pq.write_table(table, tmp_path / "a.parquet")
    source = open_labelled(tmp_path)
    assert (source.classes, [item.label for item in source.items]) == (("cat", "dog"), [1, 0])
    assert np.array_equal(pictures(source)[0], PIXELS[0])
    said = ["label None is no class", "image '/elsewhere/a.png' is not a relative path", "no image"]
    assert list(source.problems.counts) == said


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"image": ["a.png"], "label": [1]}, "numbers without names"),
        ({"image": ["a.png"], "label": [-1]}, "no row has a label"),
        ({"image": ["a.png"], "label": [10**9]}, "labels from"),
        ({"image": ["a.png"], "kind": ["dog"]}, "no column of labels"),
        ({"picture_no": ["a.png"], "label": ["dog"]}, "no column is plainly the image"),
    ],
)
def test_tables_that_do_not_do(tmp_path, columns, says):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=says):
        open_labelled(tmp_path)


def test_numbers_are_named_by_a_file(tmp_path):
    pq.write_table(pa.table({"image": ["a.png"] * 3, "label": [2, 0, 2]}), tmp_path / "a.parquet")
    source = open_labelled(tmp_path, classes=put(tmp_path / "names.txt", "dog\ncat\nhen"))
    assert (source.classes, [item.label for item in source.items]) == (("dog", "cat", "hen"), [2, 0, 2])


def test_a_table_that_is_none(tmp_path):
    put(tmp_path / "a.parquet", b"x")
    with pytest.raises(DataError, match="the table cannot be read"):
        open_labelled(tmp_path)
