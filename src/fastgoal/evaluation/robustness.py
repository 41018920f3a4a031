"""Robustness: how much retrieval suffers when one sentence of each caption speaks of another image.

Into every caption one sentence of another image's caption is inserted, and R@k is measured before and after
(FAST-GOAL; the mean change of R@1 on DOCCI is -8.62 for CLIP, -3.91 for Long-CLIP, -2.89 for FAST-GOAL).
The change is a value of each query, so its interval is paired.

The paper does not say which sentence, nor where; here the sentence is drawn evenly from all sentences of the test set
and goes on to the next one while it belongs to the same image or stands word for word in one of that image's captions
(it would not be false); its place is drawn evenly from before the first sentence to behind the last. Both draws hang on
the seed and the sample's id alone, not on the order of the samples, so every model is asked the same.

Shapes: Q captions, N distinct images, D joint dimensions.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fastgoal.data.samples import Sample, Span
from fastgoal.data.sentences import split_sentences
from fastgoal.data.source import Source
from fastgoal.embed import embed_texts
from fastgoal.errors import DataError
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol
from fastgoal.evaluation.results import EvalResult, Queries, make_result
from fastgoal.evaluation.retrieval import embed_gallery, first_ranks, recalls
from fastgoal.evaluation.views import ViewSet
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import token_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Spoilt:
    """A caption with one false sentence in it, at `span`; `donor` is the id of the sample it was taken from."""

    text: str
    span: Span
    donor: str


def evaluate_robustness(
    encoder: DualEncoder,
    source: Source,
    *,
    protocol: Protocol = PROTOCOLS["robustness"],
    views: ViewSet | None = None,
    batch: int = 64,
    seed: int = 0,
    language: str = "en",
) -> EvalResult:
    """R@k of clean captions, of captions with one false sentence (`false R@k`), and the difference (`change R@k`).

    From image to text the gallery is all of the captions with a false sentence.

    Args:
        views: `ViewSet.of(source, encoder.fit)`, to decode once for several models; None decodes now and keeps nothing.
        batch: images (and four times as many texts) embedded at once.
        seed: of the false sentences, their places, and the bootstrap.
        language: of the captions, for cutting sentences.

    Raises:
        DataError: a caption for which no sentence is false, an unreadable image, or not the number of items that the
            protocol pins.
        ConfigError: a model, protocol or view set that do not fit together.
    """
    begin = time.perf_counter()
    protocol.expect("robustness", encoder)
    spoilt = with_false_sentences(list(source), seed=seed, language=language)
    images, image_ND = embed_gallery(encoder, source, protocol, views, batch)
    clean_QD, truncated_Q = embed_texts(encoder, [sample.caption for sample in source], batch=4 * batch)
    false_QD, _ = embed_texts(encoder, [caption.text for caption in spoilt], batch=4 * batch)
    before, after = (
        recalls(source, images, first_ranks(source, images, text_QD, image_ND), protocol.ks)
        for text_QD in (clean_QD, false_QD)
    )
    return make_result(
        encoder,
        protocol,
        {way: _change(before[way], after[way]) for way in before},
        items=len(images),
        truncated_share=float(truncated_Q.mean()),
        seconds=time.perf_counter() - begin,
        seed=seed,
        counts={"images": len(images), "captions": len(source), "false_beyond_limit": _unread(encoder, spoilt)},
    )


def with_false_sentences(samples: Sequence[Sample], *, seed: int = 0, language: str = "en") -> list[Spoilt]:
    """Each caption with one sentence of another image's caption in it.

    Raises:
        DataError: a caption for which no other image has a sentence that it does not have itself.
    """
    spans_of = {sample.id: split_sentences(sample.caption, language) for sample in samples}
    by_id = sorted(samples, key=lambda sample: sample.id)
    pool = [(sample, sample.caption[slice(*span)]) for sample in by_id for span in spans_of[sample.id]]
    said: dict[str, set[str]] = {}
    for sample, sentence in pool:
        said.setdefault(sample.image, set()).add(_folded(sentence))
    return [_spoilt(sample, spans_of[sample.id], pool, said, seed) for sample in samples]


def _spoilt(
    sample: Sample,
    spans: Sequence[Span],
    pool: Sequence[tuple[Sample, str]],
    said: Mapping[str, set[str]],
    seed: int,
) -> Spoilt:
    begin = _draw(seed, "sentence", sample.id, max(1, len(pool)))
    donor, sentence = _first_false(sample, (pool[(begin + step) % len(pool)] for step in range(len(pool))), said)
    gap = _draw(seed, "place", sample.id, len(spans) + 1)
    if gap < len(spans):
        at = spans[gap][0]
        text = f"{sample.caption[:at]}{sentence} {sample.caption[at:]}"
    else:
        head = sample.caption.rstrip()
        at, text = len(head) + 1, f"{head} {sentence}"
    return Spoilt(text=text, span=(at, at + len(sentence)), donor=donor.id)


def _first_false(
    sample: Sample, pool: Iterable[tuple[Sample, str]], said: Mapping[str, set[str]]
) -> tuple[Sample, str]:
    own = said.get(sample.image, set())  # every sentence of the same image, word for word, is among them
    for donor, sentence in pool:
        if _folded(sentence) not in own:
            return donor, sentence
    what = f"no other image has a sentence that would be false for sample {sample.id!r}"
    raise DataError(what, where=sample.where, mend="Give a test set of several images with captions of their own.")


def _folded(sentence: str) -> str:
    return " ".join(sentence.casefold().split())


def _draw(seed: int, what: str, name: str, below: int) -> int:
    """A number in 0..below-1 that hangs on the arguments alone."""
    digest = hashlib.blake2b(f"{seed}\0{what}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % below


def _change(before: Queries, after: Queries) -> Queries:
    values = dict(before.values)
    values |= {f"false {name}": value_Q for name, value_Q in after.values.items()}
    values |= {f"change {name}": after.values[name] - value_Q for name, value_Q in before.values.items()}
    return Queries(id_Q=before.id_Q, image_Q=before.image_Q, rank_Q=before.rank_Q, values=values)


def _unread(encoder: DualEncoder, spoilt: Sequence[Spoilt], batch: int = 1024) -> int:
    """How many of the false sentences lie wholly beyond the text limit: the model cannot stumble over those."""
    count = 0
    for start in range(0, len(spoilt), batch):
        part = spoilt[start : start + batch]
        tokens = encoder.tokenize([caption.text for caption in part])
        weights_BT = token_weights(tokens.offsets_BT2, [caption.span for caption in part])
        count += int(np.count_nonzero(weights_BT.sum(1) == 0))
    return count


def mean_change(result: EvalResult, k: int = 1) -> float:
    """Mean over both directions of the change of R@k, in percentage points."""
    return float(np.mean([getattr(result, way)[f"change R@{k}"] for way in ("t2i", "i2t")]))
