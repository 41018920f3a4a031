"""Bad input for `fastgoal explain`: nothing or too much to explain, captions and images that cannot be read."""

from pathlib import Path

from tests.bad_input.cases import REFUSED, case, good, picture, write


def explain(*more: str, out: str = "out.html") -> list[str]:
    return ["explain", "MODEL", *more, "--out", out]


@case("explain", "neither an image nor data", REFUSED, "not clear what to explain")
def _(folder: Path) -> list[str]:
    return explain()


@case("explain", "an image without a caption", REFUSED, "not clear what to explain")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("data/0.png")


@case("explain", "an image and data", REFUSED, "not clear what to explain")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("data/0.png", "A ball.", "--data", "data")


@case("explain", "a choice of samples without data", REFUSED, "nothing to choose from")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("data/0.png", "A ball.", "--worst", "3")


@case("explain", "samples chosen in two ways", REFUSED, "samples are chosen twice")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("--data", "data", "--ids", "0.png", "--limit", "2")


@case("explain", "no samples", REFUSED, "no sample is chosen")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("--data", "data", "--worst", "0")


@case("explain", "no ids", REFUSED, "no sample is chosen")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("--data", "data", "--ids", " , ")


@case("explain", "an id that is not there", REFUSED, "no sample is called 'gone'")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("--data", "data", "--ids", "gone")


@case("explain", "several samples in one picture", REFUSED, "2 samples in one picture")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("--data", "data", "--limit", "2", out="out.png")


@case("explain", "an empty caption", REFUSED, "the caption is empty")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("data/0.png", " ")


@case("explain", "a caption's file that is not there", REFUSED, "the caption cannot be read")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("data/0.png", "@gone.txt")


@case("explain", "a caption's file that is not UTF-8", REFUSED, "the caption cannot be read")
def _(folder: Path) -> list[str]:
    good(folder)
    write(folder / "c.txt", b"Ein sch\xf6ner Ball.")
    return explain("data/0.png", "@c.txt")


@case("explain", "an image that is none", REFUSED, "not an image that Pillow can open")
def _(folder: Path) -> list[str]:
    write(folder / "0.png", "no image")
    return explain("0.png", "A ball.")


@case("explain", "a sample whose image is cut", REFUSED, "cannot be decoded")
def _(folder: Path) -> list[str]:
    content = picture()
    write(good(folder) / "1.png", content[: len(content) // 2])
    return explain("--data", "data", "--limit", "3")


@case("explain", "object storage as output", REFUSED, "results are not written to object storage")
def _(folder: Path) -> list[str]:
    good(folder)
    return explain("data/0.png", "A ball.", out="s3://bucket/out")
