"""A cast of the user's own pictures: any folder of images with transparency whose file names are their names."""

from functools import lru_cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from fastgoal.data.scenes.dice import Dice
from fastgoal.data.scenes.layout import SIZES, Attribute, Thing
from fastgoal.errors import DataError


class Sprites:
    """Things cut from RGBA images: `red_mug.png` is called "red mug".

    Raises:
        DataError: the folder is missing or holds fewer than two images, or an image cannot be read or has no
            transparency.

    """

    attributes: tuple[Attribute, ...] = ("name", "size", "place")

    def __init__(self, folder: str | Path) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise DataError(
                "no such folder of sprites", where=root, mend="Name a folder of PNG or WebP images with transparency."
            )
        files = sorted(path for path in root.iterdir() if path.suffix.lower() in {".png", ".webp"})
        self._files = {path.stem.replace("_", " ").replace("-", " ").strip().lower(): path for path in files}
        if len(self._files) < 2:
            raise DataError(
                "fewer than two .png or .webp sprites here",
                where=root,
                mend="Add images; their file names are their names.",
            )
        self._names = tuple(self._files)
        self._scaled = lru_cache(maxsize=4096)(self._load)

    def draw(self, dice: Dice) -> Thing:
        size = dice.pick(tuple(SIZES))
        return Thing(
            name=dice.pick(self._names),
            colour=None,
            texture=None,
            accent=None,
            size=size,
            side=dice.pick(SIZES[size]),
            turn=2,
            x=0,
            y=0,
        )

    def picture(self, thing: Thing) -> tuple[Image.Image, Image.Image]:
        return self._scaled(thing.name, thing.side)

    def _load(self, name: str, side: int) -> tuple[Image.Image, Image.Image]:
        path = self._files[name]
        try:
            with Image.open(path) as opened:
                image = (
                    opened.convert("RGBA")
                    if opened.mode in {"RGBA", "LA", "PA"} or "transparency" in opened.info
                    else None
                )
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(
                f"this sprite cannot be read ({error})", where=path, mend="Save it again as PNG, or remove it."
            ) from error
        if image is None or image.getchannel("A").getbbox() is None:
            raise DataError(
                "this sprite has no transparency", where=path, mend="Save it as RGBA with a transparent ground."
            )
        image = image.crop(image.getchannel("A").getbbox())
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        square = Image.new("RGBA", (side, side))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return square.convert("RGB"), square.getchannel("A")
