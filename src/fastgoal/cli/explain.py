"""`fastgoal explain`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fastgoal.cli.common import (
    USUAL,
    ColumnNames,
    Data,
    Detector,
    Device,
    Json,
    Root,
    quiet_libraries,
    tell_problems,
    write_result,
)
from fastgoal.errors import ConfigError
from fastgoal.progress import Progress

SHOWN = 5
"""Samples of some data, unless told otherwise."""


def explain(
    model: str,
    image: Path | None = None,
    caption: str | None = None,
    /,
    *,
    out: Path,
    data: Data | None = None,
    ids: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    limit: Annotated[int | None, Parameter(help="The first N samples of --data (default: 5).")] = None,
    worst: int | None = None,
    against: str | None = None,
    detector: Detector = None,
    language: str = "en",
    words: bool = True,
    tokens: Annotated[int | None, Parameter(help="Stretch or cut the models to this text limit.")] = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """Show what in an image a model looks at, which part of it each sentence means, and which words carry the match.

    Draws a row per sentence: where the image is most like it (projected patches), and the region that matches it best.
    With `--against` a column per model, before and after. True boxes, where the data gives them, are dashed, and the
    command prints how often each model points at them.

    Example: `fastgoal explain runs/goal/model photo.jpg "A red boat lies on the sand." --against tiny --out boat.png`

    What a model finds worst: `fastgoal explain runs/goal/model --data scenes/test --worst 5 --out worst.html`

    Args:
        model: a local folder, a hub id, or `tiny`.
        image: an image file. caption: its text; `-` reads it from standard input.
        out: a picture (.png, one sample), a self-contained page (.html), or a folder for both of every sample.
        data: instead of an image and a caption, samples of any shape that `fastgoal check` takes.
        ids: these samples of it.
        worst: the N samples whose own image comes last for their caption, with what came first instead.
        against: another model, shown on the left: what it was before.
        detector: proposes the regions; default: what stands out by colour, and the five fixed boxes.
        language: of the captions, where sentences are cut.
        words: also what each word carries (a forward pass of the text for each).
    """
    quiet_libraries()
    picture = out.suffix.lower() == ".png"
    _expect_one_kind(image, caption, data, ids, limit, worst)
    from fastgoal.data.source import open_source
    from fastgoal.explain.compare import explained, to_json
    from fastgoal.explain.subjects import single, subjects
    from fastgoal.explain.subjects import worst as worst_of
    from fastgoal.models.dual_encoder import DualEncoder
    from fastgoal.regions import make_proposer

    names = [model] if against is None else [against, model]
    encoders = [DualEncoder.load(name, device=device, text_tokens=tokens) for name in names]
    chosen: Iterable[Any]
    if data is None:
        assert image is not None and caption is not None  # `_expect_one_kind` has seen to it
        chosen, count = [single(image, sys.stdin.read().strip() if caption == "-" else caption)], 1
    else:
        source = open_source(data, root=root, columns=columns.given)
        tell_problems(source)
        count = min(worst or len(ids) or limit or SHOWN, len(source))
        chosen = worst_of(encoders[-1], source, count) if worst else subjects(source, ids, count)
    if picture and count > 1:
        what, mend = f"{count} samples in one picture", "Name a .html file or a folder."
        raise ConfigError(what, where=f"--out {out}", mend=mend)
    proposer = make_proposer("flism", detector=detector, device=device)
    with Progress(count, "explain", "image") as bar:
        every = []
        for one in explained(encoders, chosen, proposer=proposer, words=words, language=language):
            every.append(one)
            bar.update()
    if not every:
        print("nothing to explain: for every caption its own image comes first")
        write_result(json, to_json(every))
        return
    _write(every, out, f"{' beside '.join(reversed(names))}")
    _tell(every)
    write_result(json, to_json(every))


def _expect_one_kind(
    image: Path | None,
    caption: str | None,
    data: object,
    ids: tuple[str, ...],
    limit: int | None,
    worst: int | None,
) -> None:
    """Raises ConfigError unless either an image with its caption or data is given, and flags that go with it."""
    if (image is None) == (data is None) or (image is not None and caption is None):
        mend = 'Give an image and its caption ("-": from standard input), or --data.'
        raise ConfigError("not clear what to explain", where="fastgoal explain", mend=mend)
    if data is None and (ids or limit is not None or worst is not None):
        flag = "--ids" if ids else "--limit" if limit is not None else "--worst"
        raise ConfigError("nothing to choose from", where=flag, mend="Add --data, or leave it out.")
    for flag, value in (("--limit", limit), ("--worst", worst)):
        if value is not None and value < 1:
            raise ConfigError(f"{value} samples", where=flag, mend="Give 1 or more.")
    given = [flag for flag, value in (("--ids", ids), ("--limit", limit), ("--worst", worst)) if value]
    if len(given) > 1:
        raise ConfigError("choose the samples twice", where=" and ".join(given), mend="Keep one of them.")


def _write(every: list[Any], out: Path, title: str) -> None:
    from fastgoal.explain.page import render
    from fastgoal.explain.sheet import draw
    from fastgoal.files import make_folder, write_file

    if out.suffix.lower() == ".png":
        make_folder(out.parent)
        write_file(out, draw(every[0]))
    elif out.suffix.lower() in (".html", ".htm"):
        make_folder(out.parent)
        write_file(out, render(every, title))
    else:
        make_folder(out)
        write_file(out / "index.html", render(every, title))
        for number, one in enumerate(every, 1):
            write_file(out / f"{number:03d}.png", draw(one))
    print(f"wrote {out}")


def _tell(every: list[Any]) -> None:
    """Similarities, and where the maps point."""
    from fastgoal.explain.compare import pointing

    for one in every:
        rank = "" if one.subject.instead is None else f"rank {one.subject.instead.rank}, "
        told = ", ".join(f"{found.model} {found.similarity:.3f}" for found in one.explanations)
        print(f"{one.subject.id}: {rank}{told}")
    for row in pointing(every):
        share, chance = 100 * row.hits / row.sentences, 100 * row.chance / row.sentences
        print(
            f"{row.model}: the most similar patch lies in the true box of {row.hits} of {row.sentences} sentences",
            end="",
        )
        print(f" ({share:.0f} %; a patch at random: {chance:.0f} %)")
