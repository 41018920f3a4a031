"""A trained model in four verbs, for use from Python: encode images, encode texts, compare them, match a caption.

    model = fastgoal.load("runs/goal/model")
    model.similarity(["a.jpg", "b.jpg"], ["A red ball lies on a wooden table. A lamp stands behind it."])

Nothing is computed here: images are read as everywhere (upright, transparency on white), embedded by `fastgoal.embed`
and matched by `fastgoal.matching`, so that the figures are those of evaluation and search.

Shapes: N images, M texts, D joint dimensions; S sentences, R regions of one image.
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fastgoal.data.images import decode_image, fit_pixels, read_image
from fastgoal.data.samples import Sample, Span
from fastgoal.data.sentences import split_sentences
from fastgoal.embed import Progress, embed_images, embed_texts
from fastgoal.errors import DataError
from fastgoal.geometry import Box
from fastgoal.matching import select_pairs
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions import Proposer, make_proposer, propose_for

Picture = str | Path | Image.Image
"""A path, or an image of Pillow as it was opened."""
Floats = npt.NDArray[np.float32]
Item = TypeVar("Item")


class TruncationWarning(UserWarning):
    """Texts were longer than the model reads."""


@dataclass(frozen=True, kw_only=True)
class MatchedSentence:
    """A sentence of a caption with the region of the image that is most similar to it.

    text: the sentence. span: its characters `[start, end)` in the caption. box: the region, in pixels of the upright
    image; None where no region was proposed. similarity: their cosine, or the whole image's where there is no region.
    """

    text: str
    span: Span
    box: Box | None
    similarity: float


class Model:
    """A model for use. Everything that trains and evaluates takes its `encoder`.

    Args:
        encoder: the model.
        batch: images or texts per forward pass.
    """

    def __init__(self, encoder: DualEncoder, *, batch: int = 32) -> None:
        self.encoder, self.batch = encoder, batch

    def encode_images(self, images: Iterable[Picture], *, progress: Progress | None = None) -> Floats:
        """Embeddings of images, N x D of unit length, in their order.

        Args:
            images: paths or Pillow images, from a list or a generator: no more than a batch is in memory.
            progress: called with the number of images just finished, as `tqdm(...).update`.

        Raises:
            DataError: an image cannot be read; it is named.
        """
        return embed_images(self.encoder, _read(_several(images, "image")), batch=self.batch, progress=progress)

    def encode_texts(self, texts: Iterable[str], *, progress: Progress | None = None) -> Floats:
        """Embeddings of texts, M x D of unit length, in their order; what exceeds the text limit is cut, with a
        `TruncationWarning`.
        """
        every = list(_several(texts, "text"))
        for number, text in enumerate(every):
            if not isinstance(text, str):
                raise DataError(f"a {type(text).__name__} is no text", where=f"text {number}", mend="Give strings.")
        texts_MD, truncated_M = embed_texts(self.encoder, every, batch=self.batch, progress=progress)
        if truncated_M.any():
            _warn(self.encoder, int(truncated_M.sum()), len(every))
        return texts_MD

    def similarity(self, images: Iterable[Picture], texts: Iterable[str]) -> Floats:
        """Cosine similarity of every image with every text, N x M.

        Where either is used again, keep the embeddings: the same is `images_ND @ texts_MD.T`.
        """
        texts_MD = self.encode_texts(texts)
        return self.encode_images(images) @ texts_MD.T

    def match(
        self, image: Picture, caption: str, *, regions: Proposer | None = None, language: str = "en"
    ) -> list[MatchedSentence]:
        """Which part of the image each sentence of its caption means: the most similar region, best sentence first.

        Args:
            regions: where regions come from (`fastgoal.make_proposer`); default: as `fastgoal match` without a
                detector.
            language: of the caption, for cutting sentences (ISO 639).

        Raises:
            DataError: the image cannot be read.
        """
        (picture,) = _read([image])
        spans = split_sentences(caption, language)
        sample = Sample(id="", image="", caption=caption, where="")
        (found,) = propose_for(regions or make_proposer("flism"), [sample], [picture])
        boxes, whole = [region.box for region in found], (0, 0, picture.width, picture.height)
        views = [fit_pixels(picture, self.encoder.fit, box) for box in boxes or [whole]]
        regions_RD = embed_images(self.encoder, views, batch=self.batch)
        sentences_SD = self.encode_texts([caption[slice(*span)] for span in spans])
        return [
            MatchedSentence(
                text=caption[slice(*spans[pair.sentence])],
                span=spans[pair.sentence],
                box=boxes[pair.region] if boxes else None,
                similarity=pair.similarity,
            )
            for pair in select_pairs(sentences_SD @ regions_RD.T)
        ]


def load(path: str | Path, *, device: str | torch.device = "cpu", text_tokens: int | None = None) -> Model:
    """Load a model for use.

    Args:
        path: a local folder (never touches the network), a hub id, or `tiny` (bundled).
        device: where it computes.
        text_tokens: text limit to stretch or cut the model to; None keeps its own.

    Raises:
        ModelError: no such model, one that cannot be used, or a device that is not there.
    """
    with _quiet():
        encoder = DualEncoder.load(path, device=device, text_tokens=text_tokens)
    return Model(encoder, batch=32 if encoder.device.type == "cpu" else 256)


def _several(items: Iterable[Item], what: str) -> Iterator[Item]:
    """A single path or text is an iterable too, of letters: hardly what was meant."""
    if isinstance(items, str | Path | Image.Image):
        raise DataError(f"one {what} where several belong", mend=f"Put it into a list: [{what}].")
    return iter(items)


def _read(images: Iterable[object]) -> Iterator[Image.Image]:
    for number, image in enumerate(images):
        where = f"image {number}"
        if isinstance(image, Image.Image):
            yield decode_image(image, where)
        elif isinstance(image, str | Path):
            yield read_image(image)
        else:
            mend = "Give paths or images of Pillow (`Image.fromarray` makes one of an array)."
            raise DataError(f"a {type(image).__name__} is no image", where=where, mend=mend)


def _warn(encoder: DualEncoder, cut: int, count: int) -> None:
    some = "the text was" if count == 1 else f"{cut:,} of {count:,} texts were"
    mend = "; `fastgoal.load(..., text_tokens=N)` reads more" if encoder.traits.stretches else ""
    warnings.warn(f"{some} cut at {encoder.text_limit} tokens{mend}", TruncationWarning, stacklevel=3)


@contextmanager
def _quiet() -> Iterator[None]:
    """No bar of transformers inside, whose own is on unless somebody turned it off."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
