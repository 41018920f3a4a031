"""Protocols: what exactly was measured, under a name that stands beside every figure.

Published figures for one test set differ in the number of items, the text limit, how images are fitted and how ties
count; without them a figure means nothing. The first protocols below fit any data; those of a benchmark have its
expectations pinned and refuse anything else. What only looks like one test set:

- DOCCI: 5,100 items in both papers, the published test split (5,000) and 100 of the qualification test.
- DCI: 1,999 in GOAL (its paper says 2,000; its list and the steps of its percentages say 1,999), 7,602 in FAST-GOAL.
- MSCOCO, Flickr30k: five captions per image, so five times as many text queries as image queries.

No paper states how its images are fitted; the released code takes the model's own processor, and so do they all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from fastgoal.errors import ConfigError, DataError
from fastgoal.geometry import ImageFit
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.retriever import Retriever

Task = Literal["retrieval", "joint", "localisation", "classification", "robustness"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A named evaluation.

    task: which evaluator runs it.
    items: how many items the test set must have (images; sentences with a true box in localisation); None takes any.
    captions: how many captions must belong to each image in retrieval; None takes any.
    data: the benchmark, under its full name (`docci/test`), that the protocol belongs to.
    partial: take fewer items or captions than belong to the name; the result says so.
    text_tokens, image_fit: what the model must have; None takes the model's own. A model whose text limit cannot be
        stretched is measured at its own, and the result says so.
    ks: cut-offs of the metric: R@k in retrieval and robustness, mAP@k in joint, top-k in localisation and
        classification.
    ties: `pessimistic` ranks every equal score of a wrong item ahead of the right one.
    reading: how a text is read: `alone` embeds it by itself. In localisation `in-caption` pools a sentence's tokens
        within the whole caption, as TSL does in training, and a sentence beyond the text limit is a miss. In retrieval
        `sentences` takes the mean of the embeddings of a caption's sentences.
    """

    name: str
    task: Task
    items: int | None = None
    captions: int | None = None
    data: str | None = None
    partial: bool = False
    text_tokens: int | None = None
    image_fit: ImageFit | None = None
    ks: tuple[int, ...]
    ties: Literal["pessimistic"] = "pessimistic"
    reading: Literal["alone", "in-caption", "sentences"] = "alone"

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1:
            raise ConfigError(f"ks of {self.ks}", where=f"protocol {self.name}", mend="Give cut-offs of 1 or more.")

    def expect(self, task: Task, encoder: Retriever) -> None:
        """Raises ConfigError where the evaluator or the model is not what the protocol says."""
        where = f"protocol {self.name}"
        if task != self.task:
            raise ConfigError(f"made for {self.task}, not {task}", where=where, mend=f"Use {_named(task)}.")
        if task == "localisation" and not encoder.traits.projects_parts:
            what = f"{encoder.traits.title} has no projection for patches, so that it cannot localise"
            raise ConfigError(what, where=where, mend="Use a model of the CLIP family, or another task.")
        if task not in ("retrieval", "joint") and not isinstance(encoder, DualEncoder):
            what = f"{encoder.traits.title} is measured in retrieval only"
            raise ConfigError(what, where=where, mend="Use --task retrieval or joint.")
        if self.text_tokens not in (None, encoder.text_limit) and encoder.traits.stretches:
            what = f"texts of {self.text_tokens} tokens expected, but the model reads {encoder.text_limit}"
            mend = f"Load the model with text_tokens={self.text_tokens} (--tokens {self.text_tokens})."
            raise ConfigError(what, where=where, mend=mend)
        if self.image_fit not in (None, encoder.fit):
            what = f"image fit {self.image_fit} expected, but the model has {encoder.fit}"
            raise ConfigError(what, where=where, mend="Use a model with that image processor, or another protocol.")

    def expect_items(self, items: int, captions: int | None = None) -> None:
        """Raises DataError unless the test set has the number of items, and in all of captions, that belongs to the
        name; where the protocol is partial, at least one and no more."""
        where = f"protocol {self.name}"
        if not items:
            mend = "Localisation needs regions with a span." if self.task == "localisation" else "Check the data."
            raise DataError("nothing to evaluate in this data", where=where, mend=mend)
        for what, found, expected in self._counted(items, captions):
            if found == expected or (self.partial and found < expected):
                continue
            mend = "Use the protocol's own test set, or another protocol"
            mend += "." if found > expected else ", or take a part of it and say so with --allow-partial."
            raise DataError(f"{expected:,} {what} expected, but the data has {found:,}", where=where, mend=mend)

    def falls_short(self, items: int, captions: int | None = None) -> bool:
        """Whether these are fewer items or captions than belong to the name."""
        return any(found < expected for _, found, expected in self._counted(items, captions))

    def _counted(self, items: int, captions: int | None) -> list[tuple[str, int, int]]:
        """What is counted: name, found, expected."""
        if self.items is None:
            return []
        counted = [("items", items, self.items)]
        if captions is not None and self.captions is not None:
            counted.append(("captions", captions, self.items * self.captions))
        return counted


