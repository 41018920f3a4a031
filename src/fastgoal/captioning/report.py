"""What captioning made: counts over all lines of a journal, those of earlier runs too."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from fastgoal.captioning.captioner import Captioner
from fastgoal.captioning.journal import LEFT_OUT, TABLE, Journal
from fastgoal.errors import DataError

NAMED = 20
"""How many images without a caption a report names."""


@dataclass(frozen=True, kw_only=True)
class CaptionReport:
    """What captioning made.

    images, captioned: how many there were, and have a caption. left_out: reason -> count, left_out_images the first.
    dropped_sentences: captions that lost an unfinished last sentence to the token limit; unfinished: captions that
        consist of one. words_mean: of the captions, as split at white space.
    seconds, images_per_second: of the run that finished, without what was already done.
    """

    captioner: str
    architecture: str
    fingerprint: str
    prompt: str
    settings: dict[str, Any]
    images: int
    captioned: int
    left_out: dict[str, int] = field(default_factory=dict)
    left_out_images: list[dict[str, str]] = field(default_factory=list)
    dropped_sentences: int
    unfinished: int
    words_mean: float
    seconds: float
    images_per_second: float
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summarise(journal: Journal, captioner: Captioner, images: int, *, done: int, seconds: float) -> CaptionReport:
    """Count a journal's lines.

    Args:
        images: all of them, of which `done` were finished before this run, which took `seconds`.

    Raises:
        DataError: there is no caption at all.
    """
    words = captioned = dropped = unfinished = 0
    for record in journal.records(TABLE):
        captioned += 1
        words += len(record["caption"].split())
        dropped += "dropped" in record
        unfinished += "unfinished" in record
    left = list(journal.records(LEFT_OUT))
    if not captioned:
        what = f"0 of {images} images could be captioned (first: {left[0]['where']}: {left[0]['what']})"
        raise DataError(what, where=journal.folder, mend=str(left[0]["mend"]))
    settings = {name: value for name, value in journal.origin.items() if name not in ("captioner", "prompt")}
    return CaptionReport(
        captioner=captioner.name,
        architecture=captioner.architecture,
        fingerprint=journal.origin["captioner"],
        prompt=journal.origin["prompt"],
        settings=settings,
        images=images,
        captioned=captioned,
        left_out=dict(Counter(record["what"] for record in left)),
        left_out_images=[{"where": record["where"], "reason": record["what"]} for record in left[:NAMED]],
        dropped_sentences=dropped,
        unfinished=unfinished,
        words_mean=words / captioned,
        seconds=seconds,
        images_per_second=(images - done) / max(seconds, 1e-9),
        versions={name: version(name) for name in ("fastgoal", "torch", "transformers")},
    )
