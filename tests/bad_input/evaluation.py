"""Bad input of `eval`: labelled images, templates, names of classes, captions without a false sentence."""

import json
import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tests.bad_input.cases import REFUSED, case, good, picture, write

GROUP = "evaluation"


def classes(folder: Path) -> Path:
    """A folder of images per class: the smallest sound labelled data."""
    for name in ("ball/0.png", "ball/1.png", "lamp/0.png"):
        write(folder / "classes" / name, picture())
    return folder / "classes"


def classify(*more: str, data: str = "classes") -> list[str]:
    return ["eval", "MODEL", data, "--task", "classify", *more]


@case(GROUP, "samples with captions in the place of classes", REFUSED, "no folder per class here")
def _(folder: Path) -> list[str]:
    good(folder)
    return classify(data="data")


@case(GROUP, "folders of splits in the place of classes", REFUSED, "are splits, not classes")
def _(folder: Path) -> list[str]:
    (folder / "all").mkdir()
    classes(folder).rename(folder / "all" / "train")
    return classify(data="all")


@case(GROUP, "classes without an image", REFUSED, "no image in any folder")
def _(folder: Path) -> list[str]:
    for image in classes(folder).rglob("*.png"):
        image.unlink()
    return classify()


@case(GROUP, "every image of every class unreadable", REFUSED, "0 of 3 images can be used")
def _(folder: Path) -> list[str]:
    for image in classes(folder).rglob("*.png"):
        image.write_bytes(b"x")
    return classify()


@case(GROUP, "one class only", REFUSED, "at least two")
def _(folder: Path) -> list[str]:
    (classes(folder) / "lamp" / "0.png").unlink()
    (folder / "classes" / "lamp").rmdir()
    return classify()


@case(GROUP, "WordNet ids as names", REFUSED, "called by WordNet ids")
def _(folder: Path) -> list[str]:
    for name in ("n01440764", "n01443537"):
        write(folder / "classes" / name / "0.png", picture())
    return classify()


for name, content, says in (
    ("one name for two classes", '{"ball": "toy", "lamp": "Toy"}', "have one name, 'Toy'"),
    ("a class without a name", '{"ball": "toy"}', "no name for class 'lamp'"),
    ("an empty name", '{"ball": "toy", "lamp": " "}', "has an empty name"),
    ("too many names", '["a", "b", "c"]', "3 names for 2 classes"),
    ("names that are no JSON", "{", "not a file of class names"),
):

    def _with_names(content: str):
        def make(folder: Path) -> list[str]:
            write(classes(folder) / "classes.json", content)
            return classify()

        return make

    case(GROUP, name, REFUSED, says)(_with_names(content))


for name, content, says in (
    ("a template without {}", "a photo of a {}.\na photo of a dog.\n", "has no {}"),
    ("a template twice", "a {}.\na {}.\n", "the template of line 1 again"),
    ("a file without templates", "\n\n", "no template"),
):

    def _with_templates(content: str):
        def make(folder: Path) -> list[str]:
            classes(folder)
            write(folder / "mine.txt", content)
            return classify("--templates", "mine.txt")

        return make

    case(GROUP, name, REFUSED, says)(_with_templates(content))


@case(GROUP, "an unknown set of templates", REFUSED, "no such templates")
def _(folder: Path) -> list[str]:
    classes(folder)
    return classify("--templates", "imagenet")


@case(GROUP, "templates for another task", REFUSED, "nothing to do with --task retrieval")
def _(folder: Path) -> list[str]:
    good(folder)
    return ["eval", "MODEL", "data", "--templates", "many"]


class _Evil:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.folder / "pwned"),)


@case(GROUP, "a CIFAR pickle that runs a command", REFUSED, "the pickle asks for")
def _(folder: Path) -> list[str]:
    write(folder / "cifar-10-batches-py" / "test_batch", pickle.dumps({"data": _Evil(folder), "labels": [0]}))
    write(folder / "cifar-10-batches-py" / "batches.meta", pickle.dumps({"label_names": ["a", "b"]}))
    return classify(data="cifar-10-batches-py")


@case(GROUP, "a CIFAR pickle cut off", REFUSED, "not a pickle of plain data")
def _(folder: Path) -> list[str]:
    write(folder / "cifar-10-batches-py" / "test_batch", pickle.dumps({"data": b"x" * 99})[:50])
    write(folder / "cifar-10-batches-py" / "batches.meta", pickle.dumps({"label_names": ["a", "b"]}))
    return classify(data="cifar-10-batches-py")


@case(GROUP, "a table of numbers without names", REFUSED, "numbers without names")
def _(folder: Path) -> list[str]:
    (folder / "table").mkdir()
    pq.write_table(pa.table({"image": [picture()], "label": [1]}), folder / "table" / "a.parquet")
    return classify(data="table")


@case(GROUP, "one image, so that no sentence is false", REFUSED, "no other image has a sentence")
def _(folder: Path) -> list[str]:
    good(folder, 1)
    return ["eval", "MODEL", "data", "--task", "robust"]


@case(GROUP, "captions that all say the same", REFUSED, "no other image has a sentence")
def _(folder: Path) -> list[str]:
    lines = [json.dumps({"image": f"{i}.png", "caption": "A red ball."}) for i in range(3)]
    write(good(folder) / "captions.jsonl", "\n".join(lines))
    return ["eval", "MODEL", "data", "--task", "robust"]


@case(GROUP, "a second model that is not there", REFUSED, "no-such-model")
def _(folder: Path) -> list[str]:
    good(folder)
    return ["eval", "MODEL", "data", "--against", "no-such-model"]
