"""Evaluation results: a figure with everything that has to stand beside it, and the values of each query behind it.

The figures go to JSON; the values go to an `.npz` beside it and serve one purpose: two models that answered the same
queries are compared query by query, which tells apart models whose own intervals overlap.

Shapes: Q queries.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from fastgoal.data.source import Problems
from fastgoal.errors import DataError
from fastgoal.evaluation.metrics import Floats, Ints, bootstrap_ci, paired_bootstrap
from fastgoal.evaluation.protocols import Protocol
from fastgoal.files import make_folder, staged, write_json, writing
from fastgoal.geometry import ImageFit
from fastgoal.models.retriever import Retriever

Direction = Literal["t2i", "i2t"]
_DIRECTIONS: tuple[Direction, ...] = ("t2i", "i2t")


@dataclass(frozen=True, kw_only=True)
class Queries:
    """One direction's queries.

    id_Q: stable names, equal for every model evaluated on the same data. image_Q: the image each belongs to; queries of
        one image are resampled together. rank_Q: rank of the first relevant item, from 1. values: metric -> Q values
        whose mean is the figure (0..1; changes -1..1; beyond 1 where a query's weight is).
    wrong_Q: name of the best item that is not relevant, which is what came first wherever the rank is not 1; empty
        where every item is relevant. None where it was not kept.
    """

    id_Q: npt.NDArray[np.str_]
    image_Q: npt.NDArray[np.str_]
    rank_Q: Ints
    values: Mapping[str, Floats]
    wrong_Q: npt.NDArray[np.str_] | None = None

    def summary(self, seed: int) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
        """Means and their 95 % intervals, both in percent."""
        names, values_QM = list(self.values), np.stack(list(self.values.values()), 1)
        ends_M2 = 100 * bootstrap_ci(values_QM, self.image_Q, seed=seed).clip(-1, 1)  # weights held may go beyond
        means = {name: float(mean) for name, mean in zip(names, 100 * values_QM.mean(0), strict=True)}
        return means, {name: (float(low), float(high)) for name, (low, high) in zip(names, ends_M2, strict=True)}


@dataclass(frozen=True, kw_only=True)
class EvalResult:
    """What one model reached under one protocol.

    protocol, task, items, text_tokens, image_fit, ties: what was measured (see `Protocol`), as it was.
    expected: how many items belong to the protocol's name, where it pins them. partial: whether items or captions were
        fewer than belong to it, so that no published figure compares.
    expected_tokens: the text limit that belongs to the protocol's name, where it pins one; a model that cannot be
        stretched may have another.
    rerank: how many candidates of each query a matching head put in a new order; 0 for none.
    model, model_fingerprint: what was evaluated. truncated_share: share of captions (of sentences in localisation) cut
        at the text limit, 0..1.
    t2i, i2t: metric -> percent; localisation is all `t2i`, classification all `i2t`. ci95: direction -> metric -> low
        and high end in percent.
    chance: metric -> percent of a guess, where that is known. counts: sizes of galleries and query sets, things left
        out.
    skipped, skipped_samples: what could not be read: how often, by reason; and the first few, `{"where", "reason"}`.
    pairs: fingerprints of the pairs a joint test set was made from.
    queries: direction -> values behind the figures; not in JSON, empty if only that was read.
    """

    protocol: str
    task: str
    items: int
    model: str
    model_fingerprint: str
    text_tokens: int
    truncated_share: float
    image_fit: ImageFit
    ties: str
    t2i: Mapping[str, float]
    i2t: Mapping[str, float] = field(default_factory=dict)
    ci95: Mapping[str, Mapping[str, tuple[float, float]]]
    chance: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_samples: Sequence[Mapping[str, str]] = ()
    pairs: Mapping[str, str] = field(default_factory=dict)
    seconds: float
    versions: Mapping[str, str]
    expected: int | None = None
    expected_tokens: int | None = None
    partial: bool = False
    rerank: int = 0
    queries: Mapping[Direction, Queries] = field(default_factory=dict, repr=False, compare=False)

    @property
    def other_limit(self) -> bool:
        """Whether texts were read at another limit than belongs to the protocol's name."""
        return self.expected_tokens not in (None, self.text_tokens)

    def to_json(self) -> dict[str, Any]:
        """Everything but the values per query, ready for `json.dump`."""
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "queries"}
        plain: dict[str, Any] = json.loads(json.dumps(record | {"image_fit": vars(self.image_fit)}))
        return plain

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; what a command has put beside its result is ignored.

        Raises:
            DataError: not an evaluation result.
        """
        try:
            fit: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in record["image_fit"].items()
            }
            ci95 = {
                way: {key: (low, high) for key, (low, high) in ends.items()} for way, ends in record["ci95"].items()
            }
            own = {key: value for key, value in record.items() if key in {f.name for f in fields(cls)}}
            return cls(**{**own, "image_fit": ImageFit(**fit), "ci95": ci95})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            mend = "Evaluate again with this version of fastgoal."
            raise DataError(f"not an evaluation result ({error})", mend=mend) from None

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The values per query, flat, as `np.savez` takes them: `t2i/id`, `t2i/image`, `t2i/rank`, `t2i/R@1`, ..."""
        flat: dict[str, npt.NDArray[Any]] = {}
        for way, queries in self.queries.items():
            own = {"id": queries.id_Q, "image": queries.image_Q, "rank": queries.rank_Q, **queries.values}
            own |= {} if queries.wrong_Q is None else {"wrong": queries.wrong_Q}
            flat |= {f"{way}/{name}": array for name, array in own.items()}
        return flat

    def with_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """This result with the values per query that `arrays` gave."""
        queries: dict[Direction, Queries] = {}
        for way in _DIRECTIONS:
            own = {key.removeprefix(f"{way}/"): arrays[key] for key in arrays if key.startswith(f"{way}/")}
            if own:
                id_Q, image_Q, rank_Q = (own.pop(name) for name in ("id", "image", "rank"))
                wrong_Q = own.pop("wrong", None)
                queries[way] = Queries(id_Q=id_Q, image_Q=image_Q, rank_Q=rank_Q, values=own, wrong_Q=wrong_Q)
        return replace(self, queries=queries)

    def save(self, path: str | Path) -> None:
        """Write `path` (JSON) and, beside it, the values per query under the same name with `.npz`.

        Raises:
            DataError: the disk refuses.
        """
        path = Path(path)
        make_folder(path.parent)
        values = path.with_suffix(".npz")
        with writing(values), staged(values) as aside, aside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **self.arrays())
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; the values per query only if the `.npz` is there.

        Raises:
            DataError: no such file, or not an evaluation result.
        """
        path = Path(path)
        try:
            result = cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(f"no evaluation result here ({error})", where=path, mend="Evaluate again.") from None
        values = path.with_suffix(".npz")
        if not values.is_file():
            return result
        try:
            with np.load(values, allow_pickle=False) as arrays:
                return result.with_arrays(dict(arrays))
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise DataError(f"no values per query here ({error})", where=values, mend="Evaluate again.") from None


def make_result(
    encoder: Retriever,
    protocol: Protocol,
    queries: Mapping[Direction, Queries],
    *,
    items: int,
    truncated_share: float,
    seconds: float,
    seed: int = 0,
    chance: Mapping[str, float] | None = None,
    counts: Mapping[str, int] | None = None,
    skipped: Problems | None = None,
    pairs: Mapping[str, str] | None = None,
    rerank: int = 0,
) -> EvalResult:
    """Summarise the values per query, and put beside them what was measured, on which model, by which versions."""
    summaries = {way: own.summary(seed) for way, own in queries.items()}
    return EvalResult(
        protocol=protocol.name,
        task=protocol.task,
        items=items,
        expected=protocol.items,
        expected_tokens=protocol.text_tokens,
        partial=protocol.falls_short(items, (counts or {}).get("captions")),
        model=encoder.name,
        model_fingerprint=encoder.fingerprint,
        text_tokens=encoder.text_limit,
        truncated_share=truncated_share,
        image_fit=encoder.fit,
        ties=protocol.ties,
        t2i=summaries["t2i"][0] if "t2i" in summaries else {},
        i2t=summaries["i2t"][0] if "i2t" in summaries else {},
        ci95={way: ends for way, (_, ends) in summaries.items()},
        chance=chance or {},
        counts=counts or {},
        skipped=dict(skipped.counts) if skipped else {},
        skipped_samples=[{"where": str(e.where), "reason": e.what} for e in skipped.first] if skipped else [],
        pairs=pairs or {},
        rerank=rerank,
        seconds=seconds,
        versions={name: version(name) for name in ("fastgoal", "torch", "transformers")}
        | {"python": platform.python_version()},
        queries=queries,
    )


Runs = EvalResult | Sequence[EvalResult]
"""One result, or those of one method trained with several seeds."""


def compare(a: Runs, b: Runs, metric: str = "R@1", *, seed: int = 0) -> dict[str, Any]:
    """How much better `a` is than `b` on the same queries: `a - b` in percentage points with a paired 95 % interval.

    Several seeds are averaged query by query first, so that the interval speaks of the test set, not of the seeds.

    Args:
        metric: `"R@1"` or `"t2i R@1"` (text to image), or `"i2t R@1"`.

    Returns: `{"a", "b", "metric", "difference", "ci95", "protocol"}`, as `metrics.json` lists it under `paired`.

    Raises:
        DataError: results of different protocols or queries, without values per query, or without this metric.
    """
    ours, theirs = ([runs] if isinstance(runs, EvalResult) else list(runs) for runs in (a, b))
    first, *others = [*ours, *theirs]
    for other in others:
        if (first.protocol, first.pairs) != (other.protocol, other.pairs):
            kinds = f"'{first.protocol}' {dict(first.pairs)} and '{other.protocol}' {dict(other.pairs)}"
            mend = "Evaluate both models under one protocol, on one test set."
            raise DataError(f"results of protocol {kinds} cannot be paired", mend=mend)
    *way, key = metric.split(maxsplit=1) if metric.startswith(_DIRECTIONS) else ["t2i", metric]
    asked = _queries(first, way[0], key)
    for other in others:
        own = _queries(other, way[0], key)
        if not np.array_equal(asked.id_Q, own.id_Q) or not np.array_equal(asked.image_Q, own.image_Q):
            what = f"'{first.model}' and '{other.model}' did not answer the same queries"
            raise DataError(what, mend="Evaluate both models on the same data, in the same order.")
    ours_Q, theirs_Q = (
        np.mean([_queries(run, way[0], key).values[key] for run in runs], axis=0) for runs in (ours, theirs)
    )
    difference, ends = paired_bootstrap(ours_Q, theirs_Q, asked.image_Q, seed=seed)
    return {
        "a": ours[0].model,
        "b": theirs[0].model,
        "metric": metric,
        "difference": 100 * difference,
        "ci95": [100 * end for end in ends],
        "protocol": first.protocol,
    }


def _queries(result: EvalResult, way: str, key: str) -> Queries:
    found = {direction: queries for direction, queries in result.queries.items() if direction == way}
    if not found:
        what = f"the result of '{result.model}' has no values per query ({way})"
        raise DataError(what, mend="Load it with its .npz file beside it, or evaluate again.")
    (queries,) = found.values()
    if key not in queries.values:
        raise DataError(f"no metric '{key}' ({way})", mend=f"There are: {', '.join(queries.values)}.")
    return queries
