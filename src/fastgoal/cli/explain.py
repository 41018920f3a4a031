"""`fastgoal explain`."""

import sys
from collections.abc import Iterable, Sequence
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
    Root,
    quiet_libraries,
    tell_problems,
    write_result,
)
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError, DataError
from fastgoal.explain.compare import Explained, explained, pointing, to_json
from fastgoal.explain.page import render
from fastgoal.explain.sheet import draw, png, short_name
from fastgoal.explain.subjects import Subject, single, subjects
from fastgoal.explain.subjects import worst as worst_of
from fastgoal.files import make_folder, write_file
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.progress import Progress
from fastgoal.regions import make_proposer

USUAL_LIMIT = 5
PAGES = (".html", ".htm")


def explain(
    model: str,
    image: Path | None = None,
    caption: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    out: Path,
    data: Data | None = None,
    ids: Annotated[str | None, Parameter(help="These samples of --data, by their ids: a,b,c.")] = None,
    limit: Annotated[int | None, Parameter(help="The first N samples of --data (default: 5).")] = None,
    worst: Annotated[
        int | None, Parameter(help="The N samples of --data whose own image comes last for their caption.")
    ] = None,
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

    Draws for each sentence where the image is most like it (projected patches) and the region that matches it best.
    With `--against` two models side by side. True boxes, where the data gives them, are dashed, and the command prints
    how often each model points at them.

    Example: `fastgoal explain runs/goal/model photo.jpg "A red boat lies on the sand." --against tiny --out boat.png`

    What a model finds worst, and what came first instead:
    `fastgoal explain runs/goal/model --data scenes/test --worst 5 --out worst.html`

    Args:
        model: a local folder, a hub id, or `tiny`.
        image: an image file.
        caption: its text; `@FILE` reads it from a file, `-` from standard input.
        out: a picture (.png, of one image), a self-contained page (.html), or a folder: a page, and a picture of each.
        data: instead of an image and its caption, samples of any shape that `fastgoal check` takes.
        against: another model, shown before the first: what it was fine-tuned from.
        detector: proposes the regions; default: what stands out by colour, and the five fixed boxes.
        language: of the captions, where sentences are cut.
        words: weigh the words too, which takes a forward pass of the caption for each.
    """
    quiet_libraries()
    wanted = [one.strip() for one in (ids or "").split(",") if one.strip()]
    _expect_one_choice(image, caption, data, {"--ids": ids, "--limit": limit, "--worst": worst})
    count = 1 if data is None else worst or len(wanted) or limit or USUAL_LIMIT
    if out.suffix.lower() == ".png" and count > 1:
        mend = "Name an .html file or a folder, or choose one sample."
        raise ConfigError(f"{count} samples in one picture", where=f"--out {out}", mend=mend)
    chosen: Iterable[Subject] = [] if image is None else [single(image, _read_caption(caption or ""))]
    names = [model] if against is None else [against, model]
    encoders = [DualEncoder.load(name, device=device, text_tokens=tokens) for name in names]
    if data is not None:
        source = open_source(data, root=root, columns=columns.given)
        tell_problems(source)
        chosen = worst_of(encoders, source, count) if worst else subjects(source, wanted, count)
    proposer, every = make_proposer("flism", detector=detector, device=device), list[Explained]()
    with Progress(count, "explain", "image") as bar:
        for one in explained(encoders, chosen, proposer=proposer, words=words, language=language):
            every.append(one)
            bar.update()
    if every:
        _write(every, out, " beside ".join(short_name(name) for name in reversed(names)))
    print(describe(every) if every else "nothing to explain: for every caption its own image comes first")
    write_result(json, to_json(every))


def _expect_one_choice(
    image: Path | None, caption: str | None, data: object, choices: dict[str, str | int | None]
) -> None:
    """Raises ConfigError unless either an image with its caption is given, or data with at most one choice of it."""
    if (image is None) == (data is None) or (image is not None and caption is None):
        mend = "Give an image and its caption, or --data."
        raise ConfigError("not clear what to explain", where="explain", mend=mend)
    given = [flag for flag, value in choices.items() if value is not None]
    if data is None and given:
        raise ConfigError("nothing to choose from", where=given[0], mend="Add --data, or leave it out.")
    if len(given) > 1:
        raise ConfigError("samples are chosen twice", where=" and ".join(given), mend="Keep one of them.")
    for flag, value in choices.items():
        if (isinstance(value, int) and value < 1) or (isinstance(value, str) and not value.strip(" ,")):
            raise ConfigError("no sample is chosen", where=flag, mend="Choose 1 or more.")


def _read_caption(given: str) -> str:
    """What the argument says, or the file or the standard input that it names.

    Raises:
        DataError: an empty caption, or a file that cannot be read.
    """
    where, text = "caption", given
    if given == "-":
        where, text = "standard input", sys.stdin.read()
    elif given.startswith("@"):
        where = given[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # ValueError: not UTF-8
            raise DataError(f"the caption cannot be read ({error})", where=where, mend="Name a text file.") from None
    if not text.strip():
        raise DataError("the caption is empty", where=where, mend="Write what the image shows.")
    return text.strip()


def _write(every: Sequence[Explained], out: Path, title: str) -> None:
    """The picture, the page, or a folder of both.

    Raises:
        DataError: the disk refuses.
    """
    kind = out.suffix.lower()
    make_folder(out.parent if kind in (".png", *PAGES) else out)
    if kind == ".png":
        picture = draw(every[0])
        write_file(out, png(picture))
        print(f"{out}: {picture.width} x {picture.height} pixels")
        return
    write_file(out if kind in PAGES else out / "index.html", render(every, title))
    if kind not in PAGES:
        for number, one in enumerate(every, 1):
            write_file(out / f"{number:03d}.png", png(draw(one)))
    print(f"{out}: {len(every)} explained")


def describe(every: Sequence[Explained]) -> str:
    """Similarities, ranks of worst cases, and where the maps point."""
    lines = []
    for one in every:
        told = ", ".join(f"{short_name(found.model)} {found.similarity:.3f}" for found in one.explanations)
        instead = one.subject.instead
        rank = "" if instead is None else f" (rank {instead.ranks[-1]:,} of {instead.gallery:,}, behind {instead.name})"
        lines.append(f"{one.subject.id}{rank}: similarity {told}")
    for row in pointing(every):
        share, chance = 100 * row.hits / row.sentences, 100 * row.chance / row.sentences
        said = f"the most similar patch lies in the true box of {row.hits} of {row.sentences} sentences"
        lines.append(f"{short_name(row.model)}: {said} ({share:.1f} %; a patch at random: {chance:.1f} %)")
    return "\n".join(lines)
