"""`fastgoal eval`."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fastgoal.cli.common import (
    ALONE,
    USUAL,
    ColumnNames,
    Data,
    Device,
    Engine,
    Json,
    Limit,
    OfCluster,
    Root,
    quiet_libraries,
    tell_problems,
    write_result,
)
from fastgoal.cluster.embedding import on_cluster
from fastgoal.data.benchmarks import benchmark_asked
from fastgoal.data.source import Source
from fastgoal.errors import ConfigError
from fastgoal.evaluation import backbone_of, published, published_table, retention, templates_named
from fastgoal.evaluation.reranking import expect_reranker
from fastgoal.evaluation.tasks import TASKS, Asked, open_data
from fastgoal.evaluation.words import describe, describe_changes
from fastgoal.models.baselines import load_retriever


def evaluate(
    model: str,
    data: Data,
    /,
    *,
    task: Asked = "retrieval",
    protocol: Annotated[
        str | None, Parameter(help="A named protocol (default: the benchmark's or the task's own).")
    ] = None,
    against: str | None = None,
    templates: str | None = None,
    classes: Path | None = None,
    language: str = "en",
    tokens: Annotated[
        int | None,
        Parameter(help="Stretch or cut the model to this text limit (default: the protocol's, or the model's own)."),
    ] = None,
    rerank: int = 0,
    allow_partial: bool = False,
    batch: int = 64,
    seed: int = 0,
    limit: Limit = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
    device: Device = "cpu",
    engine: Engine = "local",
    cluster: OfCluster = ALONE,
    json: Json = None,
) -> None:
    """Evaluate a model by a named protocol.

    A benchmark's name brings its protocol, which refuses any other number of items, and the published figures are
    printed beside yours.

    Example: `fastgoal eval runs/goal/model scenes/test --task retrieval --json result.json`

    As BLIP-2's authors do: `fastgoal eval BLIP2 coco --root coco --tokens 35 --rerank 128`

    What fine-tuning kept: `fastgoal eval runs/goal/model cifar-10-batches-py --task classify --against BASE`

    Args:
        model: a local folder, a hub id, or `tiny`; for `retrieval` and `joint` also a BLIP-2 for image-text retrieval,
            or `open_clip:NAME@PRETRAINED` (with `fastgoal[openclip]`).
        data: samples, or a benchmark's name with `--root` (docci, dci, long-dci, urban1k, coco, flickr30k, sharegpt4v);
            for `--task joint` a pairs table of the test set, matched once by another model; for `--task classify` a
            folder of images per class, CIFAR as published, or Parquet with labels.
        task: `retrieval` (Recall@k both ways), `joint` (whole images and best regions in one gallery, mAP@10),
            `localize` (share of sentences whose most similar patch lies in their true box), `classify` (zero-shot
            classification by the names of the classes) or `robust` (what one false sentence in each caption costs).
        against: another model to evaluate as well; prints what the first has more than it, query by query.
        templates: sentences that class names are put into: `plain`, `many`, or a text file, one with {} per line.
        classes: names of the classes: JSON, or text with a line `folder name` for each (default: classes.json or
            classes.txt in the data's folder, else the names of the folders).
        language: of the captions, where sentences are cut.
        rerank: let a matching head (BLIP-2) put the first so many candidates of each query in a new order; 0 for none.
        allow_partial: take fewer items than the protocol's name stands for; the result says so.
        batch: images per forward pass.
        seed: of the false sentences and of the intervals.
        engine: `ray` embeds on a cluster (docs/cluster.md), for `retrieval`, `joint` and `robust`.
    """
    quiet_libraries()
    kind = TASKS[task]
    benchmark = None if task == "classify" else benchmark_asked(data, root)
    asked = replace(kind.protocol_for(protocol, task, benchmark), partial=allow_partial)
    _expect_fitting_flags(task, batch, {"--templates": templates, "--classes": classes, "--rerank": rerank})
    own = {"language": language, "templates": templates_named(templates or "plain"), "rerank": rerank, "progress": True}
    options: dict[str, Any] = {"protocol": asked, "batch": batch, "seed": seed, **{k: own[k] for k in kind.options}}
    names = [model] if against is None else [model, against]
    on = cluster.cluster(engine, device)
    if on is not None and (task not in _ON_CLUSTER or rerank):
        what = "a cluster embeds only, which is not all that this needs"
        mend = f"Leave --engine out, or ask for --task {', '.join(_ON_CLUSTER)} without --rerank."
        raise ConfigError(what, where="--engine ray", mend=mend)
    loads = [partial(load_retriever, name, text_tokens=tokens, pinned=asked.text_tokens) for name in names]
    encoders = [load(device=device) for load in loads]
    for encoder in encoders:  # now, and not after hours with the first
        asked.expect(asked.task, encoder)
        if rerank:
            expect_reranker(encoder, asked, rerank)
    opened = open_data(task, data, root=root, limit=limit, columns=columns.given, classes=classes)
    if isinstance(opened, Source):
        tell_problems(opened)
    results = []
    for encoder, load in zip(encoders, loads, strict=True):
        with nullcontext(encoder) if on is None else on_cluster(encoder, load, on) as embedder:
            results.append(kind.measure(embedder, opened, **options))
        print(describe(results[-1]))
    if table := published_table(results[0], backbone_of(encoders[0])):
        print(table)
    record = results[0].to_json() | {"published": [row.to_json() for row in published(asked.name)]}
    if against is not None:
        changes = retention(results[1], results[0], seed=seed)
        print(describe_changes(changes))
        record |= {"against": results[1].to_json(), "paired": changes}
    write_result(json, record)


_ON_CLUSTER = ("retrieval", "joint", "robust")
_TASK_OF = {"--templates": "classify", "--classes": "classify", "--rerank": "retrieval"}


def _expect_fitting_flags(task: Asked, batch: int, given: Mapping[str, object]) -> None:
    """Raises ConfigError for a batch of nothing, and for a flag that belongs to another task."""
    if batch < 1:
        raise ConfigError(f"{batch} images per forward pass", where="--batch", mend="Use at least 1.")
    for flag, value in given.items():
        if value and task != _TASK_OF[flag]:
            mend = f"Add --task {_TASK_OF[flag]}, or leave it out."
            raise ConfigError(f"nothing to do with --task {task}", where=flag, mend=mend)
