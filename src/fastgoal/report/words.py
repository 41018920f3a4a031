"""Facts of a report in words: shared by the page and the Markdown, so that both say the same."""

import re
from collections.abc import Mapping
from typing import Any

from fastgoal.report.input import DataFacts, ReportInput, is_base
from fastgoal.report.numbers import against, contrasts, main_measures, numbers_table, runs
from fastgoal.report.verdict import NOTE, verdict

TIES = "pessimistic: an equal score counts against the right answer"

SKIPPED = 20

GLOSSARY = {
    "R@k": "share of queries whose right answer is among the first k, in percent.",
    "mAP@10": "mean over queries of the precisions at the right answers in the first ten, per right answer there is.",
    "Joint": "the gallery holds every image and its best region; both the whole and the part of the right image count.",
    "Patch localisation": "top-k: share of sentences whose box holds the centre of one of the k most similar patches.",
    "95 % interval": "where the figure falls in 95 of 100 redraws of the test images; paired: both models together.",
    "Clear": "said of a difference only when its whole paired interval lies on one side of zero.",
    "Local pair": "one sentence of the caption with the one region of the image that fits it best.",
    "TSL": "token similarity: a region's patches and a sentence's tokens are pulled to the embeddings of both alone.",
    "Captions cut": "share of captions longer than the text limit; what lies beyond it is not read.",
    "base": "the model before any training here.",
    "global": "plain fine-tuning on whole images and whole captions.",
    "local": "fine-tuning on regions and sentences only.",
    "no-tsl": "global and local terms, without token similarity.",
    "goal": "global and local terms with token similarity.",
}


def verdict_of(report: ReportInput) -> list[str]:
    """The verdict on a report's own numbers."""
    columns = main_measures(report)
    lead = next((c for c in columns if c.kind == "retrieval" and c.direction == "t2i"), columns[0] if columns else None)
    table = numbers_table(report, [lead] if lead else [])
    told = {next((m for m in report.models if is_base(m)), None), *(m for pair in report.questions for m in pair)}
    values = {m: cell.value for m in report.models if m in told and lead and (cell := table.cell(m, lead))}
    first = runs(report.results[report.models[0]].get(lead.protocol) or {}) if lead else [{}]
    items = first[0].get("items") if first else None
    said: list[str] = []
    for subject, rival in report.questions:
        found = against(contrasts(report), subject or "", rival)
        baseline = rival if rival in report.models else None
        differences = [found[c] for c in columns if c in found]
        said += verdict(subject, baseline, differences, {} if said else values, lead, items)
    return said


def verdict_note(report: ReportInput) -> str:
    """How to read the brackets of the verdict; empty where it has none."""
    return NOTE if any("points" in sentence for sentence in verdict_of(report)) else ""


def protocol_rows(report: ReportInput) -> list[dict[str, str]]:
    """One row per protocol and set of models that ran it alike: items, text limit, what was cut, image fit, ties."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for model in report.models:
        for name, result in report.results[model].items():
            one = runs(result)[0]
            cut = one.get("truncated_share")
            facts = (
                str(one.get("protocol") or name),
                shown(one.get("items")) + (f" ({shown(one['counts'])})" if one.get("counts") else ""),
                "" if one.get("text_tokens") is None else f"{one['text_tokens']} tokens",
                "" if cut is None else percent(cut),
                fit(one.get("image_fit")),
                TIES if one.get("ties") in (None, "pessimistic") else str(one["ties"]),
            )
            rows.setdefault(facts, []).append(model)
    names = ("protocol", "items", "text", "cut", "fit", "ties")
    return [{**dict(zip(names, facts, strict=True)), "models": ", ".join(models)} for facts, models in rows.items()]


def match_facts(match: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What matching found, as label and value; what was not measured is left out."""
    if not match:
        return []
    skipped = match.get("skipped") or {}
    shares = {
        "pair_precision": "Pair precision",
        "chance": "By chance",
        "pair_iou50": "Pairs with IoU of 0.5 or more",
        "proposal_recall": "True boxes with a proposal",
    }
    facts = [
        ("Samples", _get(match, "samples")),
        ("With a local pair", _get(match, "paired")),
        ("Skipped", ", ".join(f"{count(n)} {reason}" for reason, n in skipped.items()) or "none"),
        ("Regions per image", _get(match, "regions_per_image")),
        ("Images per second", _get(match, "images_per_second")),
        *((label, percent(match[key])) for key, label in shares.items() if match.get(key) is not None),
        ("Regions chosen from", sources(match.get("sources"))),
    ]
    return [(label, value) for label, value in facts if value]


