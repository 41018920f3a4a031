"""`fastgoal eval`."""

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
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError
from fastgoal.evaluation import (
    EvalResult,
    evaluate_joint,
    evaluate_localisation,
    evaluate_retrieval,
    protocol_named,
)
from fastgoal.models.baselines import load_retriever
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable

_TASK = {"retrieval": "retrieval", "joint": "joint", "localize": "localisation"}
_PROTOCOL = {"retrieval": "long-retrieval", "joint": "joint", "localize": "localisation"}


def evaluate(
    model: str,
    data: Path,
    /,
    *,
    task: Literal["retrieval", "joint", "localize"] = "retrieval",
    protocol: Annotated[str | None, Parameter(help="A named protocol (default: the task's own).")] = None,
    tokens: Annotated[int | None, Parameter(help="Stretch or cut the model to this text limit.")] = None,
    batch: int = 64,
    limit: Limit = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """Evaluate a model by a named protocol.

    Example: `fastgoal eval runs/goal/model scenes/test --task retrieval --json result.json`

    Args:
        model: a local folder, a hub id, or `tiny`; for `retrieval` and `joint` also a BLIP-2 for image-text retrieval,
            or `open_clip:NAME@PRETRAINED` (with `fastgoal[openclip]`).
        data: samples; for `--task joint` a pairs table of the test set, matched once by another model.
        task: `retrieval` (Recall@k both ways), `joint` (whole images and best regions in one gallery, mAP@10) or
            `localize` (share of sentences whose most similar patch lies in their true box).
        batch: images per forward pass.
    """
    quiet_libraries()
    asked = protocol_named(protocol or _PROTOCOL[task])
    if asked.task != _TASK[task]:
        what = f"protocol '{asked.name}' is for {asked.task}"
        raise ConfigError(what, where="--protocol", mend=f"Leave it out, or do not ask for --task {task}.")
    if batch < 1:
        raise ConfigError(f"{batch} images per forward pass", where="--batch", mend="Use at least 1.")
    encoder = load_retriever(model, device=device, text_tokens=tokens)
    if asked.task == "joint":
        result = evaluate_joint(encoder, PairsTable.open(data, root=root), protocol=asked, batch=batch)
    else:
        source = open_source(data, root=root, limit=limit, columns=columns.given)
        tell_problems(source)
        if asked.task == "retrieval":
            result = evaluate_retrieval(encoder, source, protocol=asked, batch=batch)
        else:
            asked.expect("localisation", encoder)
            assert isinstance(encoder, DualEncoder)  # no other model projects patches
            result = evaluate_localisation(encoder, source, protocol=asked, batch=batch)
    print(describe(result))
    write_result(json, result.to_json())


def describe(result: EvalResult) -> str:
    """Figures with their intervals, and what has to stand beside them."""
    lines = [
        f"{result.protocol}: {result.items:,} items, {result.text_tokens} tokens "
        f"({result.truncated_share:.1%} of the texts cut), model {result.model}"
    ]
    for way, figures in (("text to image", result.t2i), ("image to text", result.i2t)):
        ends = result.ci95.get("t2i" if way.startswith("text") else "i2t", {})
        cells = [f"{name} {value:.1f} [{ends[name][0]:.1f}, {ends[name][1]:.1f}]" for name, value in figures.items()]
        lines += [f"  {way}: " + "  ".join(cells)] * bool(cells)
    return "\n".join(lines)
