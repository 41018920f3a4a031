"""Texts and images as embeddings, streamed: the one embedder that matching, evaluation and search share.

Texts are embedded longest first, in batches of similar length (padding is to the longest of a batch, so mixing a
sentence with a paragraph wastes most of the work; and a batch that does not fit in memory fails at once, not after an
hour), and equal texts once, so that equal texts have exactly equal embeddings. Images are taken from any iterable, a
batch at a time, so that a gallery never has to be in memory as pixels.

Shapes: N items, B batch, D joint dimensions, C channels, H = W = side of the model's input.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fastgoal.data.images import fit_pixels, normalise
from fastgoal.errors import DataError
from fastgoal.models.retriever import Retriever

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
View = npt.NDArray[np.uint8]
Progress = Callable[[int], object]
"""Called with the number of items just finished (`tqdm.update` fits)."""


@runtime_checkable
class Elsewhere(Protocol):
    """A retriever that has other processes embed, a whole batch at a time, as batch mates show in the last digits.
    Batches come back in order."""

    def image_batches(self, images: Iterable[Image.Image | View], batch: int) -> Iterator[Floats]: ...

    def text_batches(self, batches: Sequence[list[str]]) -> Iterator[tuple[Floats, Bools]]: ...


def embed_texts(
    encoder: Retriever, texts: Sequence[str], *, batch: int = 256, progress: Progress | None = None
) -> tuple[Floats, Bools]:
    """Embed texts, each alone.

    Returns: N x D float32 of unit length, in the order given, and for each text whether it was cut at the text limit.
    """
    position = {text: index for index, text in enumerate(dict.fromkeys(texts))}
    longest_first = sorted(position, key=len, reverse=True)
    embeddings_UD, truncated_U = np.empty((len(position), encoder.dim), np.float32), np.zeros(len(position), np.bool_)
    parts = [longest_first[start : start + batch] for start in range(0, len(position), batch)]
    for part, (embedding_BD, truncated_B) in zip(parts, _text_batches(encoder, parts), strict=True):
        rows = [position[text] for text in part]
        embeddings_UD[rows], truncated_U[rows] = embedding_BD, truncated_B
        if progress is not None:
            progress(len(part))
    if progress is not None and len(texts) > len(position):
        progress(len(texts) - len(position))
    index_N = np.fromiter((position[text] for text in texts), np.int64, len(texts))
    return embeddings_UD[index_N], truncated_U[index_N]


def _text_batches(encoder: Retriever, batches: Sequence[list[str]]) -> Iterator[tuple[Floats, Bools]]:
    if isinstance(encoder, Elsewhere):
        return encoder.text_batches(batches)
    return (embed_text_batch(encoder, texts) for texts in batches)


def embed_text_batch(encoder: Retriever, texts: Sequence[str]) -> tuple[Floats, Bools]:
    """Texts of one forward pass: B x D float32 of unit length, and whether each was cut at the text limit."""
    with inference(encoder):
        tokens = encoder.tokenize(texts)
        embedding_BD: Floats = encoder.encode_texts(tokens.to(encoder.device)).embedding_BD.float().cpu().numpy()
    return embedding_BD, tokens.truncated_B


def embed_images(
    encoder: Retriever,
    images: Iterable[Image.Image | View],
    *,
    batch: int = 64,
    progress: Progress | None = None,
) -> Floats:
    """Embed images: upright pictures, or views that `fit_pixels` already made (uint8 H x W x C), in any mixture.

    Returns: N x D float32 of unit length, in the order given; N x K x D from a model with K vectors per image.

    Raises:
        DataError: a view that is not of the model's input size.
    """
    parts: list[Floats] = []
    for embedding_BD in _image_batches(encoder, images, batch):
        parts.append(embedding_BD)
        if progress is not None:
            progress(len(embedding_BD))
    return np.concatenate(parts) if parts else np.empty((0, encoder.dim), np.float32)


def _image_batches(encoder: Retriever, images: Iterable[Image.Image | View], batch: int) -> Iterator[Floats]:
    if isinstance(encoder, Elsewhere):
        yield from encoder.image_batches(images, batch)
        return
    for pixels_BCHW in pixel_batches(encoder, images, batch):
        with inference(encoder):
            embedding_BD: Floats = encoder.encode_images(pixels_BCHW).embedding_BD.float().cpu().numpy()
        yield embedding_BD


def pixel_batches(encoder: Retriever, images: Iterable[Image.Image | View], batch: int) -> Iterator[torch.Tensor]:
    """Normalised B x C x H x W input for the encoder, on its device, drawn from `images` only as fast as it is used."""
    source = iter(images)
    while views := [_view(image, encoder) for image in islice(source, batch)]:
        yield normalise(torch.from_numpy(np.stack(views)).to(encoder.device), encoder.fit)


def _view(image: Image.Image | View, encoder: Retriever) -> View:
    view = fit_pixels(image, encoder.fit) if isinstance(image, Image.Image) else image
    if view.shape != (encoder.fit.size, encoder.fit.size, 3) or view.dtype != np.uint8:
        what = f"a view of shape {view.shape} and type {view.dtype} is not the model's input"
        raise DataError(
            what, mend=f"Fit it to {encoder.fit.size} x {encoder.fit.size} x 3 uint8 with the model's own fit."
        )
    return view


@contextmanager
def inference(encoder: Retriever) -> Iterator[None]:
    """No gradients and no dropout inside; the encoder's training state is put back afterwards."""
    training = encoder.training
    encoder.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        encoder.train(training)
