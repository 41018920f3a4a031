"""The report as Markdown: the same verdict, table and facts as the page, without pictures."""

import re
from collections.abc import Iterable, Sequence

from fastgoal.report import between, words
from fastgoal.report.input import ReportInput
from fastgoal.report.numbers import Contrast, Estimate, contrasts, measures, numbers_table
from fastgoal.report.verdict import WORDS, signed


def markdown(report: ReportInput) -> str:
    """The whole report as one Markdown text."""
    parts = [
        f"# {escape(report.title)}",
        " ".join(escape(sentence) for sentence in words.verdict_of(report)),
        *filter(None, [words.verdict_note(report)]),
        *(f"**Mind:** {escape(doubt)}" for doubt in report.doubts),
        *_between(report),
        *_duels(report),
        *_numbers(report),
        *_paired(report),
        *_facts("Data", words.data_facts(report.data)),
        *_facts("Matching", words.match_facts(report.match)),
        *_made(report),
        *_protocols(report),
        *_facts("Glossary", words.glossary(report).items()),
    ]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text from outside, safe inside a Markdown line or table cell: no HTML, no markup, no line break."""
    text = re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the cells are escaped already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(estimate: Estimate | None) -> str:
    """`**62.3** (58.1 to 66.4)`."""
    if estimate is None:
        return ""
    value = f"**{estimate.value:.1f}**" if estimate.best else f"{estimate.value:.1f}"
    spread = "" if estimate.deviation is None else f" ± {estimate.deviation:.1f}"
    return value + spread + ("" if estimate.low is None else f" ({estimate.low:.1f} to {estimate.high:.1f})")


def _numbers(report: ReportInput) -> list[str]:
    numbers = numbers_table(report, measures(report))
    rows = [[escape(m.label), *(cell(numbers.cell(model, m)) for model in numbers.models)] for m in numbers.measures]
    note = (
        "In percent, with 95 % intervals. Bold: the best of its row, where its paired interval against the others is "
        "clear of zero."
    )
    return ["## Numbers", table(["", *(escape(m) for m in numbers.models)], rows), note]


def _between(report: ReportInput) -> list[str]:
    found = between.side_by_side(report)
    if found is None or not found["rows"]:
        return []
    rows = [
        [
            escape(row["measure"].label),
            cell(row["baseline"]),
            *(_judged(c["cell"], c["contrast"]) for c in row["cells"]),
        ]
        for row in found["rows"]
    ]
    note = (
        "Behind each figure: its difference to the first column, in points on the same queries, and its 95 % interval."
    )
    return ["## Side by side", table(["", *(escape(m) for m in (found["baseline"], *found["rivals"]))], rows), note]


def _judged(estimate: Estimate | None, contrast: Contrast | None) -> str:
    value = "" if estimate is None else f"{estimate.value:.1f}"
    return f"{value}; not compared" if contrast is None else f"{value}; {_points(contrast)} {WORDS[contrast.sign]}"


def _points(contrast: Contrast) -> str:
    bounds = contrast.low, contrast.high
    ends = "" if bounds[0] is None or bounds[1] is None else f" ({signed(bounds[0])} to {signed(bounds[1])})"
    return signed(contrast.difference) + ends


def _duels(report: ReportInput) -> list[str]:
    parts = [] if not report.duels else ["## Where they differ most"]
    for duel in report.duels:
        parts.append(escape(between.summary(duel)))
        for title, examples in between.groups(duel):
            lines = [
                f"- {escape(words.shorten(example.query, between.CAPTION, end=True))} ({escape(example.name)}): "
                + "; ".join(f"{escape(m)} {escape(between.first_in_words(example, m))}" for m in (duel.b, duel.a))
                for example in examples
            ]
            parts += [f"### {escape(title)}", "\n".join(lines)]
    return parts


def _paired(report: ReportInput) -> list[str]:
    every = contrasts(report)
    if not every:
        return []
    rows = [
        [escape(f"{c.a} − {c.b}"), escape(c.measure.label), signed(c.difference),
         "" if c.low is None or c.high is None else f"{signed(c.low)} to {signed(c.high)}",
         {"above": "better", "below": "worse"}.get(c.sign, WORDS[c.sign])]
        for c in every
    ]  # fmt: skip
    return ["## Paired differences", table(["models", "figure", "points", "95 % interval", ""], rows)]


def _facts(title: str, facts: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"- {escape(label)}: {escape(value)}" for label, value in facts]
    return [f"## {title}", "\n".join(lines)] if lines else []


def _made(report: ReportInput) -> list[str]:
    facts = [
        *((f"time for {stage}", words.seconds(value)) for stage, value in report.stages.items()),
        *(("hardware", value) for value in [report.hardware] if value),
        *report.versions.items(),
        *((key, words.shown(value)) for key, value in report.settings.items()),
    ]
    facts += [("chosen for this data", "; ".join(report.reasons))] * bool(report.reasons)
    if not report.commands:
        return _facts("How it was made", facts)
    # Indented code: nothing inside a command can close it, as a fence could.
    code = "\n".join(f"    {line}" for command in report.commands for line in command.splitlines())
    return ["## How it was made", code, *_facts("", facts)[1:]]


def _protocols(report: ReportInput) -> list[str]:
    names = ("protocol", "models", "items", "text", "cut", "fit", "ties")
    rows = [[escape(row[name]) for name in names] for row in words.protocol_rows(report)]
    return [
        "## Protocols",
        table(["protocol", "models", "items", "text limit", "captions cut", "image fit", "ties"], rows),
    ]
