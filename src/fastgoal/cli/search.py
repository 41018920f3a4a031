"""`fastgoal search`."""

import sys
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

from cyclopts import Parameter

from fastgoal.cli.common import Data, Device, Json, Root, quiet_libraries, write_result
from fastgoal.data.images import read_image
from fastgoal.errors import ConfigError
from fastgoal.models.baselines import load_retriever
from fastgoal.search.hits import Found
from fastgoal.search.passages import sentence_spans
from fastgoal.search.searcher import Facts, Searcher
from fastgoal.search.sheet import draw_sheet, expect_sheet, write_page
from fastgoal.search.stores import MEMORY_MIB

Query = Annotated[str | None, Parameter(help="What the image shows, in as many sentences as you like.")]
_WIDE = 72


def search(
    uri: Data,
    text: Query = None,
    /,
    *,
    image: Path | None = None,
    like: str | None = None,
    top: int = 10,
    skip: int = 0,
    filter: str | None = None,
    regions: bool = False,
    out: Path | None = None,
    picture: Path | None = None,
    model: str | None = None,
    language: str = "en",
    memory_mib: float = MEMORY_MIB,
    root: Root = None,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """Find the images of an index that a paragraph, or another image, fits best.

    The score of an image is the cosine of its embedding and the query's. A query longer than the model's text limit is
    read in passages of whole sentences, and the score is the mean over them, by their tokens; the passages are printed.

    Example: `fastgoal search photos.index "A red boat lies on the beach. Behind it, a white house." --regions`

    Args:
        uri: the index, as `fastgoal index` made it.
        image: search by this picture instead of a text.
        like: search by an image of the index, named by its id.
        top: hits that are shown.
        skip: leave out so many hits before them.
        filter: an SQL condition over id, image, width, height, caption and bytes, such as "width > height AND caption
            LIKE '%boat%'".
        regions: say for every hit how well it meets each sentence, and where: in its best region, if the index holds
            regions.
        out: write a page (.html) with the hits, to be looked at offline.
        picture: draw the hits into this file (.png or .jpg).
        model: the model to embed the query with (default: the one that the index names; it has to be the same).
        language: of the text, for cutting sentences.
        memory_mib: hold the vectors in memory and compare every one while they are no more than this.
    """
    asked = [name for name, value in (("TEXT", text), ("--image", image), ("--like", like)) if value is not None]
    if len(asked) != 1:
        mend = "Give either a text, or --image FILE, or --like ID."
        raise ConfigError(f"{' and '.join(asked) or 'nothing'} to search by", where="search", mend=mend)
    for file, kinds in ((out, (".html",)), (picture, (".png", ".jpg"))):
        expect_sheet(file, kinds)
    quiet_libraries()
    encoder = None if model is None else load_retriever(model, device=device)
    searcher = Searcher.open(uri, encoder, root=root, memory_mib=memory_mib, device=device)
    if not searcher.facts.complete:
        print("indexing was interrupted: only a part of the images is searched", file=sys.stderr)
    options: dict[str, Any] = {"top": top, "skip": skip, "where": filter}
    if text is not None:
        found = searcher.text(text, sentences=regions, language=language, **options)
    elif image is not None:
        found = searcher.image(read_image(image), **options)
    else:
        found = searcher.like(str(like), **options)
    print(describe(found, searcher.facts, skip=skip, language=language))
    title = text or f"like {image or like}"
    if out is not None:
        write_page(out, searcher, found, title, skip=skip)
    if picture is not None:
        draw_sheet(picture, searcher, found)
    write_result(json, found.to_json() | {"uri": searcher.facts.uri, "model": searcher.facts.model})


def describe(found: Found, facts: Facts, *, skip: int = 0, language: str = "en") -> str:
    """What was found as a table."""
    lines = _passages(found, language)
    width = max((len(hit.id) for hit in found.hits), default=0)
    for rank, hit in enumerate(found.hits, start=skip + 1):
        lines.append(f"{rank:>4}  {hit.score:.4f}  {hit.id:<{width}}  {hit.width} x {hit.height}")
        for met in hit.sentences:
            where = "whole image" if met.box is None else "[{:.0f}, {:.0f}, {:.0f}, {:.0f}]".format(*met.box)
            said = shorten((found.query or "")[slice(*met.span)], _WIDE, placeholder=" ...")
            lines.append(f"{'':>6}{met.score:.4f}  {where:<24}  {said}")
    how = "compared exactly" if found.exact else "by the approximate index"
    lines.append(
        f"{found.matching:,} of {facts.images:,} images, {how}; {found.encode_ms:.0f} ms to read the query, "
        f"{found.search_ms:.0f} ms to search."
    )
    return "\n".join(lines)


def _passages(found: Found, language: str) -> list[str]:
    if not found.passages or found.query is None:
        return []
    lines = [f"The query exceeds the text limit and is read in {len(found.passages)} passages; scores are their means:"]
    lines += [f"    {shorten(found.query[start:end], _WIDE, placeholder=' ...')}" for start, end in found.passages]
    ends = {end for _, end in sentence_spans(found.query, language)}
    if cut := sum(end not in ends for _, end in found.passages):
        lines.append(f"    ({cut} of them end within a sentence, which is too long by itself)")
    return lines
