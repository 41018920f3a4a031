"""Scenes in pixels: grounds, lights, textures, soft shading and shadows.

Everything costly is drawn once and cut from: ground tiles, texture tiles, masks, shading. Noise is an integer hash and
every rounding is explicit, so that the same scene has the same pixels everywhere.
"""

from functools import lru_cache
from typing import Protocol

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from fastgoal.data.scenes.dice import Dice
from fastgoal.data.scenes.layout import CANVAS, SIZES, Attribute, Cast, Scene, Thing
from fastgoal.data.scenes.shapes import OUTLINES, TURNS, mask
from fastgoal.geometry import Box

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (206, 38, 38),
    "orange": (240, 132, 28),
    "yellow": (240, 208, 40),
    "green": (46, 150, 60),
    "teal": (24, 150, 150),
    "blue": (44, 84, 214),
    "purple": (126, 52, 170),
    "pink": (240, 130, 176),
    "brown": (122, 76, 40),
    "grey": (134, 138, 142),
    "white": (244, 244, 242),
    "black": (30, 30, 34),
}
TEXTURES = ("plain", "striped", "dotted", "checkered", "grid")
ACCENTS = ("white", "black", "yellow")
_GROUND = {
    "sand": ((214, 190, 146), 26, 3),
    "grass": ((104, 150, 78), 44, 2),
    "water": ((92, 150, 184), 34, 12),
    "night": ((34, 38, 66), 22, 24),
    "wood": ((164, 120, 78), 34, 6),
    "brick": ((158, 96, 82), 24, 2),
    "snow": ((226, 232, 238), 14, 5),
    "carpet": ((140, 112, 136), 36, 2),
    "marble": ((196, 198, 200), 40, 20),
    "leaves": ((132, 118, 72), 64, 8),
}
"""Mean colour, strength of the noise (grey levels) and its grain (pixels) of each ground."""
_LIGHT = {
    "soft": (96, 98, 100),
    "bright": (112, 112, 108),
    "dim": (70, 70, 74),
    "warm": (106, 96, 82),
    "cool": (86, 96, 110),
}
"""Brightness of red, green and blue under each light, in percent."""
_TILE = 512


def paint(scene: Scene, cast: "Pictures") -> tuple[Image.Image, list[Box]]:
    """The scene as an RGB image of `CANVAS` x `CANVAS` pixels, and the tight box of every thing's visible outline."""
    x, y = scene.offset
    canvas = _ground(scene.ground).crop((x, y, x + CANVAS, y + CANVAS))
    boxes: list[Box] = []
    for thing in scene.things:
        picture, alpha = cast.picture(thing)
        canvas.paste((16, 14, 20), (thing.x + 3, thing.y + 4), _shadow(alpha))
        canvas.paste(picture, (thing.x, thing.y), alpha)
        left, top, right, bottom = alpha.getbbox() or (0, 0, thing.side, thing.side)
        boxes.append((float(thing.x + left), float(thing.y + top), float(thing.x + right), float(thing.y + bottom)))
    return canvas.point(_lighting(scene.light)), boxes


class Pictures(Cast, Protocol):
    """A cast whose things can be drawn."""

    def picture(self, thing: Thing) -> tuple[Image.Image, Image.Image]:
        """RGB pixels and coverage (`L`) of a thing, each `side` x `side`."""
        ...


class Drawn:
    """The cast of drawn shapes: 21 shapes x 12 colours x 5 textures x 3 sizes."""

    attributes: tuple[Attribute, ...] = ("name", "colour", "texture", "accent", "size", "place")

    def draw(self, dice: Dice) -> Thing:
        size = dice.pick(tuple(SIZES))
        colour = dice.pick(tuple(COLOURS))
        texture = dice.pick(TEXTURES)
        accent = dice.pick([name for name in ACCENTS if name != colour])
        return Thing(
            name=dice.pick(tuple(OUTLINES)),
            colour=colour,
            texture=texture,
            accent=None if texture == "plain" else accent,
            size=size,
            side=dice.pick(SIZES[size]),
            turn=dice.below(len(TURNS)),
            x=0,
            y=0,
        )

    def picture(self, thing: Thing) -> tuple[Image.Image, Image.Image]:
        """RGB pixels and coverage (`L`) of a thing, each `side` x `side`."""
        side = thing.side
        base = Image.new("RGB", (side, side), COLOURS[thing.colour or "grey"])
        if thing.texture and thing.accent:
            base.paste(
                COLOURS[thing.accent],
                (0, 0),
                _texture(thing.texture, (thing.x * 7 + thing.y * 3) % 12).crop((0, 0, side, side)),
            )
        return ImageChops.multiply(base, _shading(side)), mask(thing.name, side, thing.turn)


