"""Bad input of `index` and `search`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.bad_input.cases import REFUSED, case, good, picture, write
from tests.conftest import save_small_clip

from fastgoal.captioning.pictures import open_pictures
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.search.build import index as index_pictures
from fastgoal.search.lock import LOCK


def index(*more: str, model: str = "MODEL", data: str = "data", uri: str = "index") -> list[str]:
    return ["index", model, data, "--uri", uri, *more]


def search(*more: str, uri: str = "index") -> list[str]:
    return ["search", uri, *(more or ("a red ball",))]


def indexed(folder: Path) -> Path:
    """Sound data and an index of it, by a model of its own."""
    good(folder)
    model = save_small_clip(folder / "clip", seed=1)
    index_pictures(open_pictures(folder / "data"), DualEncoder.load(model), folder / "index", progress=False)
    return folder / "index"


def spoilt(spoil: Callable[[Path], object], command: list[str]) -> Callable[[Path], list[str]]:
    """A sound index of which one thing is spoilt."""

    def make(folder: Path) -> list[str]:
        spoil(indexed(folder))
        return command

    return make


def plain(command: list[str]) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        good(folder)
        return command

    return make


def break_table(uri: Path) -> None:
    for file in (uri / "images.lance" / "_versions").iterdir():
        file.write_bytes(b"x" * 50)


def nothing(uri: Path) -> None:
    pass


def be_version_9(uri: Path) -> None:
    manifest = json.loads((uri / "index.json").read_text())
    write(uri / "index.json", json.dumps({**manifest, "schema": 9}))


for name, spoil, command, says in (
    ("an index by another model", nothing, index(), "the index was made by clip"),
    ("an index with other regions", nothing, index("--regions", "fixed", model="clip"), "made with other regions"),
    ("an index of other images", lambda uri: write(uri.parent / "more/a.png", picture()),
     index(data="more", model="clip"), "the index is of other images"),
    ("an index whose table is broken", break_table, search(), "table of images is missing or broken"),
    ("an index whose table is broken, indexed again", break_table, index(model="clip"), "table of images is missing"),
    ("an index without its table", lambda uri: shutil.rmtree(uri / "images.lance"), search(), "missing or broken"),
    ("an index of another version", be_version_9, search(), "schema version 9"),
    ("a manifest that is none", lambda uri: write(uri / "index.json", "[]"), search(), "not the manifest of an index"),
    ("a model that went away", lambda uri: shutil.rmtree(uri.parent / "clip"), search(), "no such model folder"),
    ("a search with another model", nothing, search("a ball", "--model", "MODEL"), "the index was made by clip"),
    ("an empty query", nothing, search(" "), "the query is empty"),
    ("a filter of an unknown column", nothing, search("a ball", "--filter", "size > 3"), "no condition: 'size > 3'"),
    ("a filter that is no condition", nothing, search("a ball", "--filter", "width"), "no condition: 'width'"),
    ("a picture to search by that is none", lambda uri: write(uri.parent / "a.png", b"x"), search("--image", "a.png"),
     "not an image that Pillow can open"),
    ("an id that is not in the index", nothing, search("--like", "../data/0.png"), "no image has the id"),
    ("fewer than no hits", nothing, search("a ball", "--top", "-1"), "-1 is too small"),
):  # fmt: skip
    case("search", name, REFUSED, says)(spoilt(spoil, command))

for name, command, says in (
    ("no index", search(uri="nothing"), "no index here"),
    ("a text and a picture", search("a ball", "--image", "data/0.png"), "TEXT and --image to search by"),
    ("nothing to search by", search("--top", "3"), "nothing to search by"),
    ("hits into a file of no known kind", search("a ball", "--out", "hits.pdf"), "hits.pdf cannot be written"),
    ("an index among the images", index(uri="data"), "the folder is not empty"),
    ("batches of nothing", index("--batch", "0"), "batch: 0 is too small"),
    ("a cosine beyond 1", index("--duplicates", "2"), "2.0 is no cosine"),
    ("given boxes that are not there", index("--regions", "givven"), "givven"),
    ("a detector that is not used", index("--detector", "yolos"), "have no use for a --detector"),
    ("a cluster's flag without a cluster", index("--workers", "2"), "nothing to do with --engine local"),
):
    case("search", name, REFUSED, says)(plain(command))


@case("search", "images none of which can be read, to index", REFUSED, "0 of 3 images can be read")
def _(folder: Path) -> list[str]:
    for path in good(folder).glob("*.png"):
        path.write_bytes(b"x")
    return index()


@case("search", "a folder without images, to index", REFUSED, "no image here")
def _(folder: Path) -> list[str]:
    write(folder / "data" / "notes.txt", "nothing")
    return index()


@case("search", "images in object storage, to index", REFUSED, "images are named where they lie on this machine")
def _(folder: Path) -> list[str]:
    from tests.bad_input.remote import uploaded

    return index(data=uploaded(folder, "photos-to-index"))


@case("search", "an index that is being written", REFUSED, "is writing to this index")
def _(folder: Path) -> list[str]:
    import fcntl

    good(folder)
    file = (write(folder / "index" / LOCK, "process 7 on elsewhere")).open("a+")
    fcntl.flock(file, fcntl.LOCK_EX)
    held.append(file)
    return index()


held: list[object] = []
"""Locks that last until the tests end."""
