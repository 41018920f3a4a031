"""The pass over a data set: captions first, then images, then what equals or resembles what.

The one idea: what has to be known of all samples at once is eight bytes each. Samples themselves are read again, never
kept: once for their captions, once beside their images, and once more up to the last one that a message has to name.

Shapes: N samples, U distinct images (by URI, in order of appearance).
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from fastgoal.checking.captions import MEASURED, CaptionFacts, CaptionMeter, Spread, TextModel, clean, evenly
from fastgoal.checking.findings import Finding, Tally
from fastgoal.checking.ledger import FINE, UNSEEN, Ledger
from fastgoal.checking.pictures import Asked, Look, look_ahead, place_of
from fastgoal.checking.sameness import alike_images, equal_captions, equal_images, twins
from fastgoal.checking.shapes import shape_of
from fastgoal.data.samples import Sample
from fastgoal.data.source import Source
from fastgoal.errors import ConfigError, DataError
from fastgoal.geometry import area, clip_box
from fastgoal.progress import Progress


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """How closely to look.

    language: of the captions, for cutting sentences (ISO 639). images: distinct images to open, drawn evenly; None: all
    of them, 0: none. progress: show bars on standard error where it is a terminal.
    """

    language: str = "en"
    images: int | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if self.images is not None and self.images < 0:
            raise ConfigError(f"{self.images} images", where="images", mend="Use 0 for none, or leave it out for all.")


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What the usable ones among the images that were opened are like.

    smallest, median, largest: width and height in pixels, by area. formats, modes: name -> images.
    """

    usable: int
    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    formats: Mapping[str, int]
    modes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a data set is, and what is wrong with it.

    records: samples and what cannot be read as one. usable: samples whose image can be decoded or was not opened.
    images, opened: distinct images, and how many of them were opened. per_image: captions of an image. pictures: None
    if none was opened or none is usable.
    """

    source: Source
    shape: str
    records: int
    samples: int
    usable: int
    images: int
    opened: int
    per_image: Spread | None
    captions: CaptionFacts
    pictures: PictureFacts | None
    findings: tuple[Finding, ...]
    ledger: Ledger

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        plain = ("shape", "records", "samples", "usable", "images", "opened")
        return {
            "name": self.source.name,
            **{name: getattr(self, name) for name in plain},
            "captions_per_image": self.per_image and asdict(self.per_image),
            "captions": asdict(self.captions),
            "pictures": self.pictures and asdict(self.pictures),
            "findings": [found.to_json() for found in self.findings],
        }


def audit(source: Source, model: TextModel, settings: CheckSettings | None = None) -> Audit:
    """Read a data set through and say what it is and what is wrong with it.

    Args:
        source: opened with `probe=False`, so that data without a single usable sample can be looked at too.
        model: whose tokens captions are counted in.

    Raises:
        DataError: a column that cannot be told, or a table that breaks off.
    """
    settings = settings or CheckSettings()
    tally = Tally()
    captions, ledger, broken = _read_captions(source, model, tally, settings)
    pictures = _look_at_images(source, ledger, tally, settings)
    return Audit(
        source=source,
        shape=shape_of(source),
        records=len(ledger.caption_N) + broken,
        samples=len(ledger.caption_N),
        usable=int(ledger.usable_N.sum()),
        images=len(ledger.first_U),
        opened=int((ledger.state_U != UNSEEN).sum()),
        per_image=Spread.of(np.bincount(ledger.image_N)),
        captions=captions,
        pictures=pictures,
        findings=(
            *tally.findings(),
            *twins(source, ledger),
            *equal_images(source, ledger),
            *alike_images(source, ledger),
            *equal_captions(source, ledger),
        ),
        ledger=ledger,
    )


def _read_captions(
    source: Source, model: TextModel, tally: Tally, settings: CheckSettings
) -> tuple[CaptionFacts, Ledger, int]:
    """The captions in figures, a ledger before any image was opened, and how many records are no samples."""
    meter, total, broken = CaptionMeter(model, settings.language, tally), len(source), 0
    captions, uris = array("Q"), array("Q")
    with Progress(total, "captions", "sample", show=settings.progress) as bar:
        for entry in source.checked():
            if isinstance(entry, DataError):
                broken += 1
                tally.add("left out", entry)
                continue
            meter.add(entry, evenly(len(captions), MEASURED, total))
            captions.append(_hash(clean(entry.caption)))
            uris.append(_hash(entry.image))
            bar.update()
    return meter.facts(), Ledger.of(_frozen(captions), _frozen(uris)), broken


def _look_at_images(source: Source, ledger: Ledger, tally: Tally, settings: CheckSettings) -> PictureFacts | None:
    """Open the images that are wanted, enter them in the ledger, and hold the given boxes against their sizes."""
    images = len(ledger.first_U)
    wanted = images if settings.images is None else min(settings.images, images)
    formats: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    with Progress(wanted, "images", "image", show=settings.progress and wanted > 0) as bar:
        for asked, seen in look_ahead(_asked(source, ledger, wanted), source.images):
            image = int(ledger.image_N[asked.number])
            if seen is not None:
                bar.update()
                ledger.enter(image, seen)
                _tell_image(asked.sample, seen, tally)
                formats.update([seen.format] * (not seen.problem))
                modes.update([seen.mode] * (not seen.problem))
            if ledger.state_U[image] == FINE:
                _tell_regions(asked.sample, ledger.size_U2[image].tolist(), tally)
    return _pictures(ledger, formats, modes)


def _asked(source: Source, ledger: Ledger, wanted: int) -> Iterator[Asked]:
    """The samples that have an image to open, or boxes."""
    if not wanted:
        return
    images = len(ledger.first_U)
    for number, sample in enumerate(source):
        image = int(ledger.image_N[number])
        first = ledger.first_U[image] == number and evenly(image, wanted, images)
        if first or sample.regions:
            yield Asked(number=number, sample=sample, wanted=bool(first))


def _tell_image(sample: Sample, seen: Look, tally: Tally) -> None:
    if seen.problem:
        tally.add("left out", seen.problem)
    elif seen.plain:
        mend = "Look whether it was exported or scanned empty; it is used as it is."
        tally.add("look", DataError("the image is of one plain colour", where=place_of(sample), mend=mend))


def _tell_regions(sample: Sample, size: tuple[int, int], tally: Tally) -> None:
    """Boxes beyond the image: matching clips them, and drops those of which nothing is left."""
    width, height = size
    for number, region in enumerate(sample.regions):
        clipped = clip_box(region.box, width, height)
        if clipped == region.box:
            continue
        where = f"{sample.where} regions[{number}]"
        mend = "Give pixels of the upright image; --fix cuts it to the image."
        kind = "a box reaches beyond its image" if area(clipped) > 0 else "a box lies wholly outside its image"
        if not area(clipped):
            mend = "Give pixels of the upright image (not shares, not another size); --fix drops it."
        box = ", ".join(f"{value:g}" for value in region.box)
        tally.add("mended", DataError(f"{kind} (box {box}; image {width} x {height})", where=where, mend=mend), kind)


def _pictures(ledger: Ledger, formats: Counter[str], modes: Counter[str]) -> PictureFacts | None:
    size_K2 = ledger.size_U2[ledger.state_U == FINE]
    if not len(size_K2):
        return None
    order_K = np.argsort(size_K2.astype(np.int64).prod(axis=1), kind="stable")
    smallest, median, largest = (tuple(size_K2[order_K[at]].tolist()) for at in (0, (len(order_K) - 1) // 2, -1))
    return PictureFacts(
        usable=len(size_K2),
        smallest=smallest,
        median=median,
        largest=largest,
        formats=dict(formats.most_common()),
        modes=dict(modes.most_common()),
    )


def _frozen(numbers: "array[int]") -> "np.ndarray[Any, np.dtype[np.uint64]]":
    return np.frombuffer(numbers, dtype=np.uint64) if numbers else np.empty(0, dtype=np.uint64)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
