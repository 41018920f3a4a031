"""Bad local copies of benchmarks, and benchmarks' names that mean nothing or two things."""

import json
from pathlib import Path

from tests.bad_input.cases import LEFT_OUT, REFUSED, case, match, picture, write

GROUP = "benchmarks"
URBAN = ("urban1k", "--root", "copy")


def urban(folder: Path) -> Path:
    for number in (1, 2, 3):
        write(folder / "copy" / "Urban1k" / "image" / f"{number}.jpg", picture(kind="JPEG"))
        write(folder / "copy" / "Urban1k" / "caption" / f"{number}.txt", f"A street with {number} cars. A lamp is lit.")
    return folder / "copy" / "Urban1k"


@case(GROUP, "a benchmark's name without --root", REFUSED, "a benchmark's name without a folder")
def no_root(folder: Path) -> list[str]:
    return match("docci")


@case(GROUP, "--root is not there", REFUSED, "no such folder")
def no_folder(folder: Path) -> list[str]:
    return match(*URBAN)


@case(GROUP, "a split that the benchmark does not have", REFUSED, "urban1k has no split 'train'")
def no_split(folder: Path) -> list[str]:
    urban(folder)
    return match("urban1k/train", "--root", "copy")


@case(GROUP, "a misspelt benchmark", REFUSED, "Did you mean the benchmark 'urban1k'")
def misspelt(folder: Path) -> list[str]:
    urban(folder)
    return match("urban1000", "--root", "copy")


@case(GROUP, "a folder here has the benchmark's name", REFUSED, "both a benchmark's name and a folder here")
def ambiguous(folder: Path) -> list[str]:
    urban(folder)
    (folder / "urban1k").mkdir()
    return match(*URBAN)


@case(GROUP, "a folder of the copy is renamed", REFUSED, "this belongs to the benchmark and is not here")
def renamed(folder: Path) -> list[str]:
    urban(folder)
    (folder / "copy" / "Urban1k" / "image").rename(folder / "copy" / "Urban1k" / "images")
    return match(*URBAN)


@case(GROUP, "the columns of a benchmark named", REFUSED, "a benchmark's columns are known")
def columns(folder: Path) -> list[str]:
    urban(folder)
    return match(*URBAN, "--caption-column", "caption")


@case(GROUP, "an image is missing", LEFT_OUT, "an image of the benchmark is missing")
def image_missing(folder: Path) -> list[str]:
    (urban(folder) / "image" / "2.jpg").unlink()
    return match(*URBAN)


@case(GROUP, "a caption is missing", LEFT_OUT, "an image without a caption")
def caption_missing(folder: Path) -> list[str]:
    (urban(folder) / "caption" / "2.txt").unlink()
    return match(*URBAN)


@case(GROUP, "fewer items than the protocol's", REFUSED, "1,000 items expected, but the data has 3")
def too_few(folder: Path) -> list[str]:
    urban(folder)
    return ["eval", "MODEL", *URBAN]


@case(GROUP, "joint evaluation of a benchmark's name", REFUSED, "joint evaluation takes a pairs table")
def joint(folder: Path) -> list[str]:
    urban(folder)
    return ["eval", "MODEL", *URBAN, "--task", "joint"]


@case(GROUP, "DCI without GOAL's list", REFUSED, "from the folder datasets/ of GOAL's repository")
def no_list(folder: Path) -> list[str]:
    write(folder / "copy" / "photos" / "sa_1.jpg", picture(kind="JPEG"))
    return match("dci", "--root", "copy")


@case(GROUP, "a published list that is cut off", REFUSED, "not JSON")
def cut_off(folder: Path) -> list[str]:
    write(folder / "copy" / "photos" / "sa_1.jpg", picture(kind="JPEG"))
    write(folder / "copy" / "DCI_test.json", json.dumps([{"filename": "sa_1.jpg", "caption": "A. B."}])[:-1])
    return match("dci", "--root", "copy")


@case(GROUP, "one of GOAL's lists of crops", REFUSED, "a crop, which is no image of the data set")
def crops(folder: Path) -> list[str]:
    write(folder / "list.json", json.dumps([{"filename": "a_results/b.png", "caption": "A.", "similarity_score": 2}]))
    return match("list.json")
