"""Embedding on a cluster, for evaluation and for an index.

The one idea: whole batches go to the workers and come back in order, so that every embedding has the batch mates that
it would have in one process, and with them its last digits. Images travel by name: a worker reads and decodes its own.

Shapes: B items of a batch, D joint dimensions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from PIL import Image

from fastgoal.cluster.flow import over_actors
from fastgoal.cluster.matching import expect_same
from fastgoal.cluster.session import Cluster, joined
from fastgoal.data.store import ImageStore
from fastgoal.embed import Bools, Floats, View, embed_images, embed_text_batch
from fastgoal.errors import ConfigError
from fastgoal.evaluation.views import ViewSet, Wanted
from fastgoal.models.retriever import Retriever

Load = Callable[[], Retriever]
"""Loads a worker's model; can be pickled, and what it loads is reachable from every node."""


@dataclass(frozen=True, kw_only=True)
class ImageBatch:
    """Images of one forward pass: their ids, and where each is found (a crop, or the whole)."""

    ids: tuple[str, ...]
    wanted: tuple[Wanted, ...]


def embed_image_batches(
    batches: Iterable[ImageBatch], images: ImageStore, load: Load, cluster: Cluster, fingerprint: str | None = None
) -> Iterator[tuple[tuple[str, ...], Floats]]:
    """The ids and embeddings (B x D) of every batch, in order, streamed in bounded memory.

    Args:
        batches: drawn as they are needed.
        images: where the images are read from, on every node.
        cluster: as `joined` gives it.
        fingerprint: of the model that workers have to have; None: no matter.

    Raises:
        DataError: an unreadable image.
        ModelError: another model; as `over_actors`.
    """
    make = partial(_image_worker, load, images, fingerprint)
    return (result for _, result in over_actors(batches, make, cluster))


def embed_text_batches(
    batches: Iterable[Sequence[str]], load: Load, cluster: Cluster, fingerprint: str | None = None
) -> Iterator[tuple[Floats, Bools]]:
    """The embeddings of every batch of texts (B x D), and whether each text was cut, in order; as above."""
    make = partial(_text_worker, load, fingerprint)
    return (result for _, result in over_actors(batches, make, cluster))


class OnCluster:
    """A retriever whose images and texts are embedded on a cluster (`fastgoal.embed.Elsewhere`); everything else it is
    asked, the model of this process answers.

    Args:
        encoder: the model. load: loads the same one in a worker. cluster: as `joined` gives it.
    """

    def __init__(self, encoder: Retriever, load: Load, cluster: Cluster) -> None:
        self._encoder, self._load, self._cluster = encoder, load, cluster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def image_batches(self, images: Iterable[Image.Image | View], batch: int) -> Iterator[Floats]:
        """Embeddings of the views of a `ViewSet`, batch by batch.

        Raises:
            ConfigError: images without names.
        """
        if not isinstance(images, ViewSet):
            mend = "Leave --engine out, or evaluate retrieval."
            raise ConfigError("only images that lie where workers read them go to a cluster", mend=mend)
        batches = _Batches(images.wanted, batch)
        results = embed_image_batches(batches, images.images, self._load, self._cluster, self._encoder.fingerprint)
        return (embedding_BD for _, embedding_BD in results)

    def text_batches(self, batches: Sequence[list[str]]) -> Iterator[tuple[Floats, Bools]]:
        """Embeddings and cuts of texts, batch by batch."""
        return embed_text_batches(batches, self._load, self._cluster, self._encoder.fingerprint)


@contextmanager
def on_cluster(encoder: Retriever, load: Callable[..., Retriever], cluster: Cluster) -> Iterator[OnCluster]:
    """Inside, on the cluster, the encoder's work is done there.

    Args:
        load: loads the same model on a `device`, in a worker.

    Raises:
        ConfigError: as `joined`.
    """
    with joined(cluster) as settled:
        yield OnCluster(encoder, partial(load, device=settled.device), settled)


@dataclass(frozen=True)
class _Batches:
    wanted: Sequence[Wanted]
    batch: int

    def __iter__(self) -> Iterator[ImageBatch]:
        rest = iter(self.wanted)
        while some := tuple(islice(rest, self.batch)):
            yield ImageBatch(ids=tuple(image for image, _ in some), wanted=some)


def _loaded(load: Load, fingerprint: str | None) -> Retriever:
    encoder = load()
    if fingerprint is not None:
        expect_same("model", encoder.fingerprint, fingerprint)
    return encoder


def _image_worker(
    load: Load, images: ImageStore, fingerprint: str | None
) -> Callable[[ImageBatch], tuple[tuple[str, ...], Floats]]:
    encoder = _loaded(load, fingerprint)

    def embed(batch: ImageBatch) -> tuple[tuple[str, ...], Floats]:
        views = ViewSet(batch.wanted, images, encoder.fit, keep=False)
        return batch.ids, embed_images(encoder, views, batch=max(1, len(batch.wanted)))

    return embed


def _text_worker(load: Load, fingerprint: str | None) -> Callable[[Sequence[str]], tuple[Floats, Bools]]:
    return partial(embed_text_batch, _loaded(load, fingerprint))
