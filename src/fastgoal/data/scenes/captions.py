"""Captions of scenes, long and short, in varied wording, with the span that describes each thing.

A long caption has one sentence for the setting, one for every thing with its attributes and place, some on how two
things relate and some that describe nothing in particular, shuffled; it runs to 60..250 tokens. A short caption names
one to three things and perhaps the ground, as the captions CLIP was trained on do. All sentences are plain data in
this module: no grammar engine.
"""

from dataclasses import dataclass

from fastgoal.data.samples import Span
from fastgoal.data.scenes.dice import Dice
from fastgoal.data.scenes.layout import CANVAS, Scene, Thing

SETTINGS = {
    "sand": ("a sandy beach", "dry sand", "a stretch of sand"),
    "grass": ("a green lawn", "mown grass", "a grassy field"),
    "water": ("rippling water", "the surface of a lake", "blue water"),
    "night": ("a dark night sky", "the night sky", "a starry sky"),
    "wood": ("a wooden table", "wooden boards", "a plank of wood"),
    "brick": ("a brick wall", "old red bricks", "a wall of bricks"),
    "snow": ("fresh snow", "a snowy field", "white snow"),
    "carpet": ("a woven carpet", "a soft carpet", "a piece of carpet"),
    "marble": ("a marble floor", "polished marble", "a slab of marble"),
    "leaves": ("fallen leaves", "dry leaves", "autumn leaves"),
}
LIGHT_WORDS = {
    "soft": ("soft light", "gentle light"),
    "bright": ("bright light", "strong light"),
    "dim": ("dim light", "weak light"),
    "warm": ("warm light", "golden light"),
    "cool": ("cool light", "bluish light"),
}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "medium": ("medium sized", "mid sized"), "large": ("large", "big")}
TEXTURE_WORDS = {
    "plain": ("plain", "solid"),
    "striped": ("striped", "stripes"),
    "dotted": ("dotted", "dots"),
    "checkered": ("checkered", "checks"),
    "grid": ("gridded", "grid lines"),
}
PLACES = (
    ("in the top left corner", "at the upper left"),
    ("near the top", "at the top center"),
    ("in the top right corner", "at the upper right"),
    ("on the left side", "at the left edge"),
    ("in the middle", "close to the center"),
    ("on the right side", "at the right edge"),
    ("in the bottom left corner", "at the lower left"),
    ("near the bottom", "at the bottom center"),
    ("in the bottom right corner", "at the lower right"),
)
THING_FORMS = (
    "{Place} there is {a}.",
    "{A} lies {place}.",
    "{A} can be seen {place}.",
    "{Place} you can find {a}.",
    "{A} is placed {place}.",
    "There is {a} {place}.",
    "{A} rests {place}.",
    "{Place} sits {a}.",
    "One can spot {a} {place}.",
    "{A} has been put {place}.",
)
SETTING_FORMS = (
    "The scene is set on {ground} under {light}.",
    "Everything lies on {ground} in {light}.",
    "The background is {ground}, seen in {light}.",
    "This is a picture of {ground} with {number} on it, lit by {light}.",
    "An arrangement of {number} on {ground} in {light}.",
    "A view of {ground} under {light}, with {number}.",
)
RELATION_FORMS = {
    "left": ("{A} is to the left of {b}.", "{A} lies left of {b}.", "{B} is to the right of {a}."),
    "above": ("{A} is above {b}.", "{A} sits higher than {b}.", "{B} is below {a}."),
    "larger": ("{A} is larger than {b}.", "{B} is smaller than {a}.", "{A} is bigger than {b}."),
}
EMPTY_FORMS = (
    "Nothing in the picture seems to move.",
    "The whole image is in sharp focus.",
    "The mood of the picture is calm and quiet.",
    "No people or animals are visible anywhere.",
    "The picture was taken from straight above.",
    "Whoever arranged all this must have taken their time.",
    "The things cast soft shadows towards the lower right.",
    "It looks like a page from a picture book for children.",
    "There is no text or writing anywhere in the image.",
    "All of the objects are flat and have clean outlines.",
    "The composition looks simple but carefully arranged.",
    "The colors stand out clearly against the ground.",
)
NUMBERS = (
    "no objects",
    "one object",
    *(f"{word} objects" for word in ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")),
)

SHORT_FORMS = (
    "{list} on {ground}.",
    "A picture of {list}.",
    "{list}.",
    "{list} in {light}.",
    "A photo of {list} on {ground}.",
    "There is {list} on {ground}.",
)
_MIN_WORDS, _MAX_WORDS = 62, 185
"""Bounds on the words of a long caption; with punctuation and the two special tokens they keep it within 60..250
tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """A caption and, for every thing it describes, the span of that description: `spans[i]` belongs to `things[i]` of
    the scene."""

    text: str
    spans: dict[int, Span]


def long_caption(scene: Scene, dice: Dice) -> Caption:
    """One sentence per thing, the setting, relations and sentences about nothing local, shuffled."""
    sentences: list[tuple[int | None, str]] = [(i, thing_sentence(thing, dice)) for i, thing in enumerate(scene.things)]
    sentences.append((None, setting_sentence(scene, dice)))
    relations = _relations(scene, dice)[: dice.between(1, 3)]
    fillers = dice.shuffled(EMPTY_FORMS)
    words = sum(len(text.split()) for _, text in sentences)
    for text in [*relations, *fillers[: dice.between(1, 2)]]:
        if words + len(text.split()) <= _MAX_WORDS:
            sentences.append((None, text))
            words += len(text.split())
    for text in fillers[2:]:
        if words >= _MIN_WORDS:
            break
        sentences.append((None, text))
        words += len(text.split())
    return _join(dice.shuffled(sentences))


def short_caption(scene: Scene, dice: Dice, *, most: int = 3) -> Caption:
    """Up to `most` things in a phrase, with some of their attributes."""
    chosen = dice.shuffled(range(len(scene.things)))[: dice.between(1, most)]
    form = dice.pick(SHORT_FORMS)
    phrases = [(i, _with_article(noun_phrase(scene.things[i], dice, brief=True))) for i in chosen]
    ground, light = dice.pick(SETTINGS[scene.ground]), dice.pick(LIGHT_WORDS[scene.light])
    head, tail = form.split("{list}")
    text, spans = head, {}
    for n, (i, phrase) in enumerate(phrases):
        text += "" if n == 0 else (" and " if n == len(phrases) - 1 else ", ")
        shown = _capital(phrase) if not text else phrase
        spans[i] = (len(text), len(text) + len(shown))
        text += shown
    return Caption(text=text + tail.format(ground=ground, light=light), spans=spans)


def thing_sentence(thing: Thing, dice: Dice) -> str:
    phrase = _with_article(noun_phrase(thing, dice))
    place = dice.pick(PLACES[_cell(thing)])
    return dice.pick(THING_FORMS).format(a=phrase, A=_capital(phrase), place=place, Place=_capital(place))


def setting_sentence(scene: Scene, dice: Dice) -> str:
    return dice.pick(SETTING_FORMS).format(
        ground=dice.pick(SETTINGS[scene.ground]),
        light=dice.pick(LIGHT_WORDS[scene.light]),
        number=NUMBERS[len(scene.things)],
    )


def noun_phrase(thing: Thing, dice: Dice, *, brief: bool = False) -> str:
    """What the thing is, without an article; `brief` leaves out the size and often the texture, as short captions
    do."""
    words = [] if brief and not dice.chance(0.3) else [dice.pick(SIZE_WORDS[thing.size])]
    adjective, marks = TEXTURE_WORDS[thing.texture or "plain"]
    tail = ""
    if thing.accent and not (brief and dice.chance(0.4)):
        if dice.chance(0.5):
            tail = f" with {thing.accent} {marks}"
        else:
            words.append(f"{thing.accent} {adjective}" if dice.chance(0.5) else adjective)
    elif thing.texture == "plain" and not brief:
        words.append(dice.pick(TEXTURE_WORDS["plain"]))
    if thing.colour:
        words.append(thing.colour)
    return " ".join([*words, thing.name]) + tail


def _relations(scene: Scene, dice: Dice) -> list[str]:
    out = []
    things = dice.shuffled(scene.things)
    for a, b in zip(things[::2], things[1::2], strict=False):
        if abs(a.x - b.x) >= max(80, abs(a.y - b.y)):
            kind, (a, b) = "left", sorted((a, b), key=lambda thing: thing.x)
        elif abs(a.y - b.y) >= 80:
            kind, (a, b) = "above", sorted((a, b), key=lambda thing: thing.y)
        elif abs(a.side - b.side) >= 14:
            kind, (a, b) = "larger", sorted((a, b), key=lambda thing: -thing.side)
        else:
            continue
        first, second = (f"the {f'{thing.colour} ' if thing.colour else ''}{thing.name}" for thing in (a, b))
        out.append(dice.pick(RELATION_FORMS[kind]).format(a=first, A=_capital(first), b=second, B=_capital(second)))
    return out


def _cell(thing: Thing) -> int:
    """Which of the nine places, row by row, the centre of the thing lies in."""
    column, row = ((corner + thing.side // 2) * 3 // CANVAS for corner in (thing.x, thing.y))
    return row * 3 + column


def _join(sentences: list[tuple[int | None, str]]) -> Caption:
    text, spans = "", {}
    for thing, sentence in sentences:
        text += " " if text else ""
        if thing is not None:
            spans[thing] = (len(text), len(text) + len(sentence))
        text += sentence
    return Caption(text=text, spans=spans)


def _with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _capital(phrase: str) -> str:
    return phrase[0].upper() + phrase[1:]
