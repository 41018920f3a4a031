"""An extension of Griffe, which reads docstrings for the site: what ours write in their own short way becomes what it
knows.

    Returns: text               as a section with the text below it
    a: text. b, c: text         in `Args:` and in lists of fields, on a line each
    a: text                     in a class that lists its fields so, as a list
"""

import re
from typing import Any

import griffe

_RETURNS = re.compile(r"^(Returns|Yields): (?P<text>.+(?:\n {4}.+)*)", re.MULTILINE)
_NAMED = re.compile(r"^(?P<indent>(?: {4})?)(?P<names>\w+(?:, \w+)*): ")
_NEXT = re.compile(r"(?<=[.;]) (?P<names>\w+(?:, \w+)*): ")


class OurDocstrings(griffe.Extension):
    """Rewrites each docstring when its object is found."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is None:
            return
        text, names = _RETURNS.sub(_section, obj.docstring.value), _names(obj)
        lines = [line for long in text.split("\n") for line in _split(long, names)]
        obj.docstring.value = "\n".join(_listed(lines, names) if obj.is_class else lines)


def _names(obj: griffe.Object) -> set[str]:
    """What can be meant by `name: text`: parameters and fields."""
    made = obj.members.get("__init__") if obj.is_class else obj
    parameters = {parameter.name for parameter in getattr(made, "parameters", ())}
    return parameters | (set(obj.members) if obj.is_class else set())


def _section(found: re.Match[str]) -> str:
    lines = "\n".join(f"    {line.strip()}" for line in found["text"].splitlines())
    return f"{found[1]}:\n{lines}"


def _split(line: str, names: set[str]) -> list[str]:
    """`a: text. b: text` as two lines, if the first is a name's."""
    head = _NAMED.match(line)
    if head is None or not _all_in(head, names):
        return [line]
    indent = head["indent"]
    return _NEXT.sub(lambda f: f"\n{indent}{f['names']}: " if _all_in(f, names) else f[0], line).split("\n")


def _listed(lines: list[str], names: set[str]) -> list[str]:
    """Lines at the margin that begin with a field's name as items; those that go on are indented already."""
    listed, before = list[str](), ""
    for line in lines:
        head = _NAMED.match(line)
        if head is not None and not head["indent"] and _all_in(head, names):
            quoted = ", ".join(f"`{name}`" for name in head["names"].split(", "))
            line = f"- {quoted}: {line[head.end() :]}"
            listed += [""] * (bool(before) and not before.startswith(("- ", "    ")))
        listed.append(line)
        before = line
    return listed


def _all_in(found: re.Match[str], names: set[str]) -> bool:
    return set(found["names"].split(", ")) <= names
