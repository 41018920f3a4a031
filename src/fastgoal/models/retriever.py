"""What retrieval asks of a model: embeddings of images and texts, and what has to stand beside a figure.

`DualEncoder` is one. So are the adapters of `models.baselines`, for models that can be measured but not trained here.

Shapes: B items, C channels, H x W pixels, D joint dimensions, K vectors of an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
