"""Bad input for the sources of regions: models of the wrong kind, broken folders, options that do not go together."""

import json
from pathlib import Path

from tests.bad_input.cases import LEFT_OUT, REFUSED, case, good, match, picture, write
from tests.regions.small import save_small_owl, save_small_sam


def regions(name: str, *more: str) -> list[str]:
    command = match("data", *more)
    command[command.index("fixed")] = name
    return command


def typed(folder: Path, kind: str) -> str:
    """A folder that says only what kind of model it is."""
    write(folder / "model" / "config.json", json.dumps({"model_type": kind}))
    good(folder)
    return "model"


@case("regions", "a CLIP as a SAM", REFUSED, "'clip' is not a SAM")
def _(folder: Path) -> list[str]:
    good(folder)
    return regions("lism", "--sam", "MODEL")


@case("regions", "a detector as a SAM", REFUSED, "'yolos' is not a SAM")
def _(folder: Path) -> list[str]:
    return regions("lism", "--sam", typed(folder, "yolos"))


@case("regions", "a CLIP as a detector", REFUSED, "'clip' is not an object detector")
def _(folder: Path) -> list[str]:
    good(folder)
    return regions("flism", "--detector", "MODEL")


@case("regions", "a SAM as a detector", REFUSED, "a SAM goes with --regions lism --sam")
def _(folder: Path) -> list[str]:
    return regions("detector", "--detector", typed(folder, "sam"))


@case("regions", "an OWLv2 as a plain detector", REFUSED, "this one goes with --regions open-vocabulary")
def _(folder: Path) -> list[str]:
    return regions("flism", "--detector", typed(folder, "owlv2"))


@case("regions", "a plain detector for the caption's words", REFUSED, "'detr' is not an open-vocabulary detector")
def _(folder: Path) -> list[str]:
    return regions("open-vocabulary", "--detector", typed(folder, "detr"))


@case("regions", "a SAM without weights", REFUSED, "a SAM cannot be loaded")
def _(folder: Path) -> list[str]:
    return regions("lism", "--sam", typed(folder, "sam"))


@case("regions", "an empty folder as a SAM", REFUSED, "a SAM cannot be loaded")
def _(folder: Path) -> list[str]:
    good(folder)
    (folder / "model").mkdir()
    return regions("lism", "--sam", "model")


@case("regions", "a config.json that is not JSON", REFUSED, "an object detector cannot be loaded")
def _(folder: Path) -> list[str]:
    good(folder)
    write(folder / "model" / "config.json", "{")
    return regions("detector", "--detector", "model")


@case("regions", "an OWLv2 without its tokenizer", REFUSED, "its tokenizer has")
def _(folder: Path) -> list[str]:
    good(folder)
    for file in save_small_owl(folder / "model").glob("tokenizer*"):
        file.unlink()
    return regions("open-vocabulary", "--detector", "model")


@case("regions", "--sam with regions that need none", REFUSED, "have no use for a --sam")
def _(folder: Path) -> list[str]:
    good(folder)
    return match("data", "--sam", "model")


@case("regions", "--detector with regions that need none", REFUSED, "have no use for a --detector")
def _(folder: Path) -> list[str]:
    good(folder)
    return match("data", "--detector", "model")


@case("regions", "a broken image before SAM", LEFT_OUT, "cannot be decoded")
def _(folder: Path) -> list[str]:
    write(good(folder) / "1.png", picture((41, 32))[:900])
    return regions("lism", "--sam", str(save_small_sam(folder / "model").relative_to(folder)))


@case("regions", "--regions none with a detector", REFUSED, "have no use for a --detector")
def _(folder: Path) -> list[str]:
    good(folder)
    return regions("none", "--detector", "model")


@case("regions", "--regions none with a rule", REFUSED, "have no use for a --rule")
def _(folder: Path) -> list[str]:
    good(folder)
    return regions("none", "--rule", "lism")


@case("regions", "--regions none with a cache", REFUSED, "have no use for a --cache")
def _(folder: Path) -> list[str]:
    good(folder)
    return regions("none", "--cache", "cache")


@case("regions", "a file that is no image, with --regions none", LEFT_OUT, "not an image")
def _(folder: Path) -> list[str]:
    write(good(folder) / "1.png", b"no image")
    return regions("none")


@case("regions", "no image at all, with --regions none", REFUSED, "0 of 3 samples can be used")
def _(folder: Path) -> list[str]:
    for image in good(folder).glob("*.png"):
        image.write_bytes(b"no image")
    return regions("none")
