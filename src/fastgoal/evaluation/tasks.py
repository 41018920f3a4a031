"""The tasks by the names that a person asks for: which protocol is theirs, what data they take, what measures them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastgoal.data.columns import Columns
from fastgoal.data.labelled import open_labelled
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError
from fastgoal.evaluation.classification import evaluate_classification
from fastgoal.evaluation.joint import evaluate_joint
from fastgoal.evaluation.localisation import evaluate_localisation
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol, protocol_named, protocol_of
from fastgoal.evaluation.results import EvalResult
from fastgoal.evaluation.retrieval import evaluate_retrieval
from fastgoal.evaluation.robustness import evaluate_robustness
from fastgoal.pairs import PairsTable

Asked = Literal["retrieval", "joint", "localize", "classify", "robust"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """protocol: the one that is meant where none is named. measure: `(encoder, data, **options) -> result`. options:
    what `measure` understands beyond `protocol`, `batch` and `seed`."""

    protocol: str
    measure: Callable[..., EvalResult]
    options: tuple[str, ...] = ()

    def protocol_for(self, name: str | None, task: str, benchmark: str | None = None) -> Protocol:
        """The protocol of that name, else the benchmark's own, else the task's.

        Raises:
            ConfigError: no such protocol, or one of another task; a benchmark where the task takes a pairs table.
        """
        kind = PROTOCOLS[self.protocol].task
        own = None if benchmark is None else protocol_of(benchmark, kind)
        if benchmark is not None and kind == "joint":
            mend = f"Match it once with another model (`fastgoal match {benchmark} --root DIR --out PAIRS`), name PAIRS"
            mend += f" and --protocol {own.name}." if own else "."
            raise ConfigError("joint evaluation takes a pairs table", where=benchmark, mend=mend)
        asked = own if name is None and own is not None else protocol_named(name or self.protocol)
        if asked.task != kind:
            what = f"protocol '{asked.name}' is for {asked.task}"
            raise ConfigError(what, where="--protocol", mend=f"Leave it out, or do not ask for --task {task}.")
        return asked


TASKS: Mapping[str, Task] = {
    "retrieval": Task(
        protocol="long-retrieval", measure=evaluate_retrieval, options=("language", "rerank", "progress")
    ),
    "joint": Task(protocol="joint", measure=evaluate_joint),
    "localize": Task(protocol="localisation", measure=evaluate_localisation),
    "classify": Task(protocol="classification", measure=evaluate_classification, options=("templates",)),
    "robust": Task(protocol="robustness", measure=evaluate_robustness, options=("language",)),
}


def open_data(
    task: Asked,
    data: str | Path,
    *,
    root: str | Path | None = None,
    limit: int | None = None,
    columns: Columns | None = None,
    classes: Path | None = None,
) -> Any:
    """What the task's `measure` takes: a pairs table, labelled images, or samples.

    Raises:
        DataError: not such data.
    """
    if task == "joint":
        return PairsTable.open(data, root=root)
    if task == "classify":
        return open_labelled(data, root=root, limit=limit, classes=classes, columns=columns)
    return open_source(data, root=root, limit=limit, columns=columns)
