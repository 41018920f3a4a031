"""Results as lines for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastgoal.evaluation.results import EvalResult
from fastgoal.evaluation.robustness import mean_change

_WAYS = {"t2i": "text to image", "i2t": "image to text"}
_SHOWN = 3
Figure = tuple[str, float, Sequence[float]]
"""A metric, its value and the ends of its interval."""


def describe(result: EvalResult) -> str:
    """Figures with their intervals, and what has to stand beside them."""
    of = f" of {result.expected:,}" if result.partial else ""
    lines = [
        f"{result.protocol}: {result.items:,}{of} items, {text_limit(result)} "
        f"({result.truncated_share:.1%} of the texts cut), "
        + (f"the first {result.rerank} re-ranked, " if result.rerank else "")
        + f"model {result.model}"
    ]
    lines += [f"  left out: {one['where']}: {one['reason']}" for one in result.skipped_samples[:_SHOWN]]
    more = sum(result.skipped.values()) - _SHOWN
    lines += [f"  left out: {more:,} more"] * (more > 0)
    for way, words in _WAYS.items():
        ends = result.ci95.get(way, {})
        lines += _rows(words, [(name, value, ends[name]) for name, value in getattr(result, way).items()], "{:.1f}")
    if result.task == "robustness":
        unread = f"{result.counts['false_beyond_limit']:,} of {result.counts['captions']:,}"
        first = int(next(iter(result.t2i)).removeprefix("R@"))
        lines.append(f"  mean change of R@{first} over both ways: {mean_change(result, first):+.2f}")
        lines.append(f"  false sentences beyond the text limit, never read: {unread}")
    return "\n".join(lines)


def text_limit(result: EvalResult) -> str:
    """The text limit in words; that of the protocol as well, where the model has another."""
    other = f" in place of the protocol's {result.expected_tokens}" if result.other_limit else ""
    return f"{result.text_tokens} tokens{other}"


def describe_changes(changes: Sequence[Mapping[str, Any]]) -> str:
    """What `retention` found: the differences of two models with their paired intervals."""
    lines = [f"{changes[0]['a']} minus {changes[0]['b']}, query by query:"]
    for way, words in _WAYS.items():
        own = [one for one in changes if one["metric"].startswith(way)]
        figures = [(one["metric"].removeprefix(f"{way} "), one["difference"], one["ci95"]) for one in own]
        lines += _rows(words, figures, "{:+.1f}")
    return "\n".join(lines)


def _rows(words: str, figures: Sequence[Figure], number: str) -> list[str]:
    """The figures of one direction, in as many lines as there are kinds (`R@k`, `false R@k`, `change R@k`)."""
    kinds: dict[str, list[str]] = {}
    for name, value, (low, high) in figures:
        cell = f"{name} {number.format(value)} [{number.format(low)}, {number.format(high)}]"
        kinds.setdefault(name.rpartition(" ")[0], []).append(cell)
    return [f"  {words}: " + "  ".join(cells) for cells in kinds.values()]
