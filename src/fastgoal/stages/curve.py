"""How much of a fine-tuned model to take: retrieval by long and by short captions along the line from base to tuned.

Every point is a whole blended model under the same two protocols on the same data. What counts is the difference to the
base (alpha 0), query by query: what long captions gain, and what short captions lose. A finished point is kept under
the fingerprints of both models and of the data, so a curve that was interrupted, or gets more points, goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastgoal.data.source import Source
from fastgoal.errors import ConfigError
from fastgoal.evaluation import PROTOCOLS, EvalResult, ViewSet, compare, evaluate_retrieval
from fastgoal.files import write_file, write_json
from fastgoal.models.blend import aligned, blend
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.progress import Progress
from fastgoal.report.tradeoff import tradeoff_png
from fastgoal.stages.kept import is_kept, kept

METRICS = ("t2i R@1", "i2t R@1")
KINDS = {"long": "long-retrieval", "short": "short-retrieval"}
"""Kinds of captions and the protocols they are measured by."""
RESULTS = "curve"
"""Folder of the kept results."""
FILES = ("curve.json", "curve.png", RESULTS)
"""Everything that a curve writes."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One blended model: its results by kind of caption (`long`, `short`), and by kind and metric what `compare` says
    of it and the base."""

    alpha: float
    results: dict[str, EvalResult]
    change: dict[str, dict[str, dict[str, Any]]]

    def to_json(self) -> dict[str, Any]:
        """Plain values, without those of each query."""
        results = {kind: result.to_json() for kind, result in self.results.items()}
        return {"alpha": self.alpha, **results, "change": self.change}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points in the order of alpha, from the base on, and what they were measured on."""

    base: str
    tuned: str
    text_tokens: int
    long: str
    short: str
    points: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        """`curve.json`."""
        names = ("base", "tuned", "text_tokens", "long", "short")
        own = {name: getattr(self, name) for name in names}
        return own | {"points": [point.to_json() for point in self.points]}


def measure_curve(
    base: DualEncoder,
    tuned: DualEncoder,
    long: Source,
    short: Source,
    out: Path,
    *,
    alphas: Sequence[float],
    batch: int = 64,
    progress: bool = True,
) -> Curve:
    """Evaluate blends of two models, and write `curve.json` and `curve.png` to `out`; results are kept in `out/curve`.

    Args:
        alphas: points on the line; 0, which all are compared with, is added.
        batch: images per forward pass.

    Raises:
        ConfigError: an alpha outside of 0..1.
        ModelError: models that cannot be blended.
        DataError: an unreadable image, or a disk that refuses.
    """
    wanted = sorted({0.0, *alphas})
    if not all(0 <= alpha <= 1 for alpha in wanted):
        mend = "Choose numbers from 0 (the base) to 1 (the tuned model)."
        raise ConfigError(f"alphas {list(alphas)} are out of range", where="alphas", mend=mend)
    line = _Line(aligned(base, tuned), tuned, {"long": long, "short": short}, out / RESULTS, batch)
    results = dict(line.measure(wanted, progress))
    first = results[0.0]
    curve = Curve(
        base=base.name,
        tuned=tuned.name,
        text_tokens=tuned.text_limit,
        long=long.name,
        short=short.name,
        points=tuple(_point(alpha, found, first) for alpha, found in results.items()),
    )
    record = curve.to_json()
    write_json(out / "curve.json", record)
    title = f"Blends of {curve.base} and {curve.tuned}: R@1 against the base, with 95 % bands"
    write_file(out / "curve.png", tradeoff_png(record["points"], title=title))
    return curve


def _point(alpha: float, found: dict[str, EvalResult], first: dict[str, EvalResult]) -> Point:
    change = {kind: {metric: compare(found[kind], first[kind], metric) for metric in METRICS} for kind in found}
    return Point(alpha=alpha, results=found, change=change)


class _Line:
    """The models between two, and their results on two kinds of captions."""

    def __init__(
        self, base: DualEncoder, tuned: DualEncoder, sources: dict[str, Source], folder: Path, batch: int
    ) -> None:
        self._base, self._tuned, self._sources, self._folder, self._batch = base, tuned, sources, folder, batch
        self._views = _views(sources, tuned)
        ends = {"base": base.fingerprint, "tuned": tuned.fingerprint, "text_tokens": tuned.text_limit}
        self._keys = {kind: {**ends, "data": source.key} for kind, source in sources.items()}

    def measure(self, alphas: Sequence[float], progress: bool) -> Iterator[tuple[float, dict[str, EvalResult]]]:
        """Results of each alpha by kind of captions; a model is blended only where one of them is not there yet."""
        todo = [alpha for alpha in alphas if not self._finished(alpha)]
        before = len(alphas) - len(todo)
        with Progress(len(alphas), "blends", "model", done=before, show=progress and bool(todo)) as bar:
            for alpha in alphas:
                mixed = blend(self._base, self._tuned, alpha) if alpha in todo else None
                yield alpha, {kind: self._result(alpha, kind, mixed) for kind in self._sources}
                if mixed is not None:
                    bar.update()

    def _finished(self, alpha: float) -> bool:
        return all(is_kept(self._path(alpha, kind), self._key(alpha, kind)) for kind in self._sources)

    def _result(self, alpha: float, kind: str, mixed: DualEncoder | None) -> EvalResult:
        def make() -> EvalResult:
            encoder = blend(self._base, self._tuned, alpha) if mixed is None else mixed
            source, views = self._sources[kind], self._views[kind]
            return evaluate_retrieval(encoder, source, protocol=PROTOCOLS[KINDS[kind]], views=views, batch=self._batch)

        return kept(self._path(alpha, kind), self._key(alpha, kind), make)

    def _path(self, alpha: float, kind: str) -> Path:
        return self._folder / f"{alpha}-{kind}.json"

    def _key(self, alpha: float, kind: str) -> dict[str, Any]:
        return {**self._keys[kind], "alpha": alpha, "protocol": KINDS[kind]}


def _views(sources: dict[str, Source], encoder: DualEncoder) -> dict[str, ViewSet]:
    """View sets by kind of captions; one for both where the images are the same."""
    views = {kind: ViewSet.of(source, encoder.fit) for kind, source in sources.items()}
    same = views["long"].wanted == views["short"].wanted and sources["long"].root == sources["short"].root
    return {**views, "short": views["long"]} if same else views
