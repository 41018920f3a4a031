"""An audit in words: what the data is, what is wrong with it, and whether training could start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastgoal.checking.audit import Audit
from fastgoal.checking.captions import TRAINED, CaptionFacts, Spread
from fastgoal.checking.findings import Finding, Weight
from fastgoal.checking.language import NAMES, UNKNOWN
from fastgoal.data.source import EXPECTED
from fastgoal.data.splits import LEAST

SHOWN = 3
"""Troubles of a kind that are named before the rest is counted."""
FEWEST = 2
"""Samples below which there is nothing to contrast."""
_HEADINGS: dict[Weight, str] = {
    "left out": "Left out of training",
    "mended": "Mended by --fix",
    "look": "Worth a look",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """ready: whether training could start. reason: why, or why not. text: everything, for the terminal."""

    ready: bool
    reason: str
    text: str


def tell(found: Audit, across: Sequence[Finding] = (), language: str = "en") -> Verdict:
    """What an audit found, in words.

    Args:
        across: what other splits share with this one.
        language: that sentences were cut by.
    """
    ready, reason = _reason(found)
    findings = [*found.findings, *across]
    blocks = [_facts(found, language), *(_block(weight, findings) for weight in _HEADINGS), [reason]]
    return Verdict(ready=ready, reason=reason, text="\n\n".join("\n".join(lines) for lines in blocks if lines))


def _reason(found: Audit) -> tuple[bool, str]:
    if not found.records:
        return False, f"Training cannot start: there is nothing here. {EXPECTED}"
    if found.opened and not found.pictures:
        return False, f"Training cannot start: none of the {found.opened:,} images that were opened can be used."
    if found.usable < FEWEST:
        return False, f"Training cannot start: {_count(found.usable, 'usable sample')}; it takes two to contrast."
    text = f"Training can start: {_count(found.usable, 'usable sample')} of {_count(found.records, 'record')}."
    if found.opened < found.images:
        text += f" {found.images - found.opened:,} images were not opened."
    if found.images < LEAST:
        text += f" `fastgoal run` wants {LEAST} images, to split them; `match` and `train` take fewer."
    return True, text


def _facts(found: Audit, language: str) -> list[str]:
    rows = {
        "samples": _samples(found),
        "captions": _tokens(found.captions),
        "sentences": _sentences(found.captions, language),
        "language": _language(found.captions, language),
        "images": _sizes(found),
        "files": found.pictures and f"{_names(found.pictures.formats)}; modes {_names(found.pictures.modes)}",
    }
    return [f"{found.source.name}: {found.shape}", *(f"  {name:<10}{text}" for name, text in rows.items() if text)]


def _samples(found: Audit) -> str:
    text = f"{found.samples:,} of {_count(found.records, 'record')}; {_count(found.images, 'image')}"
    per = found.per_image
    if per is None:
        return text
    if per.least == per.most:
        return f"{text} with {_count(per.most, 'caption')} each"
    return f"{text} with {per.least} to {per.most} captions (median {per.median:g})"


def _tokens(facts: CaptionFacts) -> str | None:
    if facts.tokens is None:
        return None
    limits = ", ".join(f"{share:.1%} over {limit}{_whose(limit, facts)}" for limit, share in facts.over.items())
    return f"{_spread(facts.tokens)} tokens of {facts.model}; {limits}"


def _whose(limit: int, facts: CaptionFacts) -> str:
    return f" ({facts.model}'s limit)" if limit == facts.limit else ""


def _spread(spread: Spread) -> str:
    return f"mean {spread.mean:.1f}, median {spread.median:g}, 95 % at most {spread.p95:g}, longest {spread.most:,}"


def _sentences(facts: CaptionFacts, language: str) -> str | None:
    spread = facts.sentences
    if spread is None:
        return None
    return f"{spread.least} to {spread.most} per caption (median {spread.median:g}), cut as {language}"


def _language(facts: CaptionFacts, language: str) -> str | None:
    """The guesses; a warning where most captions are in another language than the model's, or than sentences are cut
    by."""
    if not facts.measured:
        return None
    shares = {NAMES[guess]: count / facts.measured for guess, count in facts.languages.items()}
    text = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    text += " (guessed from script and little words"
    text += f"; this and the two lines above: {facts.measured:,} captions drawn evenly)" if facts.sampled else ")"
    known = [guess for guess in facts.languages if guess != UNKNOWN]
    if known and known[0] != TRAINED:
        text += f"\n            CLIP's models and tiny know English only; the captions seem to be {NAMES[known[0]]}"
    if known and known[0] != language:
        text += f"\n            sentences were cut as {language}; try --language {known[0]}"
    return text


def _sizes(found: Audit) -> str:
    facts = found.pictures
    if facts is None:
        return "not opened" if not found.opened else f"none of {found.opened:,} can be used"
    sizes = [f"{width} x {height}" for width, height in (facts.smallest, facts.median, facts.largest)]
    text = f"{facts.usable:,} of {found.opened:,} opened can be used; "
    if facts.smallest == facts.largest:
        return text + f"all {sizes[0]} pixels"
    return text + f"smallest {sizes[0]}, median {sizes[1]}, largest {sizes[2]} pixels"


def _names(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _block(weight: Weight, findings: Sequence[Finding]) -> list[str]:
    lines = [line for found in findings if found.weight == weight for line in _lines(found)]
    return [f"{_HEADINGS[weight]}:", *lines] if lines else []


def _lines(found: Finding) -> list[str]:
    """The kind, its first few with their mend (said once where it is the same), and the count of the rest."""
    shown = found.examples[:SHOWN]
    rest = found.count - len(shown)
    mends = {error.mend for error in shown}
    heading = shown[0].what if found.count == 1 else found.kind
    lines = []
    for error in shown:
        what = "" if error.what == heading else f": {error.what}"
        lines.append(f"    {error.where}{what}" + (f". {error.mend}" if len(mends) > 1 else ""))
    lines += [f"    and {rest:,} more"] * bool(rest)
    lines += [f"    -> {mend}" for mend in mends if mend and len(mends) == 1]
    return [f"  {found.count:,} x {heading}", *lines]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
