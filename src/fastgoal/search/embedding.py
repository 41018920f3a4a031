"""From images to the rows of an index.

The one idea: a batch of images is read, cut and embedded as a whole, by the `Embedder`, and what comes of it is a
function of these images alone. So who computes a batch (an `Engine`: this process, or a cluster) makes no difference to
the index; and a batch is what one commit holds and a kill may lose.

Threads read, decode and fit the next images while the model computes. Pixels are decoded in full (no JPEG draft): an
image has the embedding that evaluation gives it.

Shapes: N images and R regions of a batch, D joint dimensions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastgoal.ahead import look_ahead
from fastgoal.data.images import fit_pixels, read_image
from fastgoal.data.samples import Sample
from fastgoal.data.store import ImageStore
from fastgoal.embed import View, embed_images
from fastgoal.errors import ConfigError, DataError, ModelError
from fastgoal.geometry import Box, ImageFit
from fastgoal.matching.fingerprint import fingerprint
from fastgoal.models.retriever import Retriever
from fastgoal.progress import Progress
from fastgoal.regions.region import Proposer, Region, propose_for, reads
from fastgoal.search.plan import Todo, hashed

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Look:
    """One image as it was read.

    key: a hash of its id and content. size: bytes of the file. same: its content is what the index holds already.
    views: whole image and regions, square, H x W x C; empty if the same, or not readable.
    """

    todo: Todo
    key: int = 0
    size: int = 0
    same: bool = False
    width: int = 0
    height: int = 0
    boxes: tuple[Box, ...] = ()
    views: tuple[View, ...] = ()
    error: DataError | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of images, embedded.

    looks: those that were embedded, without their pixels. image_ND, region_RD: unit vectors, the regions in the order
    of the looks' boxes. same: those whose vectors the index has. left_out: those that cannot be read. worker: who
    computed it, where there are several.
    """

    looks: tuple[Look, ...]
    image_ND: Floats
    region_RD: Floats
    same: tuple[Look, ...]
    left_out: tuple[Look, ...]
    worker: str | None = None


class Embedder:
    """From images to their embeddings, a batch at a time.

    Args:
        images: where the images are read from.
        proposer: gives regions; None: whole images only.
        batch: views per forward pass. workers: threads that read and decode.
    """

    def __init__(
        self, encoder: Retriever, images: ImageStore, proposer: Proposer | None, *, batch: int, workers: int
    ) -> None:
        self.encoder, self.images, self.proposer = encoder, images, proposer
        self.batch, self.workers = batch, workers

    @cached_property
    def fingerprints(self) -> dict[str, str | None]:
        """What the rows depend on besides the images. Reads all weights."""
        own = None if self.proposer is None else fingerprint(self.proposer)
        return {"model": self.encoder.fingerprint, "source of regions": own}

    def __call__(self, todo: Sequence[Todo], bar: Progress | None = None) -> Batch:
        """The embeddings of some images, in their order.

        Raises:
            ModelError: they are not finite. ConfigError: the model has several vectors per image.
        """
        looks: list[Look] = []

        def views() -> Iterator[View]:
            for look in self._looks(todo):
                looks.append(replace(look, views=()))  # the pixels go when they are encoded
                yield from look.views
                if bar is not None:
                    bar.update()

        vector_MD = embed_images(self.encoder, views(), batch=self.batch)
        _expect_usable(vector_MD, self.encoder)
        fresh = tuple(look for look in looks if look.error is None and not look.same)
        whole_M = np.array([box is None for look in fresh for box in (None, *look.boxes)], bool)
        return Batch(
            looks=fresh,
            image_ND=vector_MD[whole_M],
            region_RD=vector_MD[~whole_M],
            same=tuple(look for look in looks if look.same),
            left_out=tuple(look for look in looks if look.error is not None),
        )

    def _looks(self, todo: Sequence[Todo]) -> Iterator[Look]:
        group = 1 if self.proposer is None else 16
        rest = iter(todo)
        found = ([(t, self._find(t)) for t in some] for some in iter(lambda: list(islice(rest, group)), []))
        look = partial(_looks_at, fit=self.encoder.fit, proposer=self.proposer)
        ahead = max(self.workers, self.batch // group)  # a batch is ready when the model is
        for looks in look_ahead(look, found, self.workers, ahead=ahead):
            yield from looks

    def _find(self, todo: Todo) -> Path | bytes | DataError:
        try:
            return self.images.open(todo.picture.uri)
        except DataError as error:
            return error


Batches = Sequence[Sequence[Todo]]
Engine = Callable[[Batches, Embedder, Progress], Iterator[Batch]]
"""Gives every batch in order; counts images on the bar."""


def here(batches: Batches, embedder: Embedder, bar: Progress) -> Iterator[Batch]:
    """The engine of one process."""
    return (embedder(todo, bar) for todo in batches)


def _looks_at(
    found: Sequence[tuple[Todo, Path | bytes | DataError]], fit: ImageFit, proposer: Proposer | None
) -> list[Look]:
    read = [_read(todo, raw, proposer) for todo, raw in found]
    decoded = [_decoded(look, raw) for look, raw in read]
    new = [(look, picture) for look, picture in decoded if picture is not None]
    proposed: Sequence[Sequence[Region]] = [()] * len(new)
    if proposer is not None and new:
        samples = [_sample(look.todo) for look, _ in new]
        proposed = propose_for(proposer, samples, [picture for _, picture in new])
    regions_of = iter(proposed)
    return [look if picture is None else _cut(look, picture, next(regions_of), fit) for look, picture in decoded]


def _read(todo: Todo, raw: Path | bytes | DataError, proposer: Proposer | None) -> tuple[Look, Path | bytes]:
    """The bytes of an image, by which its content is known; a path where it has none, for `read_image` to say why."""
    if isinstance(raw, DataError):
        return Look(todo=todo, error=raw), b""
    try:
        content = raw.read_bytes() if isinstance(raw, Path) and raw.is_file() else raw
    except OSError:
        content = raw
    if isinstance(content, Path):
        return Look(todo=todo), content
    facts = [todo.picture.id, blake2b(content, digest_size=16).hexdigest()]
    key = hashed([*facts, repr(None if proposer is None else reads(proposer, _sample(todo)))])
    return Look(todo=todo, key=key, size=len(content), same=key == todo.known), content


def _decoded(look: Look, raw: Path | bytes) -> tuple[Look, Image.Image | None]:
    if look.same or look.error is not None:
        return look, None
    try:
        return look, read_image(raw, where=look.todo.picture.uri)
    except DataError as error:
        return replace(look, error=error), None


def _cut(look: Look, picture: Image.Image, regions: Sequence[Region], fit: ImageFit) -> Look:
    boxes = tuple(region.box for region in regions)
    views = tuple(fit_pixels(picture, fit, box) for box in (None, *boxes))
    return replace(look, width=picture.width, height=picture.height, boxes=boxes, views=views)


def _sample(todo: Todo) -> Sample:
    picture = todo.picture
    return Sample(id=picture.id, image=picture.uri, caption=picture.caption or "", regions=picture.regions)


def _expect_usable(vector_MD: Floats, encoder: Retriever) -> None:
    if vector_MD.ndim != 2:
        what = f"{encoder.name} gives {vector_MD.shape[1]} vectors per image, and an index holds one"
        raise ConfigError(what, where="model", mend="Index with a CLIP, MetaCLIP or SigLIP.")
    if not np.isfinite(vector_MD).all():
        raise ModelError("the embeddings are not finite", where=encoder.name, mend="Check the model's weights.")