_LONG = Protocol(name="long-retrieval", task="retrieval", ks=(1, 5, 25, 50))
_SHORT = Protocol(name="short-retrieval", task="retrieval", ks=(1, 5, 10, 15))
_SENTENCES = Protocol(name="sentence-average", task="retrieval", ks=(1, 5, 25, 50), reading="sentences")
_JOINT = Protocol(name="joint", task="joint", ks=(10,))
_TOKENS = 248
"""Text limit of both papers for long captions: Long-CLIP's stretch of CLIP's 77."""
_SHORT_TOKENS = 77
"""Text limit where sentences are read one by one."""


def _pinned(like: Protocol, name: str, data: str, items: int, captions: int = 1) -> Protocol:
    own = None if like.task == "joint" else captions
    tokens = _TOKENS if captions == 1 else None
    return replace(like, name=name, data=data, items=items, captions=own, text_tokens=tokens)


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        _LONG,
        _SHORT,
        _SENTENCES,
        _JOINT,
        Protocol(name="localisation", task="localisation", ks=(1, 5, 10, 15)),
        Protocol(name="localisation-in-caption", task="localisation", ks=(1, 5, 10, 15), reading="in-caption"),
        Protocol(name="classification", task="classification", ks=(1, 5)),
        Protocol(name="robustness", task="robustness", ks=(1, 5, 25, 50)),
        _pinned(_LONG, "docci-test", "docci/test", 5100),
        _pinned(_LONG, "dci-test", "dci/test", 1999),
        _pinned(_LONG, "long-dci", "long-dci/test", 7602),
        _pinned(_LONG, "urban1k", "urban1k/test", 1000),
        _pinned(_LONG, "sharegpt4v-1k", "sharegpt4v/test", 1000),
        _pinned(_SHORT, "coco-5k", "coco/test", 5000, captions=5),
        _pinned(_SHORT, "flickr30k-1k", "flickr30k/test", 1000, captions=5),
        replace(_pinned(_SENTENCES, "docci-sentence-average", "docci/test", 5100), text_tokens=_SHORT_TOKENS),
        replace(_pinned(_SENTENCES, "long-dci-sentence-average", "long-dci/test", 7602), text_tokens=_SHORT_TOKENS),
        Protocol(name="docci-patches", task="localisation", data="docci/test", ks=(5, 10, 15), text_tokens=_TOKENS),
        _pinned(_JOINT, "docci-joint", "docci/test", 5100),
        _pinned(_JOINT, "dci-joint", "dci/test", 1999),
    )
}


def protocol_named(name: str) -> Protocol:
    """A built-in protocol; ConfigError names the closest for an unknown one."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    close = get_close_matches(name, PROTOCOLS, n=1)
    mend = f"Did you mean '{close[0]}'?" if close else f"There are: {', '.join(PROTOCOLS)}."
    raise ConfigError(f"unknown protocol '{name}'", mend=mend)


def protocol_of(data: str, task: Task) -> Protocol | None:
    """The protocol pinned for a benchmark under its full name; None where the papers report nothing on it."""
    return next((own for own in PROTOCOLS.values() if own.data == data and own.task == task), None)


def _named(task: Task) -> str:
    """The general protocols of a task."""
    return " or ".join(f"'{own.name}'" for own in PROTOCOLS.values() if own.task == task and own.data is None)
