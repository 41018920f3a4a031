"""What a card says about a data set: counted from its rows, and read from the records that captioning and matching
left beside them.

Figures after FAST-GOAL's Table I (number of pairs, mean words, mean image-text similarity of 1,000 samples), with
tokens, sentences, regions and local pairs besides. Shapes: N samples drawn, D joint dimensions.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fastgoal.captioning.journal import read_record
from fastgoal.checking.captions import MEASURED, CaptionFacts, CaptionMeter, Spread, TextModel, evenly
from fastgoal.checking.findings import Tally
from fastgoal.data.images import read_image
from fastgoal.data.samples import Sample
from fastgoal.data.source import open_source
from fastgoal.data.store import ImageStore
from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import DataError
from fastgoal.files import shown_name
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import MANIFEST, PairsTable
from fastgoal.progress import Progress
from fastgoal.remote.place import Place, Url


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Cosine similarity of image and whole caption. samples: how many were drawn; cut_share: of their captions, those
    that were longer than the model reads."""

    model: str
    fingerprint: str
    tokens: int
    samples: int
    mean: float
    deviation: float
    cut_share: float


@dataclass(frozen=True, kw_only=True)
class LocalFacts:
    """What matching found. Sources are counted over all regions, and over those of the best pairs; similarity is the
    mean of the best pairs' cosine similarities, None without any."""

    paired: int
    regions_per_image: float
    region_sources: Mapping[str, int]
    pair_sources: Mapping[str, int]
    similarity: float | None
    matcher: str
    detector: str
    rule: str


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """A data set in figures.

    samples: usable ones; images: distinct ones among them. skipped: reason -> count of what cannot be used.
    local: None where the data was not matched. captioner: the record of `fastgoal caption`, None without one.
    """

    name: str
    samples: int
    images: int
    words: Spread | None
    captions: CaptionFacts
    skipped: Mapping[str, int] = field(default_factory=dict)
    similarity: Similarity | None = None
    local: LocalFacts | None = None
    captioner: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The usable samples of a table or of data, in order."""

    name: str
    images: ImageStore
    samples: Iterable[Sample]
    count: int


def gather(
    path: Path, text_model: TextModel, *, root: str | Path | None = None, language: str = "en"
) -> tuple[DataFacts, Rows]:
    """Everything that needs no model: the facts, and the samples for `measure_similarity`.

    Args:
        path: a pairs table, or data of any shape. root: folder of the images, if not as the data says.

    Raises:
        DataError: neither of the two; no sample can be used.
    """
    if (path / MANIFEST).is_file():
        table = PairsTable.open(path, root=root)
        rows, skipped, local = _table_rows(table, path), _skipped(table), _local(table)
    else:
        source = open_source(path, root=root)
        rows = Rows(name=source.name, images=source.images, samples=source, count=len(source))
        skipped, local = dict(source.problems.counts), None
    if not rows.count:
        raise DataError("no sample can be used", where=path, mend="`fastgoal check` says what is wrong with the data.")
    meter, words, images = CaptionMeter(text_model, language, Tally()), [], set()
    for number, sample in enumerate(rows.samples):
        meter.add(sample, evenly(number, MEASURED, rows.count))
        words.append(len(sample.caption.split()))
        images.add(sample.image)
    facts = DataFacts(
        name=rows.name,
        samples=len(words),
        images=len(images),
        words=Spread.of(words),
        captions=meter.facts(),
        skipped=skipped,
        local=local,
        captioner=_captioner(rows.images.root),
    )
    return facts, rows


@dataclass(frozen=True)
class _Usable:
    table: PairsTable

    def __iter__(self) -> Iterator[Sample]:
        usable = (row for row in self.table if row.skip is None)
        return (Sample(id=row.id, image=row.image, caption=row.caption, where=row.image) for row in usable)


def _table_rows(table: PairsTable, path: Path) -> Rows:
    count = table.manifest.counts["samples"] - table.manifest.counts["skipped"]
    return Rows(name=shown_name(path), images=table.images, samples=_Usable(table), count=count)


def _skipped(table: PairsTable) -> dict[str, int]:
    return dict(Counter(row.skip for row in table if row.skip is not None))


def _local(table: PairsTable) -> LocalFacts:
    rows = [row for row in table if row.skip is None]
    best = [(row, row.pairs[0]) for row in rows if row.pairs]
    pictures = {row.image: row for row in rows}.values()
    origin = table.manifest.origin
    return LocalFacts(
        paired=len(best),
        regions_per_image=sum(len(row.regions) for row in pictures) / max(1, len(pictures)),
        region_sources=dict(Counter(region.source for row in pictures for region in row.regions)),
        pair_sources=dict(Counter(row.regions[pair.region].source for row, pair in best)),
        similarity=float(np.mean([pair.similarity for _, pair in best])) if best else None,
        matcher=origin.matcher,
        detector=origin.detector,
        rule=str(origin.settings.get("rule", "")),
    )


def _captioner(root: Place) -> dict[str, Any] | None:
    """The report of the captioning that wrote the data; None where there is none, or a file of others by its name."""
    if isinstance(root, Url):
        return None
    try:
        record = read_record(root)
    except DataError:
        return None
    return None if record is None else record["report"]


def measure_similarity(rows: Rows, encoder: DualEncoder, samples: int = 1000, progress: bool = True) -> Similarity:
    """Cosine similarity of image and caption, of samples drawn evenly; images that cannot be read are passed over.

    Args:
        samples: how many to draw; FAST-GOAL draws 1,000.

    Raises:
        DataError: no image can be read.
    """
    drawn = [sample for n, sample in enumerate(rows.samples) if evenly(n, samples, rows.count)]
    read: list[Sample] = []
    with Progress(len(drawn), "similarity", "sample", show=progress) as bar:
        images_ND = embed_images(encoder, _readable(drawn, rows.images, read), progress=bar.update)
    if not read:
        raise DataError("no image can be read", where=rows.images.root, mend="Say where the images lie with --root.")
    texts_ND, truncated_N = embed_texts(encoder, [sample.caption for sample in read], batch=32)
    cosine_N = (images_ND * texts_ND).sum(axis=1)
    return Similarity(
        model=shown_name(encoder.name),
        fingerprint=encoder.fingerprint,
        tokens=encoder.text_limit,
        samples=len(read),
        mean=float(cosine_N.mean()),
        deviation=float(cosine_N.std()),
        cut_share=float(truncated_N.mean()),
    )


def _readable(samples: Iterable[Sample], store: ImageStore, read: list[Sample]) -> Iterator[Image.Image]:
    for sample in samples:
        try:
            image = read_image(store.open(sample.image), where=sample.image)
        except DataError:
            continue
        read.append(sample)
        yield image
