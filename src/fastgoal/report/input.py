"""What a report is made from: results and examples, already computed, as plain frozen values.

Nothing here is measured or decided; `numbers` reads the figures out of it, `verdict` turns them into words, `page` and
`markdown` show them. Every part but the models and their results may be missing, and is then left out of the report.

Conventions: figures are percentages; a difference is `a - b` in percentage points, so positive means `a` is better.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from fastgoal.data.samples import Span
from fastgoal.errors import DataError
from fastgoal.geometry import Box

Picture = Path | str | bytes | Image.Image
Result = Mapping[str, Any]
"""One eval result of the contract: `t2i`, `i2t`, `ci95`, `items`, `truncated_share`, `text_tokens`, `image_fit`, ..."""


@dataclass(frozen=True, kw_only=True)
class PairExample:
    """One matched region and sentence.

    Boxes are `x1, y1, x2, y2` in pixels of the upright image; `sentence` is a span of `caption`.
    """

    image: Picture
    caption: str
    sentence: Span
    region: Box
    source: str
    similarity: float
    truth: Box | None = None
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One retrieved image: `score` is the cosine similarity to the query where that is known, `correct` says it is the
    query's own; `name` is what the data calls it, and the image is None where it cannot be found."""

    image: Picture | None
    score: float | None = None
    correct: bool = False
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class RetrievalExample:
    """One caption as a query: its own image (None where it cannot be found), the rank of that image (1 = first) and the
    top hits under each model; `id` and `name` are what the data calls the caption and the image."""

    query: str
    truth: Picture | None
    ranks: Mapping[str, int]
    hits: Mapping[str, Sequence[Hit]] = field(default_factory=dict)
    id: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Two models of different runs that answered the same queries: `a` is judged by `b`.

    better, worse, equal: how many captions `a` gives a better, a worse and an equal rank of their own image (where
        there are several seeds, in the first). gains, losses: the captions whose rank changed most.
    """

    a: str
    b: str
    better: int
    worse: int
    equal: int
    gains: Sequence[RetrievalExample] = ()
    losses: Sequence[RetrievalExample] = ()


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Counts per split (`train`, `val`, `test`) and caption lengths in tokens; `share_over_77` is in 0..1."""

    splits: Mapping[str, int]
    tokens_mean: float | None = None
    tokens_median: float | None = None
    tokens_max: int | None = None
    share_over_77: float | None = None


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """Everything a report shows.

    models: names in the order of the table, such as `base`, `base cut at 77`, `global`, `goal`.
    results: model -> protocol -> eval result, or a sequence of them, one per seed; the table then shows the mean,
        the deviation and Student's interval over seeds.
    paired: `{"a", "b", "metric", "difference", "ci95", "protocol"?}`. `metric` is `"R@1"`
        (text to image), `"t2i R@1"` or `"i2t R@1"`.
    histories: model -> records of history.jsonl (`step`, `loss`, `global`, `local`, `tsl`, `lr`, `retrieval`).
    match: the result of `match` (`samples`, `paired`, `skipped`, `pair_precision`, `chance`, `sources`, ...).
    commands: exact, copyable. stages: seconds per stage. settings: of the training, shared by all methods.
    reasons: why the settings are what they are. doubts: what a reader should mind.
    rivals: of several runs: which model is judged by which, `(a, b)`. duels: the same, query by query.
    baseline: the method that the others have to beat. headline: the method the verdict is about; by default `goal`, or
        else the last model that is neither the baseline nor a base.
    """

    title: str
    models: Sequence[str]
    results: Mapping[str, Mapping[str, Result | Sequence[Result]]]
    paired: Sequence[Mapping[str, Any]] = ()
    histories: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    match: Mapping[str, Any] | None = None
    pairs: Sequence[PairExample] = ()
    retrievals: Sequence[RetrievalExample] = ()
    data: DataFacts | None = None
    commands: Sequence[str] = ()
    reasons: Sequence[str] = ()
    doubts: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    rivals: Sequence[tuple[str, str]] = ()
    duels: Sequence[Duel] = ()
    baseline: str = "global"
    headline: str | None = None

    def __post_init__(self) -> None:
        if not self.models:
            raise DataError(
                "a report needs at least one model", where="models", mend="Name the models that were evaluated."
            )
        for model in self.models:
            if not self.results.get(model):
                known = ", ".join(self.results) or "none"
                raise DataError(
                    f"model '{model}' has no results (results are there for: {known})",
                    where="results",
                    mend=f"Evaluate '{model}' or take it out of `models`.",
                )

    @property
    def questions(self) -> list[tuple[str | None, str]]:
        """What the verdict answers: which model is judged by which."""
        return [(a, b) for a, b in self.rivals] or [(self.subject, self.baseline)]

    @property
    def subject(self) -> str | None:
        """The method the verdict is about; None when only a base was evaluated."""
        if self.headline:
            return self.headline
        trained = [m for m in self.models if not is_base(m) and m != self.baseline]
        if "goal" in trained:
            return "goal"
        return trained[-1] if trained else (self.baseline if self.baseline in self.models else None)


PICTURED = ("pairs", "retrievals", "duels")
"""What a `metrics.json` does not hold."""


def is_base(model: str) -> bool:
    """Whether a name stands for the model before training: `base`, `base cut at 77`, ..."""
    return model.split()[0].split("-")[0] == "base" if model.strip() else False


def from_metrics(metrics: Mapping[str, Any], *, title: str = "fastgoal report") -> ReportInput:
    """A report from the content of a `metrics.json`: everything but the pictures.

    Raises:
        DataError: when it holds no `models`.
    """
    models = metrics.get("models") if isinstance(metrics, Mapping) else None
    if not isinstance(models, Mapping) or not models:
        raise DataError(
            "no 'models' in the metrics", where="metrics.json", mend="Use a metrics.json that demo or run wrote."
        )
    results = {
        model: {name: result.get("runs") or result for name, result in protocols.items()}
        for model, protocols in models.items()
    }
    given = {f.name for f in dataclasses.fields(ReportInput)} - {"models", "results", "data", *PICTURED}
    rest = {key: value for key, value in metrics.items() if key in given and value is not None}
    data = DataFacts(**metrics["data"]) if metrics.get("data") else None
    return ReportInput(**{"title": title, **rest}, models=list(models), results=results, data=data)
