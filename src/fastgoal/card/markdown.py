"""A data set card in the hub's form: YAML metadata, then what a reader wants to know, in one screen.

What only the author can know, the licences above all, stays a TODO that cannot be overlooked; the metadata, which the
hub checks, says `unknown` there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from fastgoal.card.facts import DataFacts, LocalFacts, Similarity
from fastgoal.checking.captions import Spread
from fastgoal.checking.language import UNKNOWN
from fastgoal.hub import UNKNOWN as UNKNOWN_LICENCE
from fastgoal.hub import front_matter

TODO = "TODO"
_SIZES = (
    *((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")),
    *((10**8, "10M<n<100M"), (10**9, "100M<n<1B")),
)
_ABOVE = "1B<n<10B"
Row = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Licences:
    """Hub identifiers (such as cc-by-4.0) or words, of the collection, its images, its captions; "" leaves a TODO."""

    collection: str = ""
    images: str = ""
    captions: str = ""


def data_card(facts: DataFacts, licences: Licences, *, name: str = "", language: str = "") -> str:
    """README.md of a data set.

    Args:
        name: for people; default: the folder's. language: of the captions (ISO 639); default: as guessed from them.
    """
    title = name or facts.name
    parts = [
        _front_matter(facts, licences, title, language or _guessed(facts)),
        f"# {title}",
        _opening(facts),
        "## Statistics",
        _table(_statistics(facts)),
        "## Where it comes from",
        _table(_provenance(facts)),
        *_question(facts.captioner),
        "## Licences",
        _table(_licences(licences)),
        "## Use",
        _use(facts),
        "## Limits",
        _limits(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: DataFacts, licences: Licences, title: str, language: str) -> str:
    tags = ["long-captions", "image-text-retrieval", "clip", "fastgoal"] + ["synthetic"] * bool(facts.captioner)
    metadata = {
        "pretty_name": title,
        "license": licences.collection or UNKNOWN_LICENCE,
        "language": [language],
        "task_categories": ["image-to-text", "text-to-image"],
        "size_categories": [next((name for most, name in _SIZES if facts.samples < most), _ABOVE)],
        "annotations_creators": ["machine-generated"] * bool(facts.captioner),
        "tags": tags,
        "configs": [{"config_name": "default", "data_files": "shard-*.parquet"}] if facts.local else [],
    }
    return front_matter(metadata)


def _guessed(facts: DataFacts) -> str:
    return next((name for name in facts.captions.languages if name != UNKNOWN), "en")


def _opening(facts: DataFacts) -> str:
    images = "" if facts.images == facts.samples else f" of {facts.images:,} images"
    words = f", {facts.words.mean:.0f} words on average" if facts.words else ""
    text = f"{facts.samples:,} long captions{images or ', each of one image'}{words}"
    if facts.captioner:
        text += f", written by `{facts.captioner['captioner']}`"
    if facts.local is None:
        return f"{text}."
    return (
        f"{text}. Every caption is cut into sentences and every image has candidate regions; for "
        f"{facts.local.paired:,} samples the sentence and the region that fit best are marked as local pair, for "
        "training as in GOAL (arXiv 2503.17782) and FAST-GOAL (arXiv 2605.26615)."
    )


def _statistics(facts: DataFacts) -> Iterable[Row]:
    captions = facts.captions
    yield "samples", f"{facts.samples:,}"
    yield "images", f"{facts.images:,}"
    yield "words per caption", _spread(facts.words)
    part = f"; {captions.measured:,} captions measured" if captions.sampled else ""
    yield f"tokens per caption (`{captions.model}`)", f"{_spread(captions.tokens)}{part}"
    for limit, share in captions.over.items():
        yield f"captions over {limit} tokens", f"{share:.1%}"
    yield "sentences per caption", _spread(captions.sentences)
    yield "image-text similarity (cosine)", _similarity(facts.similarity)
    if facts.local is not None:
        yield from _local(facts.local, facts.samples)
    for reason, count in facts.skipped.items():
        yield "not usable", f"{count:,}: {reason}"
    if facts.captioner:
        for reason, count in facts.captioner["left_out"].items():
            yield "left out when captioning", f"{count:,}: {reason}"


def _local(local: LocalFacts, samples: int) -> Iterable[Row]:
    yield "regions per image", f"{local.regions_per_image:.1f} ({_shares(local.region_sources)})"
    yield "samples with a local pair", f"{local.paired:,} ({local.paired / max(1, samples):.1%})"
    if local.similarity is not None:
        yield "regions of these pairs", _shares(local.pair_sources)
        yield "similarity of these pairs (cosine, by the matcher)", f"{local.similarity:.4f}"


def _provenance(facts: DataFacts) -> Iterable[Row]:
    yield "images", f"{TODO}: where they come from, and who took them"
    if (made := facts.captioner) is not None:
        settings = ", ".join(f"{name} {value}" for name, value in made["settings"].items())
        source = f"`{made['captioner']}` ({made['architecture']}, fingerprint `{made['fingerprint']}`)"
        yield "captions", f"{source}; {settings}"
    else:
        yield "captions", f"{TODO}: who or what wrote them"
    if facts.local is not None:
        known = facts.similarity
        name = f"`{known.model}`, " if known and known.fingerprint == facts.local.matcher else ""
        yield "matcher", f"{name}fingerprint `{facts.local.matcher}`, rule {facts.local.rule}"
        yield "regions", f"`{_cell(facts.local.detector)}`"
    yield "card and table made with", f"fastgoal {version('fastgoal')}"


def _licences(licences: Licences) -> Iterable[Row]:
    yield "collection", licences.collection or f"{TODO}: of the collection as a whole"
    yield "images", licences.images or f"{TODO}: of the images, and whether they may be passed on"
    yield "captions", licences.captions or f"{TODO}: of the captions (a captioner's own licence may bind them)"


def _use(facts: DataFacts) -> str:
    if facts.local is None:
        return f"```bash\nfastgoal match {facts.name} --out pairs --matcher MODEL\n```"
    return (
        f"```bash\nfastgoal train {facts.name} --model MODEL --out run\n```\n\nThe table is Parquet: `id`, `image` "
        "(relative to the root that `manifest.json` names), `width`, `height`, `caption`, `sentences` (`[start, end)` "
        "in characters), `regions` (box in pixels of the upright image, source, score, label), `pairs` (sentence, "
        "region, similarity; best first), `skip`."
    )


def _limits(facts: DataFacts) -> str:
    lines: list[str] = []
    if facts.captioner:
        lines.append("A model wrote the captions: they may name what is not there, and nobody has read them all.")
        cut, amid = facts.captioner["dropped_sentences"], facts.captioner["unfinished"]
        if cut or amid:
            lines.append(f"At its token limit {cut:,} lost an unfinished last sentence, and {amid:,} end amid one.")
    if facts.local is not None:
        lines.append("Local pairs were chosen by similarity, not by people: the sentence may speak of something else.")
    if facts.similarity is not None and facts.similarity.model == "tiny":
        lines.append("`tiny` was trained on drawn scenes; its similarities say nothing about photographs.")
    return " ".join([*lines, f"{TODO}: what the images show and do not show, and people in them."])


def _similarity(similarity: Similarity | None) -> str:
    if similarity is None:
        return "not measured"
    cut = f"; {similarity.cut_share:.0%} of them cut at {similarity.tokens} tokens" if similarity.cut_share else ""
    return (
        f"mean {similarity.mean:.4f}, standard deviation {similarity.deviation:.4f}, of {similarity.samples:,} "
        f"samples by `{similarity.model}`{cut}"
    )


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "none"
    middle = f"mean {spread.mean:.1f}, median {spread.median:g}, 95 % at most {spread.p95:g}"
    return f"{middle}, {spread.least} to {spread.most}"


def _shares(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count / total:.0%}" for name, count in ordered) or "none"


def _question(captioner: Mapping[str, Any] | None) -> list[str]:
    return [f"The captioner was asked: *{captioner['prompt']}*"] if captioner and captioner["prompt"] else []


def _table(rows: Iterable[Row]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
