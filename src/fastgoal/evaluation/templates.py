"""Prompt templates for zero-shot classification: sentences with `{}` in the place of a class's name.

The idea of several templates (CLIP, section 3.1.4): the mean over many ways to say that a picture shows something is a
steadier picture of the class than any one of them. `many` is a set of our own in that spirit: kinds of picture, places
in it, its light and quality, its size, and ways to speak of it. Figures from other sets of templates differ a little.
"""

from collections.abc import Mapping
from pathlib import Path

from fastgoal.errors import ConfigError

PLAIN = ("a photo of a {}.",)

MANY = (
    "an image of a {}.",
    "an image showing one {}.",
    "a picture with a {} in it.",
    "a photograph that shows a {}.",
    "here is a {}.",
    "there is a {} here.",
    "this is what a {} looks like.",
    "what you see is a {}.",
    "you can see a {} in this image.",
    "the picture shows a {}.",
    "the subject of this photo is a {}.",
    "the main thing in the image is a {}.",
    "an example of a {}.",
    "a typical {}.",
    "an unusual {}.",
    "some kind of {}.",
    "a {} among others like it.",
    "a pair, each of them a {}.",
    "a group, every one a {}.",
    "a single {} on its own.",
    "a {} seen from the front.",
    "a {} seen from the side.",
    "a {} seen from behind.",
    "a {} seen from above.",
    "a {} seen from below.",
    "a {} right in front of the camera.",
    "a {} far away in the distance.",
    "a {} in the middle of the picture.",
    "a {} at the edge of the picture.",
    "a {} in the corner of the picture.",
    "a {} in the foreground.",
    "a {} in the background.",
    "a {} that fills the whole frame.",
    "only a part of a {} is visible.",
    "a {} half hidden behind something else.",
    "a detail of a {}.",
    "a tightly framed {}.",
    "a wide view with a {} in it.",
    "a {} against a plain background.",
    "a {} with a white background.",
    "a {} with a cluttered background.",
    "a {} outdoors.",
    "a {} indoors.",
    "a {} in its usual surroundings.",
    "a {} in an unexpected place.",
    "a {} in sunlight.",
    "a {} in the shade.",
    "a {} at night.",
    "a {} at dusk.",
    "a {} in fog or rain.",
    "a {} lit by a flash.",
    "a {}, underexposed.",
    "a {}, overexposed.",
    "a {}, out of focus.",
    "a {}, sharp and clear.",
    "a grainy snapshot of a {}.",
    "a heavily compressed image of a {}.",
    "a tiny thumbnail of a {}.",
    "an old, faded photograph of a {}.",
    "a colourful image of a {}.",
    "a {} in shades of grey.",
    "a professional photograph of a {}.",
    "an amateur's holiday picture of a {}.",
    "a phone picture of a {}.",
    "a studio shot of a {}.",
    "a still from a film with a {}.",
    "a page of a catalogue with a {}.",
    "an illustration of a {}.",
    "a pencil sketch of a {}.",
    "a watercolour of a {}.",
    "a comic strip with a {}.",
    "a {} made of wood.",
    "a {} made of paper.",
    "a model of a {}.",
    "a {} on a poster.",
    "a computer graphic of a {}.",
    "a big {}.",
    "a little {}.",
    "a beautiful {}.",
    "a {}, nothing special.",
)

TEMPLATES: Mapping[str, tuple[str, ...]] = {"plain": PLAIN, "many": MANY}


def templates_named(name: str) -> tuple[str, ...]:
    """The templates of a set (`plain`, `many`) or of a file: one per line, with `{}` where the name of the class goes.

    Raises:
        ConfigError: no such set or file, a template without `{}`, one that is there twice, or none at all.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    try:
        lines = Path(name).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        mend = f"Name a set ({', '.join(TEMPLATES)}) or a text file with one template per line."
        raise ConfigError(f"no such templates ({reason})", where=name, mend=mend) from None
    first: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        template = line.strip()
        if template and "{}" not in template:
            mend = "Write {} where the name of the class goes, as in: a photo of a {}."
            raise ConfigError(f"the template {template!r} has no {{}}", where=f"{name}:{number}", mend=mend)
        if template and first.setdefault(template, number) != number:
            what = f"the template of line {first[template]} again"
            raise ConfigError(what, where=f"{name}:{number}", mend="Give every template once.")
    if not first:
        raise ConfigError("no template", where=name, mend="Write one per line, as in: a photo of a {}.")
    return tuple(first)


def prompts(template: str, names: tuple[str, ...]) -> list[str]:
    """A template filled with each name; other braces stay as they are."""
    return [template.replace("{}", name) for name in names]
