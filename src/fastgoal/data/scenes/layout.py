"""What a scene holds: a setting and some things with their attributes and places, before a pixel is drawn or a word
written.

Scenes of one contrasting group share the setting and all things but one or two, which differ in one attribute: like
the sets of near-identical photographs in DOCCI, they can be told apart by detail alone.
"""

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from fastgoal.data.scenes.dice import Dice

CANVAS = 320
GROUP = 4
SIZES: dict[str, tuple[int, ...]] = {"small": (48, 51, 54), "medium": (64, 68, 72), "large": (84, 90, 95)}
"""Sides of a thing's square in pixels; its outline spans about 85 % of that, so 40 to 80 px."""
GROUNDS = ("sand", "grass", "water", "night", "wood", "brick", "snow", "carpet", "marble", "leaves")
LIGHTS = ("soft", "bright", "dim", "warm", "cool")

Attribute = Literal["name", "colour", "texture", "accent", "size", "place"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One object. `x`, `y` is the top-left corner of its `side` x `side` square on the canvas, in pixels.

    `colour`, `texture` and `accent` (the colour of the texture's marks) are None for sprites.
    """

    name: str
    colour: str | None
    texture: str | None
    accent: str | None
    size: str
    side: int
    turn: int
    x: int
    y: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A setting (what the ground is, what the light is like) and the things on it, back to front."""

    ground: str
    light: str
    offset: tuple[int, int]
    things: tuple[Thing, ...]


class Cast(Protocol):
    """Where things come from: drawn shapes or a folder of sprites."""

    attributes: tuple[Attribute, ...]
    """What may differ between two scenes of a contrasting group."""

    def draw(self, dice: Dice) -> Thing:
        """A thing with every attribute but its place."""
        ...


def make_scene(cast: Cast, *, seed: int, index: int, objects: tuple[int, int], contrast: float) -> Scene:
    """The scene number `index`.

    Args:
        objects: fewest and most things in a scene.
        contrast: share of groups (of `GROUP` neighbouring indices) that are contrasting.
    """
    group = Dice(seed, "group", index // GROUP)
    if not group.chance(contrast):
        return _fresh(cast, Dice(seed, "scene", index), objects)
    first = _fresh(cast, group, objects)
    return first if index % GROUP == 0 else _vary(cast, first, Dice(seed, "contrast", index))


def _fresh(cast: Cast, dice: Dice, objects: tuple[int, int]) -> Scene:
    wanted = dice.between(*objects)
    things: list[Thing] = []
    for _ in range(40 * wanted):
        if len(things) == wanted:
            break
        thing = _put(cast.draw(dice), dice)
        if _fits(thing, things):
            things.append(thing)
    return Scene(
        ground=dice.pick(GROUNDS),
        light=dice.pick(LIGHTS),
        offset=(dice.below(192), dice.below(192)),
        things=tuple(things),
    )


def _vary(cast: Cast, scene: Scene, dice: Dice) -> Scene:
    """The same scene with one thing changed in one attribute, and in one scene of three a second thing as well."""
    things = list(scene.things)
    for i in dice.shuffled(range(len(things)))[: 2 if dice.chance(1 / 3) else 1]:
        others = things[:i] + things[i + 1 :]
        for _ in range(60):
            changed = _changed(cast, things[i], dice)
            if changed != things[i] and _fits(changed, others):
                things[i] = changed
                break
    return replace(scene, things=tuple(things))


def _changed(cast: Cast, thing: Thing, dice: Dice) -> Thing:
    """`thing` with one attribute, and what hangs on it, taken from a fresh draw."""
    other = cast.draw(dice)
    match dice.pick(cast.attributes):
        case "name":
            return replace(thing, name=other.name)
        case "colour":
            return replace(thing, colour=other.colour, accent=other.accent if thing.accent else None)
        case "texture":
            return replace(
                thing, texture=other.texture, accent=(thing.accent or other.accent) if other.accent else None
            )
        case "accent":
            return replace(thing, accent=other.accent) if thing.accent and other.accent else thing
        case "size":
            grown = replace(thing, size=other.size, side=other.side)
            limit = CANVAS - grown.side
            return replace(grown, x=min(grown.x, limit), y=min(grown.y, limit))
        case "place":
            return _put(thing, dice)


def _put(thing: Thing, dice: Dice) -> Thing:
    limit = CANVAS - thing.side
    return replace(thing, x=dice.between(0, limit), y=dice.between(0, limit))


def _fits(thing: Thing, others: list[Thing]) -> bool:
    """Whether a name in a caption stays unambiguous and at most a fifth of either square is hidden."""
    return (thing.accent is None or thing.accent != thing.colour) and not any(
        (thing.name, thing.colour) == (other.name, other.colour)
        or _overlap(thing, other) > min(thing.side, other.side) ** 2 // 5
        for other in others
    )


def _overlap(a: Thing, b: Thing) -> int:
    wide = min(a.x + a.side, b.x + b.side) - max(a.x, b.x)
    high = min(a.y + a.side, b.y + b.side) - max(a.y, b.y)
    return max(wide, 0) * max(high, 0)
