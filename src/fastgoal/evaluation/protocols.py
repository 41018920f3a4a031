"""Protocols: what exactly was measured, under a name that stands beside every figure.

Published figures for one test set differ in the number of items, the text limit, how images are fitted and how ties
count; without them a figure means nothing. The built-in protocols fit any data; a published one is one of these
with its expectations pinned:

    docci = replace(PROTOCOLS["long-retrieval"], name="docci-test", items=5100, text_tokens=248)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from fastgoal.errors import ConfigError, DataError
from fastgoal.geometry import ImageFit
from fastgoal.models.retriever import Retriever

Task = Literal["retrieval", "joint", "localisation"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A named evaluation.

    task: which evaluator runs it.
    items: how many items the test set must have (images; sentences with a true box in localisation); None takes any.
    text_tokens, image_fit: what the model must have; None takes the model's own.
    ks: cut-offs of the metric: R@k in retrieval, mAP@k in joint, top-k in localisation.
    ties: `pessimistic` ranks every equal score of a wrong item ahead of the right one.
    reading: how localisation reads a sentence: `alone` embeds it by itself; `in-caption` pools its tokens within the
        whole caption, as TSL does in training, and a sentence beyond the text limit is a miss.
    """

    name: str
    task: Task
    items: int | None = None
    text_tokens: int | None = None
    image_fit: ImageFit | None = None
    ks: tuple[int, ...]
    ties: Literal["pessimistic"] = "pessimistic"
    reading: Literal["alone", "in-caption"] = "alone"

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
        if self.text_tokens not in (None, encoder.text_limit):
            what = f"texts of {self.text_tokens} tokens expected, but the model reads {encoder.text_limit}"
            raise ConfigError(what, where=where, mend=f"Load the model with text_tokens={self.text_tokens}.")
        if self.image_fit not in (None, encoder.fit):
            what = f"image fit {self.image_fit} expected, but the model has {encoder.fit}"
            raise ConfigError(what, where=where, mend="Use a model with that image processor, or another protocol.")

    def expect_items(self, items: int) -> None:
        """Raises DataError unless the test set has the number of items that belongs to the name."""
        if not items:
            mend = "Localisation needs regions with a span." if self.task == "localisation" else "Check the data."
            raise DataError("nothing to evaluate in this data", where=f"protocol {self.name}", mend=mend)
        if self.items not in (None, items):
            what = f"{self.items:,} items expected, but the data has {items:,}"
            raise DataError(
                what, where=f"protocol {self.name}", mend="Use the protocol's own test set, or another protocol."
            )


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(name="long-retrieval", task="retrieval", ks=(1, 5, 25, 50)),
        Protocol(name="short-retrieval", task="retrieval", ks=(1, 5, 10, 15)),
        Protocol(name="joint", task="joint", ks=(10,)),
        Protocol(name="localisation", task="localisation", ks=(1, 5, 10, 15)),
        Protocol(name="localisation-in-caption", task="localisation", ks=(1, 5, 10, 15), reading="in-caption"),
    )
}


def protocol_named(name: str) -> Protocol:
    """A built-in protocol; ConfigError names the closest for an unknown one."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    close = get_close_matches(name, PROTOCOLS, n=1)
    mend = f"Did you mean '{close[0]}'?" if close else f"There are: {', '.join(PROTOCOLS)}."
    raise ConfigError(f"unknown protocol '{name}'", mend=mend)


def _named(task: Task) -> str:
    return " or ".join(f"'{name}'" for name, protocol in PROTOCOLS.items() if protocol.task == task)
