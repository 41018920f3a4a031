"""What retrieval asks of a model: embeddings of images and texts, and what has to stand beside a figure.

`DualEncoder` is one. So are the adapters of `models.baselines`, for models that can be measured but not trained here.

A few models can also read an image and a text together (`Reranker`): too slow for every pair of a test set, and more
exact for the first candidates of each query.

Shapes: B items, C channels, H x W pixels, D joint dimensions, K vectors of an image, S positions of what the matching
head sees of an image, V their width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from fastgoal.geometry import ImageFit
from fastgoal.models.families.traits import Traits
from fastgoal.models.tokens import TextBatch


class HasEmbedding(Protocol):
    """What an encoder hands out. embedding_BD: float32, unit length; of images it may be B x K x D."""

    @property
    def embedding_BD(self) -> torch.Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Embeddings and nothing else; B x K x D where an image has K vectors, of which the best one counts."""

    embedding_BD: torch.Tensor


class Retriever(Protocol):
    """A model that embeds images and texts into one space."""

    name: str
    fit: ImageFit
    training: bool

    @property
    def text_limit(self) -> int: ...

    @property
    def dim(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def traits(self) -> Traits: ...

    @property
    def fingerprint(self) -> str: ...

    def tokenize(self, texts: Sequence[str]) -> TextBatch: ...

    def encode_images(self, pixels_BCHW: torch.Tensor) -> HasEmbedding: ...

    def encode_texts(self, texts: TextBatch) -> HasEmbedding: ...

    def eval(self) -> Any: ...

    def train(self, mode: bool = True) -> Any: ...


@runtime_checkable
class Reranker(Protocol):
    """What a `Retriever` with a matching head has besides. The two steps are apart because an image is seen once and
    read with many texts."""

    def see_images(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """What the head sees of images, B x S x V."""

    def rerank(self, seen_BSV: torch.Tensor, texts: TextBatch) -> torch.Tensor:
        """The logit that image b and text b belong together, float32 B; higher is surer."""
