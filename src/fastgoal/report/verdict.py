"""The verdict: two or three plain sentences that say what the numbers say, and no more.

The question is always the same one: does the method beat plain global fine-tuning on the same data, steps, batch and
learning rate? Of each paired difference only four things can be said: its 95 % interval lies above zero (better), below
zero (worse), it includes zero (no clear difference, whichever way the estimate points), or there is no interval and so
no claim.
"""

from collections.abc import Mapping, Sequence

from fastgoal.report.numbers import Contrast, Measure, Sign

WORDS: dict[Sign, str] = {
    "above": "better",
    "below": "worse",
    "open": "no clear difference",
    "unknown": "no interval",
}


NOTE = (
    "In brackets: the paired difference in percentage points and its 95 % interval; "
    "text to image, where image to text says the same."
)


def verdict(
    method: str | None,
    baseline: str | None,
    differences: Sequence[Contrast],
    values: Mapping[str, float] | None = None,
    measure: Measure | None = None,
    items: int | None = None,
) -> list[str]:
    """Two or three sentences on `method` against `baseline`.

    Args:
        method: the method in question; None when nothing was trained.
        baseline: what it has to beat; None when no such model was trained.
        differences: `method - baseline`, one per measure.
        values: model -> percent of `measure`, in the table's order, for the opening sentence.
        items: how many images were ranked.
    """
    opening = _opening(values or {}, measure, items)
    if method is None:
        return [*opening, "Nothing was trained, so there is no method to judge yet."]
    if baseline is None or method == baseline:
        rival = "No other method" if method == baseline else "No plain baseline"
        return [*opening, f"{rival} was trained beside {method} on the same data, so its losses cannot be judged here."]
    told = worth_telling(differences)
    if not told:
        claim = "were not compared query by query, so it is not said which is better"
        return [*opening, f"{_name(method)} and {baseline} {claim}."]
    return [*opening, *_better(method, baseline, told), *_not_better(method, baseline, told)]


def worth_telling(differences: Sequence[Contrast]) -> list[tuple[str, Contrast]]:
    """What to call each difference, and the difference: one per task where both directions agree, else each its own."""
    by_task: dict[tuple[str, str], list[Contrast]] = {}
    for contrast in differences:
        by_task.setdefault((contrast.measure.protocol, contrast.measure.key), []).append(contrast)
    told: list[tuple[str, Contrast]] = []
    for every in by_task.values():
        every = sorted(every, key=lambda c: c.measure.direction != "t2i")
        alike = len({c.sign for c in every}) == 1 and every[0].measure.direction == "t2i"
        told += [(c.measure.task if alike else c.measure.label, c) for c in (every[:1] if alike else every)]
    return told


def signed(value: float) -> str:
    """`+1.2`, `−0.4` (a true minus sign), `0.0` for what rounds to zero."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return "".join(items) if len(items) < 2 else f"{', '.join(items[:-1])} and {items[-1]}"


def _opening(values: Mapping[str, float], measure: Measure | None, items: int | None) -> list[str]:
    if not values or measure is None:
        return []
    figures = [f"{value:.1f} % for {model}" for model, value in values.items()]
    if (measure.kind, measure.direction, measure.key) == ("retrieval", "t2i", "R@1"):
        among = f" among {items:,}" if items else ""
        return [f"Given a caption, the right image comes first{among} in {listed(figures)}."]
    return [f"{_name(measure.label)}{f' over {items:,} items' if items else ''}: {listed(figures)}."]


def _better(method: str, baseline: str, told: Sequence[tuple[str, Contrast]]) -> list[str]:
    wins = [_phrase(name, c) for name, c in told if c.sign == "above"]
    return [f"{_name(method)} clearly beats {_rival(baseline)} on {listed(wins)}."] if wins else []


def _not_better(method: str, baseline: str, told: Sequence[tuple[str, Contrast]]) -> list[str]:
    """One sentence for everything that is not a clear gain: worse, open, or without an interval."""
    openings: dict[Sign, str] = {
        "below": "is clearly worse on",
        "open": "shows no clear difference on",
        "unknown": "has no interval, and so no claim, on",
    }
    found = {sign: [_phrase(name, c) for name, c in told if c.sign == sign] for sign in openings}
    clauses = [f"{openings[sign]} {listed(phrases)}" for sign, phrases in found.items() if phrases]
    if not clauses:
        return []
    said = ", and ".join(clauses)
    if any(c.sign == "above" for _, c in told):
        return [f"It does not beat it everywhere: it {said}."]
    return [f"{_name(method)} does not beat {_rival(baseline)}: it {said}."]


def _phrase(name: str, contrast: Contrast) -> str:
    low, high = contrast.low, contrast.high
    bounds = "" if low is None or high is None else f", {signed(low)} to {signed(high)}"
    return f"{name} ({signed(contrast.difference)} points{bounds})"


def _rival(name: str) -> str:
    return "plain global fine-tuning" if name == "global" else name


def _name(text: str) -> str:
    """A name at the start of a sentence; GOAL keeps its own spelling."""
    return "GOAL" if text == "goal" else text[:1].upper() + text[1:]