def _hash(x: "np.ndarray", y: "np.ndarray", salt: int) -> "np.ndarray":
    """Noise in 0..255 for integer lattice points: a multiply-and-shift hash in 32-bit arithmetic."""
    h = (
        x.astype(np.uint32) * np.uint32(0x9E3779B1)
        ^ y.astype(np.uint32) * np.uint32(0x85EBCA77)
        ^ np.uint32(salt * 0xC2B2AE3D & 0xFFFFFFFF)
    )
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(13)
    return (h >> np.uint32(9)).astype(np.uint8)


@lru_cache(maxsize=16)
def _ground(kind: str) -> Image.Image:
    (red, green, blue), strength, grain = _GROUND[kind]
    salt = sum(map(ord, kind))
    stretch = {"water": (6, 1), "wood": (10, 1), "grass": (1, 3)}.get(kind, (1, 1))
    cells = (_TILE // (grain * stretch[0]) + 2, _TILE // (grain * stretch[1]) + 2)
    yy, xx = np.mgrid[0 : cells[1], 0 : cells[0]]
    coarse = Image.fromarray(_hash(xx, yy, salt)).resize((_TILE, _TILE), Image.Resampling.BICUBIC)
    yy, xx = np.mgrid[0:_TILE, 0:_TILE]
    level = (np.asarray(coarse, np.int32) * 3 + _hash(xx, yy, salt + 1)) // 4 - 128
    if kind == "brick":
        joint = (yy % 22 < 3) | ((xx + (yy // 22 % 2) * 24) % 48 < 3)
        level = np.where(joint, level // 2 + 150, level)
    if kind == "night":
        level = np.where(
            _hash(xx // 2, yy // 2, salt + 2).astype(np.int32) * 256 + _hash(xx // 2, yy // 2, salt + 3) > 65_300,
            900,
            level,
        )
    pixels = np.stack([np.clip(c + level * strength // 128, 0, 255) for c in (red, green, blue)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


@lru_cache(maxsize=64)
def _texture(kind: str, phase: int) -> Image.Image:
    """Marks of a texture, 255 where the accent shows: a period of 11 to 12 pixels, about a third of that in a 96 px
    view."""
    scale, side = 4, max(max(SIZES.values()))
    yy, xx = np.mgrid[0 : side * scale, 0 : side * scale] + phase * scale
    match kind:
        case "striped":
            marks = (xx + yy) % (11 * scale) < 5 * scale
        case "dotted":
            dx, dy = xx % (12 * scale) - 6 * scale, yy % (12 * scale) - 6 * scale
            marks = dx * dx + dy * dy < (4 * scale) ** 2
        case "checkered":
            marks = (xx // (7 * scale) + yy // (7 * scale)) % 2 == 0
        case _:
            marks = (xx % (11 * scale) < 3 * scale) | (yy % (11 * scale) < 3 * scale)
    return Image.fromarray(marks.astype(np.uint8) * 255).reduce(scale)


@lru_cache(maxsize=16)
def _shading(side: int) -> Image.Image:
    """Light from the upper left: 255 there, down to 165 in the lower right."""
    yy, xx = np.mgrid[0:side, 0:side]
    level = 255 - 90 * (xx + yy) // (2 * side)
    return Image.fromarray(level.astype(np.uint8)).convert("RGB")


def _shadow(alpha: Image.Image) -> Image.Image:
    return alpha.filter(ImageFilter.BoxBlur(3)).point([level * 2 // 5 for level in range(256)])


@lru_cache(maxsize=8)
def _lighting(light: str) -> list[int]:
    return [min(255, level * percent // 100) for percent in _LIGHT[light] for level in range(256)]