def skipped_samples(match: Mapping[str, Any] | None) -> list[str]:
    """The first samples that matching left out, each with its reason."""
    named = (match or {}).get("skipped_samples") or ()
    return [": ".join(str(part) for part in sample.values()) for sample in list(named)[:SKIPPED]]


def data_facts(data: DataFacts | None) -> list[tuple[str, str]]:
    """Counts per split and caption lengths, as label and value."""
    if data is None:
        return []
    names = {"train": "Training samples", "val": "Validation samples", "test": "Test samples"}
    lengths = [("mean", data.tokens_mean), ("median", data.tokens_median), ("longest", data.tokens_max)]
    tokens = ", ".join(f"{label} {value:,.0f}" for label, value in lengths if value is not None)
    facts = [*((names.get(k, k), count(v)) for k, v in data.splits.items()), ("Caption tokens", tokens)]
    over = [] if data.share_over_77 is None else [("Captions over 77 tokens", percent(data.share_over_77))]
    return [(label, value) for label, value in [*facts, *over] if value]


def glossary(report: ReportInput) -> dict[str, str]:
    """The terms this report uses, one line each."""
    methods = {"base", "global", "local", "no-tsl", "goal"}
    used = {m for name in report.models for m in methods if name == m or name.startswith(f"{m} ")}
    return {term: text for term, text in GLOSSARY.items() if term not in methods or term in used}


def fit(found: Any) -> str:
    """An image fit as `crop 224` (how, and to how many pixels)."""
    return f"{found['mode']} {found['size']}" if isinstance(found, Mapping) and "mode" in found else shown(found)


def sources(found: Any) -> str:
    """`detector 61 %, fixed 39 %` from counts, or from shares that add up to one."""
    if not isinstance(found, Mapping) or not found:
        return shown(found) if found else ""
    total = sum(found.values()) or 1
    return ", ".join(f"{name} {percent(n / total)}" for name, n in found.items())


def shorten(text: str, limit: int, *, end: bool) -> str:
    """At most `limit` characters, cut at a word: the first ones (`end`: the end is dropped) or the last ones."""
    if len(text) <= limit:
        return text
    if end:
        head, space, _ = text[:limit].rpartition(" ")
        return (head if space else text[:limit]) + " …"
    _, space, tail = text[-limit:].partition(" ")
    return "… " + (tail if space else text[-limit:])


def tied(text: str) -> str:
    """Numbers tied to their units, and intervals in one piece, by no-break spaces."""
    text = re.sub(r"(?<=\d) (?=points|%)", "\u00a0", text)
    return re.sub(r"(?<=\d) to (?=[+−\d])", "\u00a0to\u00a0", text)


def seconds(value: float) -> str:
    """`0.8 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def percent(share: float) -> str:
    """A share in 0..1 as percent, with a digit where it is needed."""
    return f"{100 * share:.1f} %".replace(".0 %", " %")


def count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else shown(value)


def shown(value: Any) -> str:
    """A setting as a person would write it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}".replace("e-0", "e-")
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(inner)}" for key, inner in value.items())
    return ", ".join(shown(v) for v in value) if isinstance(value, list | tuple) else str(value)


def _get(match: Mapping[str, Any], key: str) -> str:
    value = match.get(key)
    return f"{value:,.1f}" if isinstance(value, float) else shown(value)
