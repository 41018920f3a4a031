"""`fastgoal run`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fastgoal.cli.common import (
    USUAL,
    ColumnNames,
    Data,
    Detector,
    Device,
    Json,
    Limit,
    Root,
    Sam,
    quiet_libraries,
    typed,
    write_result,
)
from fastgoal.report import metrics, terminal_table
from fastgoal.run import RunSettings
from fastgoal.run import run as carry_out


def run(
    data: Data,
    /,
    *,
    model: str,
    out: Path,
    methods: Annotated[
        list[str] | None,
        Parameter(help="What to train (default: global and goal; with a SigLIP, which cannot learn goal, no-tsl)."),
    ] = None,
    regions: str = "flism",
    detector: Detector = None,
    sam: Sam = None,
    matcher: str | None = None,
    language: str = "en",
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    warmup_steps: int | None = None,
    tokens: int | None = None,
    seed: int = 1337,
    limit: Limit = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """The same on your data: split, match, train, evaluate, report.

    The images are split 80/10/10 into training, validation and test sets. Interrupted, the same command continues.

    Example: `fastgoal run photos --model tiny --out photos-run --epochs 3`

    Args:
        data: images with a `.txt` each, `captions.jsonl` or `.csv`, Parquet, WebDataset tars, or a `datasets` folder.
        model: the model to start from; it also matches, unless there is a matcher.
        out: folder for everything.
        regions: where candidate regions come from (see `fastgoal match --help`).
        matcher: another CLIP that compares sentences with regions: a local folder, a hub id or `tiny`.
        language: of the captions, for cutting sentences.
        epochs: passes over the training set. This and the next three are derived from the size of the data and of the
            model where they are not given, and the reason is printed.
        batch_size: samples that are negatives of each other.
        learning_rate: the peak.
        warmup_steps: steps in which the learning rate rises from 0.
        tokens: the text limit that the model is stretched to (default: 248, or the model's own where that is longer
            or cannot change, as in SigLIP).
        seed: of the split and of the order.
    """
    quiet_libraries()
    settings = RunSettings(
        model=model,
        methods=tuple(methods) if methods else None,
        regions=regions,
        detector=detector,
        sam=sam,
        matcher=matcher,
        language=language,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        text_tokens=tokens,
        seed=seed,
        limit=limit,
        root=None if root is None else str(root),
        columns=columns.given,
        device=device,
    )
    found, files = carry_out(data, out, settings, command=typed())
    print(terminal_table(found))
    print(f"report: {files.page}")
    write_result(json, metrics(found))
