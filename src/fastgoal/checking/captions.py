"""The captions of a data set in figures: how many tokens and sentences, and in which language.

Counting tokens costs more than all the rest of reading a row, so beyond `MEASURED` captions it is done for that many,
drawn evenly from the whole; everything else looks at every caption.
"""

import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgoal.checking.findings import Tally
from fastgoal.checking.language import NAMES, UNKNOWN, guess_language
from fastgoal.data.samples import Sample
from fastgoal.data.sentences import split_sentences
from fastgoal.errors import DataError

MEASURED = 50_000
"""Captions whose tokens and sentences are counted and whose language is guessed."""
TRAINED = "en"
"""The language that CLIP's models and `tiny` were trained on."""
LIMITS = (77, 248)
"""Text limits that captions are compared with besides the model's own: CLIP's, and the one `fastgoal run` stretches
to."""
_BATCH = 512
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffd]")
"""Characters that no caption means: control characters but tab and line ends, stray byte order marks, and the sign
that stands in the place of a character lost in conversion."""


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """The side of a model that reads captions. limit: most tokens of a text, begin and end included."""

    name: str
    tokenizer: Any
    limit: int

    def count(self, captions: Sequence[str]) -> list[int]:
        """Tokens of each caption, begin and end included and nothing cut off."""
        encoded = self.tokenizer(list(captions), truncation=False, padding=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Some whole numbers in five. p95: 95 % of them are at most this."""

    least: int
    mean: float
    median: float
    p95: float
    most: int

    @classmethod
    def of(cls, value_N: npt.ArrayLike) -> "Spread | None":
        """None if there are no numbers."""
        value_N = np.asarray(value_N)
        if not value_N.size:
            return None
        return cls(
            least=int(value_N.min()),
            mean=round(float(value_N.mean()), 2),
            median=float(np.median(value_N)),
            p95=float(np.percentile(value_N, 95, method="inverted_cdf")),
            most=int(value_N.max()),
        )


@dataclass(frozen=True, kw_only=True)
class CaptionFacts:
    """What the captions are like.

    measured: captions that the rest is about; sampled: they are not all. over: text limit -> share of captions with
    more tokens. languages: guess -> captions, most frequent first.
    """

    model: str
    limit: int
    measured: int
    sampled: bool
    tokens: Spread | None
    over: Mapping[int, float]
    sentences: Spread | None
    languages: Mapping[str, int]


class CaptionMeter:
    """Measures captions one by one.

    Args:
        model: whose tokens are counted.
        language: that sentences are cut by (ISO 639).
        tally: where troubles are counted.
    """

    def __init__(self, model: TextModel, language: str, tally: Tally) -> None:
        self._model, self._language, self._tally = model, language, tally
        self._tokens, self._sentences = array("I"), array("I")
        self._languages: Counter[str] = Counter()
        self._sampled = False
        self._waiting: list[str] = []

    def add(self, sample: Sample, measure: bool) -> None:
        """Look at a sample's caption; count its tokens and so on only where asked to `measure`."""
        if found := CONTROL.search(sample.caption):
            what = f"control character U+{ord(found[0]):04X} at character {found.start()} of the caption"
            mend = "Replace it by what was meant, or by a space; --fix writes spaces."
            self._tally.add("mended", DataError(what, where=sample.where, mend=mend), "control characters in a caption")
        if not measure:
            self._sampled = True
            return
        self._waiting.append(sample.caption)
        if len(self._waiting) == _BATCH:
            self._count()
        self._sentences.append(len(split_sentences(sample.caption, self._language)))
        guess = guess_language(sample.caption)
        self._languages[guess] += 1
        if guess not in (TRAINED, UNKNOWN):
            what = f"the caption seems to be {NAMES[guess]}"
            mend = "Translate it, or use a model that was trained on its language: CLIP's and `tiny` know English only."
            kind = "the caption does not seem to be English (a guess)"
            self._tally.add("look", DataError(what, where=sample.where, mend=mend), kind)

    def facts(self) -> CaptionFacts:
        """The captions so far in figures."""
        self._count()
        token_M = np.frombuffer(self._tokens, dtype=np.uint32) if self._tokens else np.empty(0, dtype=np.uint32)
        limits = sorted({*LIMITS, self._model.limit})
        return CaptionFacts(
            model=self._model.name,
            limit=self._model.limit,
            measured=len(token_M),
            sampled=self._sampled,
            tokens=Spread.of(token_M),
            over={limit: float((token_M > limit).mean()) if token_M.size else 0.0 for limit in limits},
            sentences=Spread.of(np.array(self._sentences)),
            languages=dict(self._languages.most_common()),
        )

    def _count(self) -> None:
        if self._waiting:
            self._tokens.extend(self._model.count(self._waiting))
            self._waiting.clear()


def clean(caption: str) -> str:
    """A caption without outer white space, and with a space in the place of every control character."""
    return CONTROL.sub(" ", caption).strip()


def evenly(number: int, count: int, of: int) -> bool:
    """Whether the `number`-th of `of` things is among `count` drawn evenly."""
    return number * count % of < count
