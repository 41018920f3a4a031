"""The built-in data set on disk: a folder per split in the data contract's form, with true boxes."""

import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from fastgoal.data.samples import GivenRegion, Sample
from fastgoal.data.scenes.captions import long_caption, short_caption
from fastgoal.data.scenes.dice import Dice
from fastgoal.data.scenes.layout import make_scene
from fastgoal.data.scenes.painter import Drawn, Pictures, paint
from fastgoal.data.scenes.sprites import Sprites
from fastgoal.errors import ConfigError
from fastgoal.files import make_folder, write_file, write_json, writing
from fastgoal.progress import Progress

SPLITS = ("train", "val", "test")
_FIRST_INDEX = {"train": 0, "val": 100_000_000, "test": 200_000_000}
"""Splits draw from distant stretches of one endless sequence, so that enlarging one never moves another."""


@dataclass(frozen=True, kw_only=True)
class ScenesConfig:
    """What to draw.

    train, val, test: scenes per split.
    seed: the same seed gives the same scenes.
    objects: fewest and most objects in a scene, 1..10.
    captions: `long` (a paragraph) or `short` (a phrase).
    contrast: share of groups of four neighbouring scenes that differ in one or two details only.
    sprites: folder of RGBA images to compose scenes from instead of drawn shapes; their file names are their names.
    """

    train: int = 2000
    val: int = 400
    test: int = 1000
    seed: int = 0
    objects: tuple[int, int] = (4, 9)
    captions: Literal["long", "short"] = "long"
    contrast: float = 0.5
    sprites: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.objects[0] <= self.objects[1] <= 10:
            raise ConfigError(
                f"{self.objects[0]}-{self.objects[1]} objects",
                where="objects",
                mend="Use a range within 1-10, as in 4-9.",
            )
        if min(self.train, self.val, self.test) < 0:
            raise ConfigError(
                "a negative number of scenes", where="train, val, test", mend="Use 0 to leave a split out."
            )
        if not 0 <= self.contrast <= 1:
            raise ConfigError(f"a share of {self.contrast}", where="contrast", mend="Use a number from 0 to 1.")


def draw_samples(config: ScenesConfig, split: str, count: int) -> Iterator[tuple[Sample, Image.Image]]:
    """The first `count` scenes of a split as samples with their pictures, without touching the disk."""
    cast: Pictures = Sprites(config.sprites) if config.sprites else Drawn()
    write = long_caption if config.captions == "long" else short_caption
    for number in range(count):
        index = _FIRST_INDEX[split] + number
        scene = make_scene(cast, seed=config.seed, index=index, objects=config.objects, contrast=config.contrast)
        image, boxes = paint(scene, cast)
        caption = write(scene, Dice(config.seed, config.captions, index))
        regions = tuple(
            GivenRegion(
                box=boxes[i], span=span, label=" ".join(filter(None, (scene.things[i].colour, scene.things[i].name)))
            )
            for i, span in sorted(caption.spans.items())
        )
        name = f"{split}-{number:05d}"
        yield Sample(id=name, image=f"images/{name}.jpg", caption=caption.text, regions=regions), image


def write_scenes(out: str | Path, config: ScenesConfig, *, progress: bool = True) -> dict[str, Any]:
    """Draw the splits into `out/train`, `out/val` and `out/test`: `captions.jsonl` and `images/`.

    `out/scenes.json` is written last, so a folder that has one with the same settings is complete and left as it is.

    Returns:
        The settings with the number of scenes per split.

    Raises:
        DataError: `out` cannot be written to.
    """
    out = Path(out)
    counts = {split: getattr(config, split) for split in SPLITS}
    result = {"counts": counts, "settings": asdict(config) | {"objects": list(config.objects)}}
    done = out / "scenes.json"
    if done.exists() and json.loads(done.read_text()) == result:
        return result
    with writing(done):
        done.unlink(missing_ok=True)
    with Progress(sum(counts.values()), "scenes", "scene", show=progress) as bar:
        for split, count in counts.items():
            if count:
                _write_split(out / split, draw_samples(config, split, count), bar)
    write_json(done, result)
    return result


def _write_split(folder: Path, samples: Iterator[tuple[Sample, Image.Image]], bar: Progress) -> None:
    make_folder(folder / "images")
    captions = folder / "captions.jsonl"
    with writing(captions):
        captions.unlink(missing_ok=True)  # of other scenes, whose images are about to be written over
    lines = []
    for sample, image in samples:
        with writing(folder / sample.image):
            (folder / sample.image).write_bytes(jpeg(image))
        regions = [
            {"box": list(region.box), "span": list(region.span or ()), "label": region.label}
            for region in sample.regions
        ]
        lines.append(
            json.dumps({"id": sample.id, "image": sample.image, "caption": sample.caption, "regions": regions})
        )
        bar.update()
    write_file(captions, "\n".join(lines) + "\n")


def jpeg(image: Image.Image) -> bytes:
    """The image as a file's bytes: Pillow itself does not say when a disk takes only a part of them."""
    file = io.BytesIO()
    # full chroma: the textures are as fine as the chroma blocks that JPEG would otherwise merge
    image.save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()
