"""What a check remembers of every sample and every distinct image: arrays, never the samples.

Shapes: N samples, U distinct images (by URI, in order of appearance).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgoal.checking.alike import Hashes, Places, repeats
from fastgoal.checking.pictures import Look

UNSEEN, FINE, BROKEN = 0, 1, 2
"""States of an image: not opened, usable, not usable."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What is remembered of every sample and every distinct image.

    caption_N: hash of the trimmed caption. image_N: number of the sample's image. first_U: the first sample of each
    image. state_U: `UNSEEN`, `FINE` or `BROKEN`. size_U2: width and height, pixels. digest_U, shape_U, colours_U,
    plain_U: see `Look`.
    """

    caption_N: Hashes
    image_N: Places
    first_U: Places
    state_U: npt.NDArray[np.uint8]
    size_U2: npt.NDArray[np.int32]
    digest_U: Hashes
    shape_U: Hashes
    colours_U: Hashes
    plain_U: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, caption_N: Hashes, uri_N: Hashes) -> "Ledger":
        """A ledger before any image was opened, from hashes of all captions and URIs."""
        _, first_U, image_N = np.unique(uri_N, return_index=True, return_inverse=True)
        order_U = np.argsort(first_U)
        rank_U = np.empty_like(order_U)
        rank_U[order_U] = np.arange(len(order_U))
        images = len(first_U)
        return cls(
            caption_N=caption_N,
            image_N=rank_U[image_N],
            first_U=first_U[order_U],
            state_U=np.full(images, UNSEEN, dtype=np.uint8),
            size_U2=np.zeros((images, 2), dtype=np.int32),
            digest_U=np.zeros(images, dtype=np.uint64),
            shape_U=np.zeros(images, dtype=np.uint64),
            colours_U=np.zeros(images, dtype=np.uint64),
            plain_U=np.zeros(images, dtype=np.bool_),
        )

    def enter(self, image: int, seen: Look) -> None:
        """Remember what opening an image showed."""
        self.state_U[image] = BROKEN if seen.problem else FINE
        self.size_U2[image] = seen.width, seen.height
        self.digest_U[image], self.shape_U[image], self.colours_U[image] = seen.digest, seen.shape, seen.colours
        self.plain_U[image] = seen.plain

    @property
    def usable_N(self) -> npt.NDArray[np.bool_]:
        """Which samples can be trained on, as far as their images were opened."""
        return np.asarray(self.state_U[self.image_N] != BROKEN)

    def twins(self) -> tuple[Places, Places]:
        """The samples that have an earlier one with the same caption and the same image, and that one (K, K)."""
        return repeats(self.picture_N * np.uint64(0x9E3779B97F4A7C15) ^ self.caption_N)  # wraps around, as hashes may

    @property
    def twin_N(self) -> npt.NDArray[np.bool_]:
        """Which samples are twins of an earlier one."""
        twin_N = np.zeros(len(self.caption_N), dtype=np.bool_)
        twin_N[self.twins()[0]] = True
        return twin_N

    @property
    def picture_N(self) -> Hashes:
        """Equal for samples whose images are the same: by bytes where they were opened, else by URI."""
        own_U = np.arange(len(self.first_U), dtype=np.uint64)
        key_U: Hashes = np.where(self.state_U == FINE, self.digest_U, own_U)
        return key_U[self.image_N]
