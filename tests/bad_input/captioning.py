"""Bad input of `caption` and `card`."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.bad_input.cases import REFUSED, case, good, write
from tests.captioning.models import git, kosmos2, llava, save


def caption(*more: str, captioner: str = "captioner", out: str = "out") -> list[str]:
    return ["caption", "data", "--captioner", captioner, "--out", out, *(more or ("--max-new-tokens", "4"))]


def captioner(folder: Path) -> Path:
    good(folder)
    return save(llava, folder / "captioner")


def spoilt(spoil: Callable[[Path], object], *more: str) -> Callable[[Path], list[str]]:
    """Sound pictures and a sound captioner, of which one thing is spoilt."""

    def make(folder: Path) -> list[str]:
        spoil(captioner(folder).parent)
        return caption(*more)

    return make


def other_run(folder: Path) -> None:
    write(folder / "out" / "caption.json", json.dumps({"origin": {"prompt": "Who?"}, "report": None}))


def foreign_line(folder: Path) -> None:
    """What a run wrote, with a line that it did not."""
    from fastgoal.captioning import Captioner, CaptionSettings, open_pictures
    from fastgoal.captioning import caption as caption_pictures

    made = CaptionSettings(max_new_tokens=4)
    model = Captioner.load(folder / "captioner")
    caption_pictures(open_pictures(folder / "data"), model, folder / "out", made, progress=False)
    table = folder / "out" / "captions.jsonl"
    table.write_text(table.read_text().replace('"image"', '"file"', 1))


for name, spoil, more, says in (
    (
        "a captioner without a processor",
        lambda f: (f / "captioner" / "processor_config.json").unlink(),
        (),
        "no processor",
    ),
    ("a captioner without config.json", lambda f: (f / "captioner" / "config.json").unlink(), (), "no config.json"),
    (
        "a captioner whose weights are cut off",
        lambda f: os.truncate(f / "captioner" / "model.safetensors", 900),
        (),
        "captioner cannot be loaded",
    ),
    ("captions of another run", other_run, (), "made differently"),
    ("captions that were edited", foreign_line, (), "not a line of a captioning"),
    (
        "another record in its place",
        lambda f: write(f / "out" / "caption.json", "[]"),
        (),
        "not the record of a captioning",
    ),
    ("captions into a full folder", lambda f: write(f / "out" / "thesis.doc", "precious"), (), "it holds thesis.doc"),
    ("a prompt file that is not there", lambda f: None, ("--prompt", "ask.txt"), "prompt file cannot be read"),
    ("an empty prompt file", lambda f: write(f / "ask.txt", ""), ("--prompt", "ask.txt"), "prompt file is empty"),
    ("captions of no tokens", lambda f: None, ("--max-new-tokens", "0"), "max-new-tokens"),
    ("a negative temperature", lambda f: None, ("--temperature", "-1"), "is no temperature"),
    ("a device that is not there", lambda f: None, ("--device", "cuda:77"), "device cannot be used"),
    ("weights of an unknown kind", lambda f: None, ("--dtype", "int3"), "int3"),
):
    case("captioning", name, REFUSED, says)(spoilt(spoil, *more))


@case("captioning", "captions among the images", REFUSED, "would lie among the images")
def _(folder: Path) -> list[str]:
    captioner(folder)
    return caption(out="data")


@case("captioning", "a captioner that is none", REFUSED, "writes no texts about images")
def _(folder: Path) -> list[str]:
    good(folder)
    return caption(captioner="MODEL")


@case("captioning", "no such captioner", REFUSED, "no such model folder")
def _(folder: Path) -> list[str]:
    good(folder)
    return caption(captioner="./llava")


@case("captioning", "a captioner that wants a prompt", REFUSED, "does not take an image with this prompt")
def _(folder: Path) -> list[str]:
    good(folder)
    save(kosmos2, folder / "captioner")
    return caption()


@case("captioning", "a folder without images", REFUSED, "no image here")
def _(folder: Path) -> list[str]:
    captioner(folder)
    for image in (folder / "data").glob("*.png"):
        image.unlink()
    return caption()


@case("captioning", "images none of which can be read", REFUSED, "0 of 3 images could be captioned")
def _(folder: Path) -> list[str]:
    good(folder)
    for image in (folder / "data").glob("*.png"):
        image.write_bytes(b"x")
    save(git, folder / "captioner")
    return caption()


@case("card", "a card of neither table nor data", REFUSED, "no usable sample here")
def _(folder: Path) -> list[str]:
    (folder / "pairs").mkdir()
    return ["card", "pairs"]


@case("card", "a card of another manifest", REFUSED, "not the manifest of a pairs table")
def _(folder: Path) -> list[str]:
    write(folder / "pairs" / "manifest.json", "[]")
    return ["card", "pairs"]


@case("card", "a card of images that have gone", REFUSED, "no image can be read")
def _(folder: Path) -> list[str]:
    shutil.copytree(os.environ["GOOD_PAIRS"], folder / "pairs")
    return ["card", "pairs", "--root", "."]


@case("card", "a card of fewer than no samples", REFUSED, "-1 samples")
def _(folder: Path) -> list[str]:
    good(folder)
    return ["card", "data", "--samples", "-1"]
