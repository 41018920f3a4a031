"""Several models on the same subjects, and where their heat maps point.

Shapes: S sentences, P patches, G x G of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from fastgoal.evaluation.localisation import best_rank, inside, patch_centres
from fastgoal.explain.explanation import Explanation, Floats
from fastgoal.explain.maps import explain, patch_box
from fastgoal.explain.subjects import Subject
from fastgoal.geometry import Box
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions import make_proposer
from fastgoal.regions.region import Proposer

KEPT = 1000
"""Longest side, in pixels, of the images that are kept to be drawn: a list of photographs would fill the memory."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The heat map of a sentence that has a true box. hit: its most similar patch is centred in one. chance: the share
    of patches that are."""

    hit: bool
    chance: float


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A subject as each model sees it.

    judged: per model, for each sentence; None where there is no true box, or no heat map.
    instead_scores: of what came first in the place of a worst case, by the last model: each sentence's similarity with
        its best region there; empty without.
    """

    subject: Subject
    explanations: tuple[Explanation, ...]
    judged: tuple[tuple[Judged | None, ...], ...]
    instead_scores: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """How often a model's heat maps point at the truth: sentences with a true box, those hit, and how many of them a
    patch at random would hit."""

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
        image, caption = subject.image, subject.caption
        regions = proposer.propose([image])[0]
        found = tuple(
            explain(encoder, image, caption, regions=regions, words=words, attention=True, language=language)
            for encoder in encoders
        )
        scores: tuple[float, ...] = ()
        if subject.instead is not None and subject.instead.image is not None:
            other = subject.instead.image
            theirs = explain(encoders[-1], other, caption, regions=proposer.propose([other])[0], language=language)
            scores = tuple(sentence.score for sentence in theirs.sentences)
        yield Explained(
            subject=replace(subject, image=_small(image)),
            explanations=found,
            judged=tuple(judge(encoder, subject, one) for encoder, one in zip(encoders, found, strict=True)),
            instead_scores=scores,
        )


def judge(encoder: DualEncoder, subject: Subject, found: Explanation) -> tuple[Judged | None, ...]:
    """Where each sentence's heat map points, by the rule of the localisation protocol, top-1."""
    centre_P2 = patch_centres(found.width, found.height, encoder.fit, encoder.grid)
    return tuple(
        None if sentence.heat_GG is None else _judge(sentence.heat_GG, centre_P2, subject.boxes(sentence.span))
        for sentence in found.sentences
    )


def _judge(heat_GG: Floats, centre_P2: Any, boxes: Sequence[Box]) -> Judged | None:
    if not boxes:
        return None
    inside_P = inside(centre_P2, boxes)
    rank = int(best_rank(heat_GG.reshape(1, -1), inside_P[None])[0])
    return Judged(hit=rank == 1, chance=float(inside_P.mean()))


def top_patch(found: Explanation, index: int) -> Box | None:
    """The patch that is most like a sentence, in pixels of the image; None without a heat map."""
    heat_GG = found.sentences[index].heat_GG
    return None if heat_GG is None else patch_box(found.view, len(heat_GG), int(heat_GG.argmax()))


def pointing(every: Sequence[Explained]) -> list[Pointing]:
    """Per model, over all subjects; nothing where no sentence has a true box and a heat map."""
    totals = []
    for column, first in enumerate(every[0].explanations if every else ()):
        judged = [one for each in every for one in each.judged[column] if one is not None]
        if judged:
            hits, chance = sum(one.hit for one in judged), sum(one.chance for one in judged)
            totals.append(Pointing(model=first.model, sentences=len(judged), hits=hits, chance=chance))
    return totals


def _small(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((KEPT, KEPT), Image.Resampling.LANCZOS)
    return small


def to_json(every: Sequence[Explained]) -> dict[str, Any]:
    """The numbers: similarities, best regions, most similar patches, words, and where maps point."""
    return {"subjects": [_record(one) for one in every], "localisation": [vars(row) for row in pointing(every)]}


def _record(one: Explained) -> dict[str, Any]:
    subject, first = one.subject, one.explanations[0]
    record: dict[str, Any] = {"id": subject.id, "width": first.width, "height": first.height}
    record["caption"] = subject.caption
    if subject.instead is not None:
        record["instead"] = {
            "id": subject.instead.name,
            "ranks": list(subject.instead.ranks),
            "gallery": subject.instead.gallery,
            "scores": list(one.instead_scores),
        }
    record["models"] = [_of_model(found, own) for found, own in zip(one.explanations, one.judged, strict=True)]
    return record


def _of_model(found: Explanation, judged: Sequence[Judged | None]) -> dict[str, Any]:
    sentences = [
        {
            "span": list(sentence.span),
            "visible": sentence.visible,
            "score": sentence.score,
            "box": None if sentence.box is None else list(sentence.box),
            "patch": None if (patch := top_patch(found, index)) is None else list(patch),
            "patch_score": None if sentence.heat_GG is None else float(sentence.heat_GG.max()),
            "hit": None if own is None else own.hit,
            "chance": None if own is None else own.chance,
        }
        for index, (sentence, own) in enumerate(zip(found.sentences, judged, strict=True))
    ]
    return {
        "model": found.model,
        "similarity": found.similarity,
        "view": list(found.view),
        "sentences": sentences,
        "words": [{"span": list(word.span), "weight": word.weight} for word in found.words],
    }
