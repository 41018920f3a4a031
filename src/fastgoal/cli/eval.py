"""`fastgoal eval`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from fastgoal.cli.common import (
    SHOWN,
    USUAL,
    ColumnFlags,
    ColumnNames,
    Device,
    Json,
    Limit,
    Root,
    quiet_libraries,
    tell_problems,
    write_result,
)
from fastgoal.data.labelled import LabelledSource, open_labelled
from fastgoal.data.source import Source, open_source
from fastgoal.errors import ConfigError
from fastgoal.evaluation import (
    PROTOCOLS,
    EvalResult,
    evaluate_classification,
    evaluate_joint,
    evaluate_localisation,
    evaluate_retrieval,
    evaluate_robustness,
    protocol_named,
    retention,
    templates_named,
)
from fastgoal.evaluation.robustness import mean_change
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable

Task = Literal["retrieval", "joint", "localize", "classify", "robust"]
_PROTOCOL = {
    "retrieval": "long-retrieval",
    "joint": "joint",
    "localize": "localisation",
    "classify": "classification",
    "robust": "robustness",
}
"""The tasks' own protocols."""
_MEASURE: Mapping[str, Callable[..., EvalResult]] = {
    "retrieval": evaluate_retrieval,
    "joint": evaluate_joint,
    "localisation": evaluate_localisation,
    "classification": evaluate_classification,
    "robustness": evaluate_robustness,
}
"""What runs a protocol, by its task."""


def evaluate(
    model: str,
    data: Path,
    /,
    *,
    task: Task = "retrieval",
    protocol: Annotated[str | None, Parameter(help="A named protocol (default: the task's own).")] = None,
    against: str | None = None,
    templates: str | None = None,
    classes: Path | None = None,
    language: str = "en",
    tokens: Annotated[int | None, Parameter(help="Stretch or cut the model to this text limit.")] = None,
    batch: int = 64,
    seed: int = 0,
    limit: Limit = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """Evaluate a model by a named protocol.

    Example: `fastgoal eval runs/goal/model scenes/test --task retrieval --json result.json`

    What fine-tuning kept of the base: `fastgoal eval runs/goal/model cifar-10-batches-py --task classify --against BASE`

    Args:
        model: a local folder, a hub id, or `tiny`.
        data: samples; for `--task joint` a pairs table of the test set, matched once by another model; for `--task
            classify` a folder of images per class, CIFAR as published, or Parquet with labels.
        task: `retrieval` (Recall@k both ways), `joint` (whole images and best regions in one gallery, mAP@10),
            `localize` (share of sentences whose most similar patch lies in their true box), `classify` (zero-shot
            classification by the names of the classes) or `robust` (what one false sentence in each caption costs).
        against: another model to evaluate as well; prints what the first has more than it, query by query.
        templates: sentences that class names are put into: `plain`, `many`, or a text file, one with {} per line.
        classes: names of the classes: JSON, or text with a line `folder name` for each (default: classes.json or
            classes.txt in the data's folder, else the names of the folders).
        language: of the captions, where sentences are cut.
        batch: images per forward pass.
        seed: of the false sentences and of the intervals.
    """
    quiet_libraries()
    asked = protocol_named(protocol or _PROTOCOL[task])
    if asked.task != PROTOCOLS[_PROTOCOL[task]].task:
        what = f"protocol '{asked.name}' is for {asked.task}"
        raise ConfigError(what, where="--protocol", mend=f"Leave it out, or do not ask for --task {task}.")
    if batch < 1:
        raise ConfigError(f"{batch} images per forward pass", where="--batch", mend="Use at least 1.")
    if (templates or classes) and task != "classify":
        where = "--templates" if templates else "--classes"
        raise ConfigError(
            f"nothing to do with --task {task}", where=where, mend="Add --task classify, or leave it out."
        )
    options: dict[str, Any] = {"protocol": asked, "batch": batch, "seed": seed}
    if task == "classify":
        options["templates"] = templates_named(templates or "plain")
    if task in ("retrieval", "robust"):
        options["language"] = language
    encoder = DualEncoder.load(model, device=device, text_tokens=tokens)
    opened = _opened(task, data, root, limit, columns, classes)
    result = _MEASURE[asked.task](encoder, opened, **options)
    print(describe(result))
    record = result.to_json()
    if against is not None:
        other = DualEncoder.load(against, device=device, text_tokens=tokens)
        rival = _MEASURE[asked.task](other, opened, **options)
        changes = retention(rival, result, seed=seed)
        print(f"{describe(rival)}\n{describe_changes(changes)}")
        record |= {"against": rival.to_json(), "paired": changes}
    write_result(json, record)


def _opened(
    task: Task, data: Path, root: Path | None, limit: int | None, columns: ColumnFlags, classes: Path | None
) -> PairsTable | LabelledSource | Source:
    if task == "joint":
        return PairsTable.open(data, root=root)
    if task == "classify":
        return open_labelled(data, root=root, limit=limit, classes=classes, columns=columns.given)
    source = open_source(data, root=root, limit=limit, columns=columns.given)
    tell_problems(source)
    return source


def describe(result: EvalResult) -> str:
    """Figures with their intervals, and what has to stand beside them."""
    lines = [
        f"{result.protocol}: {result.items:,} items, {result.text_tokens} tokens "
        f"({result.truncated_share:.1%} of the texts cut), model {result.model}"
    ]
    lines += [f"  left out: {one['where']}: {one['reason']}" for one in result.skipped_samples[:SHOWN]]
    if sum(result.skipped.values()) > SHOWN:
        lines.append(f"  left out: {sum(result.skipped.values()) - SHOWN:,} more")
    for way, words in _WAYS.items():
        ends = result.ci95.get(way, {})
        figures = [(name, value, ends[name]) for name, value in getattr(result, way).items()]
        lines += _rows(words, figures, "{:.1f}")
    if result.task == "robustness":
        lines.append(f"  mean change of R@1 over both ways: {mean_change(result):+.2f}")
    return "\n".join(lines)


def describe_changes(changes: Sequence[Mapping[str, Any]]) -> str:
    """Differences of two models with their paired intervals."""
    lines = [f"{changes[0]['a']} minus {changes[0]['b']}, query by query:"]
    for way, words in _WAYS.items():
        figures = [
            (one["metric"].removeprefix(way).strip(), one["difference"], one["ci95"])
            for one in changes
            if one["metric"].startswith(way)
        ]
        lines += _rows(words, figures, "{:+.1f}")
    return "\n".join(lines)


_WAYS = {"t2i": "text to image", "i2t": "image to text"}


def _rows(words: str, figures: Sequence[tuple[str, float, Sequence[float]]], number: str) -> list[str]:
    """The figures of one direction, in as many lines as there are kinds (`R@k`, `false R@k`, `change R@k`)."""
    kinds: dict[str, list[str]] = {}
    for name, value, ends in figures:
        cells = " ".join([name, number.format(value), f"[{ends[0]:.1f}, {ends[1]:.1f}]"])
        kinds.setdefault(name.rpartition(" ")[0], []).append(cells)
    return [f"  {words}: " + "  ".join(cells) for cells in kinds.values()]
