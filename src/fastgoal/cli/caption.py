"""`fastgoal caption`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fastgoal.captioning import Captioner, CaptionReport, CaptionSettings, check_place, open_pictures, read_prompt
from fastgoal.captioning import caption as caption_pictures
from fastgoal.captioning.captioner import Dtype
from fastgoal.cli.common import (
    USUAL,
    ColumnNames,
    Device,
    Json,
    Root,
    quiet_libraries,
    write_result,
)

Images = Annotated[int | None, Parameter(help="Caption the first N images only; without it, the rest later.")]


def caption(
    images: Path,
    /,
    *,
    captioner: str,
    out: Path,
    prompt: str | None = None,
    max_new_tokens: int = CaptionSettings.max_new_tokens,
    batch: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    language: str = "en",
    dtype: Dtype = "auto",
    device: Device = "cpu",
    limit: Images = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
    overwrite: bool = False,
    json: Json = None,
) -> None:
    """Write a long caption for every image with a vision-language model.

    Makes a folder that `fastgoal check`, `match` and `run` take: `captions.jsonl`, which names the images where they
    lie (nothing is copied), `left-out.jsonl` with what has no caption and why, and `caption.json` with what the
    captions were made by. Interrupted, the same command continues. Images that cannot be read are left out, counted
    and named.

    Example: `fastgoal caption photos --captioner llava-hf/llava-v1.6-mistral-7b-hf --out captioned --device cuda`

    Args:
        images: a folder of images (and folders of them), tars, or any data, whose captions are then not looked at.
        captioner: a vision-language model of transformers: a local folder or a hub id.
        out: folder of the captions, another than that of the images.
        prompt: what the model is asked, or a text file with it (default: to describe only what is visible, in one
            paragraph). A model without a chat template gets it as it stands, and nothing by default.
        max_new_tokens: limit of a caption; a sentence that it leaves unfinished is dropped.
        batch: images at once (default: 1 on a CPU, 8 on a GPU).
        temperature: 0 takes the likeliest token each time; above, tokens are drawn, by `--seed`.
        language: of the captions, for finding their sentences.
        dtype: of the weights; `auto` as they are stored.
        overwrite: drop captions that are already in the folder.
    """
    quiet_libraries()
    settings = CaptionSettings(
        prompt=None if prompt is None else read_prompt(prompt),
        max_new_tokens=max_new_tokens,
        batch=batch,
        temperature=temperature,
        seed=seed,
        language=language,
        overwrite=overwrite,
    )
    pictures = open_pictures(images, root=root, limit=limit, columns=columns.given)
    check_place(pictures, out)
    model = Captioner.load(captioner, device=device, dtype=dtype)
    report = caption_pictures(pictures, model, out, settings)
    print(describe(report, out))
    write_result(json, report.to_json())


def describe(report: CaptionReport, out: Path) -> str:
    """A report in a few lines."""
    lines = [
        f"{report.captioned:,} of {report.images:,} images have a caption of {report.words_mean:.0f} words on average, "
        f"by {report.captioner}; {report.images_per_second:.2f} images/s."
    ]
    if report.dropped_sentences:
        lines.append(f"{report.dropped_sentences:,} lost an unfinished last sentence to the token limit.")
    if report.unfinished:
        lines.append(f"{report.unfinished:,} end unfinished at the token limit; raise --max-new-tokens.")
    lines += [f"left out {count:,}: {reason}" for reason, count in report.left_out.items()]
    return "\n".join([*lines, f"Next: fastgoal check {out}"])
