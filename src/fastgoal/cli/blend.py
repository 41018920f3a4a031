"""`fastgoal blend`."""

from pathlib import Path
from typing import Annotated

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
from fastgoal.data.sentences import first_sentences
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError
from fastgoal.models.blend import blend as blend_models
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.folder import expect_free
from fastgoal.stages.curve import FILES, METRICS, Curve, Point, measure_curve


def blend(
    base: str,
    tuned: str,
    out: Path,
    /,
    *,
    alpha: Annotated[float | None, Parameter(help="Share of the tuned model, 0 to 1: writes that model.")] = None,
    curve: Annotated[Path | None, Parameter(help="Long captions (any DATA): measures over alpha.")] = None,
    short: Annotated[Path | None, Parameter(help="Short captions (default: first sentences of --curve's).")] = None,
    alphas: Annotated[str, Parameter(help="Points of the curve; 0 is added.")] = "0,0.25,0.5,0.75,1",
    language: str = "en",
    batch: int = 64,
    limit: Limit = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """Mix the weights of a base and its fine-tuned model, and find how much of each is best.

    Fine-tuning on long captions costs some of what the base knew of short ones. The model `(1 - alpha) * base + alpha *
    tuned` often keeps most of both. `--curve` shows what each alpha gains and loses; `--alpha` then writes the model.
    A curve that was interrupted goes on where it was.

    Example: `fastgoal blend openai/clip-vit-base-patch16 runs/goal/model blends --curve scenes/val`

    Args:
        base: the model that the tuned one was trained from; it is stretched to the tuned one's text limit.
        tuned: the fine-tuned model.
        out: folder of the blended model, or of `curve.json` and `curve.png`, or of both.
        language: of the captions, for cutting first sentences.
        batch: images per forward pass.
    """
    quiet_libraries()
    _check(out, alpha, curve, batch)
    points = _numbers(alphas)
    first, second = (DualEncoder.load(name, device=device) for name in (base, tuned))
    result: dict[str, object] = {"base": base, "tuned": tuned, "out": str(out)}
    if curve is not None:
        long = open_source(curve, root=root, limit=limit, columns=columns.given)
        tell_problems(long)
        brief = first_sentences(long, language) if short is None else open_source(short, limit=limit)
        if short is not None:
            tell_problems(brief)
        found = measure_curve(first, second, long, brief, out, alphas=points, batch=batch)
        print(describe(found))
        result |= {"curve": found.to_json()}
    if alpha is not None:
        mixed = blend_models(first, second, alpha)
        mixed.save(out)
        print(f"{out}: {1 - alpha:g} of {base} and {alpha:g} of {tuned}, reads {mixed.text_limit} tokens")
        result |= {"alpha": alpha, "text_tokens": mixed.text_limit}
    write_result(json, result)


def _check(out: Path, alpha: float | None, curve: Path | None, batch: int) -> None:
    if alpha is None and curve is None:
        raise ConfigError("neither a share nor data to measure on", mend="Give --alpha A, or --curve LONG, or both.")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ConfigError(f"alpha {alpha:g} is out of range", where="--alpha", mend="Choose a number from 0 to 1.")
    if batch < 1:
        raise ConfigError(f"{batch} images per forward pass", where="--batch", mend="Use at least 1.")
    if alpha is not None or out.is_file():
        expect_free(out, FILES)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        mend = "Give numbers from 0 to 1, as in 0,0.25,0.5,1."
        raise ConfigError(f"'{text}' are not numbers", where="--alphas", mend=mend) from None


def describe(curve: Curve) -> str:
    """A line per alpha and direction: R@1 on long and short captions, and both against the base."""
    lines = [f"From {curve.base} to {curve.tuned}, R@1 in percent and its change against the base [95 % interval]"]
    for metric in METRICS:
        way = "text to image" if metric.startswith("t2i") else "image to text"
        lines += [f"{way:<15}{f'long captions ({curve.long})':<38}short captions ({curve.short})"]
        lines += [
            f"  alpha {point.alpha:<6g} {_cell(point, 'long', metric):<38}{_cell(point, 'short', metric)}"
            for point in curve.points
        ]
    return "\n".join(lines)


def _cell(point: Point, kind: str, metric: str) -> str:
    way, name = metric.split()
    change = point.change[kind][metric]
    value, (low, high) = getattr(point.results[kind], way)[name], change["ci95"]
    return f"{value:5.1f}  {change['difference']:+5.1f} [{low:+.1f}, {high:+.1f}]"
