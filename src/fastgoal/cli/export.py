"""`fastgoal export`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from fastgoal.cli.common import Json, quiet_libraries, write_result
from fastgoal.export import TOLERANCE, Exported
from fastgoal.export import export as export_model
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.folder import expect_free

Format = Annotated[
    Literal["onnx", "sentence-transformers", "open-clip"], Parameter(name="--format", help="Whose files to write.")
]


def export(
    model: str,
    out: Path,
    /,
    *,
    format_: Format,
    tokens: int | None = None,
    json: Json = None,
) -> None:
    """Write a model for another library: ONNX, sentence-transformers or open_clip.

    A trained model is a plain transformers folder already; this is for programs that use something else. `onnx` writes
    both towers for onnxruntime, for any size of batch and length of text (`pip install 'fastgoal[onnx]'`);
    `sentence-transformers` a folder for `SentenceTransformer(OUT)`, whose `encode` takes texts and images; `open-clip`
    one for `open_clip.create_model_and_transforms('local-dir:OUT')`. Each comes with a README that shows its use. What
    the other library computes is compared with the model before the folder gets its name, and the largest difference is
    printed; an export that differs leaves nothing behind. open_clip itself is not run: what was written is read back.

    Example: `fastgoal export runs/goal/model goal-onnx --format onnx`

    Args:
        model: the model to export.
        out: folder to write; new or empty.
        tokens: text limit to stretch or cut the model to before (default: its own).
    """
    quiet_libraries()
    expect_free(out)
    done = export_model(DualEncoder.load(model, text_tokens=tokens), out, format_)
    print(describe(done))
    write_result(json, done.to_json())


def describe(done: Exported) -> str:
    """The files with their sizes, and how near the other library comes."""
    lines = [f"{done.out}: {done.format}, texts of {done.text_tokens} tokens, images of {done.image_size} pixels"]
    lines += [f"  {name:<34}{size / 2**10:12,.0f} KiB" for name, size in done.files.items()]
    lines += [
        f"  {check.what}: differs by at most {check.difference:.1e} in {check.library} (of {check.items}; allowed "
        f"{TOLERANCE:.0e})"
        for check in done.checks
    ]
    return "\n".join(lines)
