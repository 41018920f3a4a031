"""`fastgoal eval`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from fastgoal.cli.common import (
    USUAL,
    ColumnNames,
    Device,
    Json,
    Limit,
    Root,
    quiet_libraries,
    tell_problems,
    write_result,
)
from fastgoal.data.benchmarks import benchmark_asked
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError
from fastgoal.evaluation import (
    EvalResult,
    Protocol,
    backbone_of,
    evaluate_joint,
    evaluate_localisation,
    evaluate_retrieval,
    protocol_named,
    protocol_of,
    published,
    published_table,
)
from fastgoal.evaluation.protocols import Task
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable

_TASK: dict[str, Task] = {"retrieval": "retrieval", "joint": "joint", "localize": "localisation"}
_PROTOCOL = {"retrieval": "long-retrieval", "joint": "joint", "localize": "localisation"}


def evaluate(
    model: str,
    data: Path,
    /,
    *,
    task: Literal["retrieval", "joint", "localize"] = "retrieval",
    protocol: Annotated[
        str | None, Parameter(help="A named protocol (default: the benchmark's or the task's own).")
    ] = None,
    tokens: Annotated[int | None, Parameter(help="Stretch or cut the model to this text limit.")] = None,
    allow_partial: bool = False,
    batch: int = 64,
    seed: int = 0,
    limit: Limit = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """Evaluate a model by a named protocol.

    A benchmark's name brings its protocol, which refuses any other number of items, and the published figures are
    printed beside yours.

    Example: `fastgoal eval runs/goal/model scenes/test --task retrieval --json result.json`

    Args:
        model: a local folder, a hub id, or `tiny`.
        data: samples, or a benchmark's name with `--root` (docci, dci, long-dci, urban1k, coco, flickr30k, sharegpt4v);
            for `--task joint` a pairs table of the test set, matched once by another model.
        task: `retrieval` (Recall@k both ways), `joint` (whole images and best regions in one gallery, mAP@10) or
            `localize` (share of sentences whose most similar patch lies in their true box).
        allow_partial: take fewer items than the protocol's name stands for; the result says so.
        batch: images per forward pass.
        seed: of the resampling behind the intervals.
    """
    quiet_libraries()
    asked = replace(_protocol(protocol, task, benchmark_asked(data, root)), partial=allow_partial)
    if asked.task != _TASK[task]:
        what = f"protocol '{asked.name}' is for {asked.task}"
        raise ConfigError(what, where="--protocol", mend=f"Leave it out, or do not ask for --task {task}.")
    if batch < 1:
        raise ConfigError(f"{batch} images per forward pass", where="--batch", mend="Use at least 1.")
    encoder = DualEncoder.load(model, device=device, text_tokens=tokens or asked.text_tokens)
    if asked.task == "joint":
        result = evaluate_joint(encoder, PairsTable.open(data, root=root), protocol=asked, batch=batch, seed=seed)
    else:
        source = open_source(data, root=root, limit=limit, columns=columns.given)
        tell_problems(source)
        measure = evaluate_localisation if asked.task == "localisation" else evaluate_retrieval
        result = measure(encoder, source, protocol=asked, batch=batch, seed=seed)
    print(describe(result))
    if table := published_table(result, backbone_of(encoder)):
        print(table)
    write_result(json, result.to_json() | {"published": [row.to_json() for row in published(result.protocol)]})


def _protocol(name: str | None, task: str, benchmark: str | None) -> Protocol:
    """The protocol that was named, else the benchmark's own, else the task's."""
    if benchmark is not None and task == "joint":
        own = protocol_of(benchmark, "joint")
        mend = (
            f"Match it once with another model (`fastgoal match {benchmark} --root DIR --out PAIRS`), then name PAIRS"
        )
        mend += f" and --protocol {own.name}." if own else "."
        raise ConfigError("joint evaluation takes a pairs table", where=benchmark, mend=mend)
    if name is None and benchmark is not None and (own := protocol_of(benchmark, _TASK[task])):
        return own
    return protocol_named(name or _PROTOCOL[task])


def describe(result: EvalResult) -> str:
    """Figures with their intervals, and what has to stand beside them."""
    of = f" of {result.expected:,}" if result.partial else ""
    lines = [
        f"{result.protocol}: {result.items:,}{of} items, {result.text_tokens} tokens "
        f"({result.truncated_share:.1%} of the texts cut), model {result.model}"
    ]
    for way, figures in (("text to image", result.t2i), ("image to text", result.i2t)):
        ends = result.ci95.get("t2i" if way.startswith("text") else "i2t", {})
        cells = [f"{name} {value:.1f} [{ends[name][0]:.1f}, {ends[name][1]:.1f}]" for name, value in figures.items()]
        lines += [f"  {way}: " + "  ".join(cells)] * bool(cells)
    return "\n".join(lines)
