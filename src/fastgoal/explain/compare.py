"""Several models on the same subjects, and where their heat maps point.

Shapes: S sentences, P patches, M models.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgoal.evaluation.localisation import best_rank, inside, patch_centres
from fastgoal.explain.explanation import Explanation
from fastgoal.explain.maps import explain
from fastgoal.explain.subjects import Subject
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions import make_proposer
from fastgoal.regions.region import Proposer


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A subject as each model sees it.

    hits: per model, for each sentence, whether its most similar patch lies in a true box of it; None where there is no
        such box, or no heat map. chance: of each sentence, the share of patches that would hit (by the first model's
        patches).
    """

    subject: Subject
    explanations: tuple[Explanation, ...]
    hits: tuple[tuple[bool | None, ...], ...]
    chance: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """How often a model's heat map points at the truth: sentences with a true box, those hit, and how many a patch at
    random would hit."""

    model: str
    sentences: int
    hits: int
    chance: float


def explained(
    encoders: Sequence[DualEncoder],
    subjects: Iterable[Subject],
    *,
    proposer: Proposer | None = None,
    words: bool = True,
    language: str = "en",
) -> Iterator[Explained]:
    """Each subject, explained by every model, all of which choose among the same regions.

    Args:
        proposer: of the regions; None: what stands out by colour, and the five fixed boxes.
    """
    proposer = proposer or make_proposer("flism")
    for subject in subjects:
        regions = proposer.propose([subject.image])[0]
        found = tuple(
            explain(
                encoder,
                subject.image,
                subject.caption,
                regions=regions,
                words=words,
                attention=True,
                language=language,
            )
            for encoder in encoders
        )
        judged = [_judged(encoder, subject, one) for encoder, one in zip(encoders, found, strict=True)]
        yield Explained(
            subject=subject,
            explanations=found,
            hits=tuple(hits for hits, _ in judged),
            chance=judged[0][1] if judged else (),
        )


def _judged(
    encoder: DualEncoder, subject: Subject, found: Explanation
) -> tuple[tuple[bool | None, ...], tuple[float | None, ...]]:
    """By the rule of the localisation protocol, top-1."""
    centre_P2 = patch_centres(subject.image.width, subject.image.height, encoder.fit, encoder.grid)
    hits, chance = list[bool | None](), list[float | None]()
    for sentence in found.sentences:
        boxes = subject.boxes(sentence.span)
        if not boxes or sentence.heat_GG is None:
            hits.append(None)
            chance.append(None)
            continue
        inside_P = inside(centre_P2, boxes)
        hits.append(bool(best_rank(sentence.heat_GG.reshape(1, -1), inside_P[None])[0] == 1))
        chance.append(float(inside_P.mean()))
    return tuple(hits), tuple(chance)


def pointing(every: Sequence[Explained]) -> list[Pointing]:
    """Per model, over all subjects; nothing where no sentence has a true box."""
    totals = []
    for model in range(len(every[0].explanations) if every else 0):
        hits = [hit for one in every for hit in one.hits[model] if hit is not None]
        chance = [share for one in every for share in one.chance if share is not None]
        if hits and chance:
            name = every[0].explanations[model].model
            totals.append(Pointing(model=name, sentences=len(hits), hits=sum(hits), chance=float(np.sum(chance))))
    return totals


def to_json(every: Sequence[Explained]) -> dict[str, Any]:
    """The numbers: similarities, best boxes, heat maps, words, and where maps point."""
    return {
        "subjects": [_record(one) for one in every],
        "localisation": [
            {"model": p.model, "sentences": p.sentences, "hits": p.hits, "chance": p.chance} for p in pointing(every)
        ],
    }


def _record(one: Explained) -> dict[str, Any]:
    subject = one.subject
    record: dict[str, Any] = {"id": subject.id, "width": subject.image.width, "height": subject.image.height}
    record["caption"] = subject.caption
    if subject.instead is not None:
        record["rank"], record["first"] = subject.instead.rank, subject.instead.name
    record["models"] = [_of_model(found, hits) for found, hits in zip(one.explanations, one.hits, strict=True)]
    return record


def _of_model(found: Explanation, hits: Sequence[bool | None]) -> dict[str, Any]:
    sentences = [
        {
            "span": list(sentence.span),
            "visible": sentence.visible,
            "score": sentence.score,
            "box": None if sentence.box is None else list(sentence.box),
            "heat": None if sentence.heat_GG is None else sentence.heat_GG.tolist(),
            "hit": hit,
        }
        for sentence, hit in zip(found.sentences, hits, strict=True)
    ]
    return {
        "model": found.model,
        "similarity": found.similarity,
        "view": list(found.view),
        "sentences": sentences,
        "words": [{"span": list(word.span), "weight": word.weight} for word in found.words],
        "attention": None if found.attention_GG is None else found.attention_GG.tolist(),
    }
