"""From rows of the pairs table to batches: what of each sample the model sees.

An image is decoded once per sample for both of its views (the whole image and the region's crop); views are kept as
uint8 while the memory budget lasts. Each sample brings the first pair whose sentence the text limit leaves visible,
in every method alike, so that methods are compared on the same pairs.

Shapes: N samples, B samples of a batch, V of them with a local pair, P patches, T tokens, H = W pixels, C = 3 channels.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from fastgoal.data.images import fit_pixels, read_image
from fastgoal.data.store import ImageStore
from fastgoal.errors import DataError
from fastgoal.geometry import Box, ImageFit, PatchRule, patch_weights
from fastgoal.losses import LossWeights
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import TextBatch, token_weights
from fastgoal.pairs import LocalPair, PairsRow, PairsTable
from fastgoal.training.order import hash_keys
from fastgoal.training.texts import Texts

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step needs. Views are the B whole images (if the method has a global side) followed by the V crops (if
    a local one).

    rows_V: the samples with a local pair; sentences: theirs. same_BB, same_VV: pairs that are not negatives of each
    other (None: all are). patch_weights_BP, token_weights_BT: what belongs to the region and to the sentence; rows of
    zeros where nothing is left.
    """

    ids: tuple[str, ...]
    views_NHWC: torch.Tensor
    captions: TextBatch | None
    sentences: TextBatch | None
    rows_V: torch.Tensor
    same_BB: torch.Tensor | None
    same_VV: torch.Tensor | None
    patch_weights_BP: torch.Tensor
    token_weights_BT: torch.Tensor
    hidden_sentences: int
    hidden_regions: int

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`."""
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor | TextBatch)
        }
        return replace(self, **moved)


class PairsDataset(Dataset[PairsRow]):
    """The usable rows of a pairs table, with the keys that order and group them.

    Args:
        paired_only: leave out rows without a local pair (for losses that have no global side).

    Raises:
        DataError: fewer than two usable rows: there would be no negatives.
    """

    def __init__(self, table: PairsTable, *, paired_only: bool = False) -> None:
        self.table = table
        usable = [(i, row) for i, row in enumerate(table) if row.skip is None and (row.pairs or not paired_only)]
        if len(usable) < 2:
            what = f"{len(usable)} of {len(table)} samples can be trained on{' (with a local pair)' * paired_only}"
            raise DataError(
                what, where=table.folder, mend="Give at least two; what `fastgoal match` printed says what was skipped."
            )
        self.index_N = np.array([i for i, _ in usable], dtype=np.int64)
        self.id_N = hash_keys(row.id for _, row in usable)
        self.image_N = hash_keys(row.image for _, row in usable)
        self.unpaired = sum(not row.pairs for _, row in usable)

    def __len__(self) -> int:
        return len(self.index_N)

    def __getitem__(self, position: int) -> PairsRow:
        return self.table[int(self.index_N[position])]

    def __getstate__(self) -> dict[str, Any]:
        """A worker process opens the table's files itself."""
        return {**vars(self), "table": (self.table.folder, self.table.manifest, self.table.root)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, table=PairsTable(*state["table"]))

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the table's contents, by the checksums of its shards."""
        return hashlib.sha256("".join(shard.sha256 for shard in self.table.manifest.shards).encode()).hexdigest()[:16]


class Views:
    """The model's uint8 views of an image and of its crops, from one decode, kept while `budget` bytes last.

    What was kept stays: an epoch visits everything once, so throwing out the oldest would throw out what comes next.
    """

    def __init__(self, images: ImageStore, fit: ImageFit, budget: int) -> None:
        self._images, self._fit, self._left = images, fit, budget
        self._kept: dict[tuple[str, Box | None], Pixels] = {}

    def __call__(self, row: PairsRow, boxes: Sequence[Box | None]) -> list[Pixels]:
        """One H x W x C view per box; None is the whole image."""
        found = {box: self._kept.get((row.image, box)) for box in boxes}
        if any(view is None for view in found.values()):
            image = read_image(self._images.open(row.image), where=f"image of sample {row.id!r}")
            for box in [box for box, view in found.items() if view is None]:
                found[box] = self._keep((row.image, box), fit_pixels(image, self._fit, box))
        return [view for box in boxes if (view := found[box]) is not None]

    def _keep(self, key: tuple[str, Box | None], view: Pixels) -> Pixels:
        if view.nbytes <= self._left:
            self._left -= view.nbytes
            self._kept[key] = view
        return view


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Rows of the table as a `Batch`: it tokenises, chooses the local pairs, and cuts the views the loss weights ask
    for.

    Holds the tokenizer but not the model, so that it can go to worker processes.
    """

    tokenize: Callable[[Sequence[str]], TextBatch]
    views: Views
    fit: ImageFit
    grid: int
    weights: LossWeights
    patch_rule: PatchRule = "overlap"

    @classmethod
    def of(
        cls,
        encoder: DualEncoder,
        views: Views,
        weights: LossWeights,
        *,
        patch_rule: PatchRule = "overlap",
        text_budget: int = 0,
    ) -> "Collator":
        """Everything about the model that collating needs. text_budget: bytes for tokenised texts."""
        pads = encoder.traits.pads_to_limit
        texts = Texts(encoder.tokenizer, encoder.text_limit, text_budget, pad_to_limit=pads)
        return cls(
            tokenize=texts, views=views, fit=encoder.fit, grid=encoder.grid, weights=weights, patch_rule=patch_rule
        )

    def __call__(self, rows: Sequence[PairsRow]) -> Batch:
        has_global, has_local = global_side(self.weights), local_side(self.weights)
        captions = self.tokenize([row.caption for row in rows])
        reach_B = captions.offsets_BT2[..., 1].max(axis=1)
        chosen = [
            first_visible(row, int(reach)) if has_local else None for row, reach in zip(rows, reach_B, strict=True)
        ]
        paired = [(row, pair) for row, pair in zip(rows, chosen, strict=True) if pair is not None]
        texts = [row.caption[slice(*row.sentences[pair.sentence])] for row, pair in paired]
        patch_BP, token_BT = self._weights(rows, chosen, captions)
        rows_V = torch.tensor([i for i, pair in enumerate(chosen) if pair is not None], dtype=torch.long)
        return Batch(
            ids=tuple(row.id for row in rows),
            views_NHWC=torch.from_numpy(np.stack(self._views(rows, chosen, has_global))),
            captions=captions if has_global else None,
            sentences=self.tokenize(texts) if texts else None,
            rows_V=rows_V,
            same_BB=_same([row.image for row in rows], [row.caption for row in rows]),
            same_VV=_same([row.image for row, _ in paired], texts),
            patch_weights_BP=torch.from_numpy(patch_BP),
            token_weights_BT=torch.from_numpy(token_BT),
            hidden_sentences=len(rows_V) - int((token_BT.max(axis=1) > 0).sum()),
            hidden_regions=len(rows_V) - int((patch_BP.max(axis=1) > 0).sum()),
        )

    def _views(self, rows: Sequence[PairsRow], chosen: Sequence[LocalPair | None], has_global: bool) -> list[Pixels]:
        """Whole images first, then crops, with each image decoded once for both."""
        wholes: list[Pixels] = []
        crops: list[Pixels] = []
        for row, pair in zip(rows, chosen, strict=True):
            boxes: list[Box | None] = [None] if has_global else []
            views = self.views(row, boxes + ([row.regions[pair.region].box] if pair else []))
            wholes += views[: len(boxes)]
            crops += views[len(boxes) :]
        return wholes + crops

    def _weights(
        self, rows: Sequence[PairsRow], chosen: Sequence[LocalPair | None], captions: TextBatch
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Patch and token weights; an empty box or span, where there is no pair, selects nothing."""
        boxes_B4 = [
            row.regions[pair.region].box if pair else (0, 0, 0, 0) for row, pair in zip(rows, chosen, strict=True)
        ]
        spans_B2 = [row.sentences[pair.sentence] if pair else (0, 0) for row, pair in zip(rows, chosen, strict=True)]
        sizes_B2 = [(row.width, row.height) for row in rows]
        patch_BP = patch_weights(boxes_B4, sizes_B2, self.fit, self.grid, rule=self.patch_rule)
        return patch_BP, token_weights(captions.offsets_BT2, spans_B2)


def global_side(weights: LossWeights) -> bool:
    """Whether whole images and captions are encoded (TSL needs their patches and tokens)."""
    return weights.global_ > 0 or weights.tsl > 0


def local_side(weights: LossWeights) -> bool:
    """Whether crops and sentences are encoded."""
    return weights.local > 0 or weights.tsl > 0


def first_visible(row: PairsRow, reach: int) -> LocalPair | None:
    """The best pair whose sentence begins before character `reach`, where the text limit cuts; failing that, the best
    pair.
    """
    visible = (pair for pair in row.pairs if row.sentences[pair.sentence][0] < reach)
    return next(visible, row.pairs[0] if row.pairs else None)


def _same(images: Sequence[str], texts: Sequence[str]) -> torch.Tensor | None:
    """Where two items show one image or say the same, off the diagonal; None if nowhere."""
    if len(set(images)) == len(images) and len(set(texts)) == len(texts):
        return None
    images_B, texts_B = np.unique(images, return_inverse=True)[1], np.unique(texts, return_inverse=True)[1]
    same_BB = (images_B[:, None] == images_B) | (texts_B[:, None] == texts_B)
    np.fill_diagonal(same_BB, False)
    return torch.from_numpy(same_BB)
