"""From rows of the pairs table to batches: what of each sample the model sees.

An image is decoded once per sample for all of its views (the whole image and the regions' crops), a JPEG no larger
than they need it; views are kept as uint8 while the memory budget lasts. Which of its local pairs a sample brings is
said in `choice`.

Shapes: N samples, B samples of a batch, K local pairs of a sample at most, V local pairs of all, P patches, T tokens,
H = W pixels, C = 3 channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from fastgoal.data.store import ImageStore
from fastgoal.data.views import Pixels, read_views, reduction
from fastgoal.errors import DataError
from fastgoal.geometry import Box, ImageFit, PatchRule, patch_weights
from fastgoal.losses import LossWeights
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import TextBatch, token_weights
from fastgoal.pairs import PairsRow, PairsTable
from fastgoal.training.belonging import Belonging
from fastgoal.training.choice import Chosen, PairChoice, choose
from fastgoal.training.left_out import LeftOut
from fastgoal.training.order import hash_keys
from fastgoal.training.texts import Texts

ViewsOf = Callable[[PairsRow, Sequence[Box | None]], list[Pixels]]
"""One H x W x C view per box; None is the whole image."""
ONE_PAIR = PairChoice()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step needs. Views are the B whole images (if the method has a global side) followed by the V crops (if
    a local one).

    rows_V, slots_V: the sample of each local pair, in ascending order, and its number there. sentences: theirs.
    patch_weights_BKP, token_weights_BKT: what belongs to the region and to the sentence; zeros where nothing is left.
    belonging: what the loss terms know of samples and pairs.
    hidden_sentences, hidden_regions: samples with nothing left of their best pair's.
    left_out: samples that would be here too, could their images be read. passed_over: rows that were of no use.
    """

    ids: tuple[str, ...]
    views_NHWC: torch.Tensor
    captions: TextBatch | None
    sentences: TextBatch | None
    rows_V: torch.Tensor
    slots_V: torch.Tensor
    patch_weights_BKP: torch.Tensor
    token_weights_BKT: torch.Tensor
    belonging: Belonging
    hidden_sentences: int
    hidden_regions: int
    left_out: tuple[LeftOut, ...] = ()
    passed_over: int = 0

    @property
    def paired(self) -> int:
        """Samples that have a local pair."""
        return int((self.slots_V == 0).sum())

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`; from pinned memory they are copied beside other work."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The same batch in memory that a GPU can copy from by itself."""
        return self._each(torch.Tensor.pin_memory)

    def tensors(self) -> list[torch.Tensor]:
        """All of its tensors."""
        texts = [text for text in (self.captions, self.sentences) if text is not None]
        own = [value for value in vars(self).values() if isinstance(value, torch.Tensor)]
        return own + [tensor for text in texts for tensor in (text.input_ids_BT, text.attention_mask_BT)]

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        changed: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                changed[name] = change(value)
            elif isinstance(value, TextBatch):
                changed[name] = value.each(change)
        return replace(self, **changed)

    def part(self, start: int, stop: int, *, pad_to_limit: bool = False) -> "Batch":
        """Samples `start` to `stop` with their local pairs, as a batch of their own; there may be none.

        Args:
            pad_to_limit: leave its texts as long as they are, instead of cutting them to their own longest.
        """
        whole = 0 if self.captions is None else len(self.ids)
        first, last = torch.searchsorted(self.rows_V, self.rows_V.new_tensor([start, stop])).tolist()
        captions, sentences = self.captions, self.sentences if first < last else None
        captions = None if captions is None else captions.part(start, stop, pad_to_limit=pad_to_limit)
        tokens = None if captions is None else captions.input_ids_BT.shape[1]
        patch_BKP, token_BKT = self.patch_weights_BKP[start:stop], self.token_weights_BKT[start:stop, :, :tokens]
        slots_V = self.slots_V[first:last]
        return Batch(
            ids=self.ids[start:stop],
            views_NHWC=torch.cat([self.views_NHWC[:whole][start:stop], self.views_NHWC[whole:][first:last]]),
            captions=captions,
            sentences=None if sentences is None else sentences.part(first, last, pad_to_limit=pad_to_limit),
            rows_V=self.rows_V[first:last] - start,
            slots_V=slots_V,
            patch_weights_BKP=patch_BKP,
            token_weights_BKT=token_BKT,
            belonging=self.belonging.part(slice(start, stop), slice(first, last)),
            hidden_sentences=_hidden(slots_V, token_BKT),
            hidden_regions=_hidden(slots_V, patch_BKP),
        )


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
        expect_usable(len(usable), table, paired_only)
        self.index_N = np.array([i for i, _ in usable], dtype=np.int64)
        self.id_N = hash_keys(row.id for _, row in usable)
        self.image_N = hash_keys(row.image for _, row in usable)
        self.unpaired = sum(not row.pairs for _, row in usable)

    def __len__(self) -> int:
        return len(self.index_N)

    def __getitem__(self, position: int) -> PairsRow:
        return self.table[int(self.index_N[position])]

    @property
    def fingerprint(self) -> str:
        """That of the table."""
        return self.table.fingerprint


def expect_usable(usable: int, table: PairsTable, paired_only: bool) -> None:
    """Raises DataError where fewer than two rows can be used."""
    if usable < 2:
        what = f"{usable} of {len(table)} samples can be trained on{' (with a local pair)' * paired_only}"
        mend = "Give at least two; what `fastgoal match` printed says what was skipped."
        raise DataError(what, where=table.folder, mend=mend)


class Views:
    """The model's uint8 views of an image and of its crops, from one decode, kept while `budget` bytes last.

    What was kept stays: an epoch visits everything once, so throwing out the oldest would throw out what comes next.
    A view depends on the sample and the model's fit alone, never on what was kept: with another cache, or after a
    restart, training sees the same pixels. `reading` is the image that is being read, or was last.

    Args:
        budget: bytes.
        exact: decode all pixels of every image, not only as many as the sample's views need.
    """

    def __init__(self, images: ImageStore, fit: ImageFit, budget: int, *, exact: bool = False) -> None:
        self._images, self._fit, self._left, self._exact = images, fit, budget, exact
        self._kept: dict[tuple[str, int, Box | None], Pixels] = {}
        self.reading: str | None = None

    def __call__(self, row: PairsRow, boxes: Sequence[Box | None]) -> list[Pixels]:
        """One H x W x C view per box; None is the whole image."""
        # Samples that share an image may need it drafted differently; of unknown size, they are seen whole only.
        by = 1 if self._exact or not row.width else reduction(boxes, row.width, row.height, self._fit)
        keys = [(row.image, by, box) for box in boxes]
        if any(key not in self._kept for key in keys):
            # All of them again, as those that are missing might do with a smaller draft.
            self.reading = row.image
            source, where = self._images.open(row.image), f"image of sample {row.id!r}"
            views = read_views(source, self._fit, boxes, exact=self._exact, where=where)
            return [self._keep(key, view) for key, view in zip(keys, views, strict=True)]
        return [self._kept[key] for key in keys]

    def _keep(self, key: tuple[str, int, Box | None], view: Pixels) -> Pixels:
        if key not in self._kept and view.nbytes <= self._left:
            self._left -= view.nbytes
            self._kept[key] = view
        return view


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Rows of the table as a `Batch`: it tokenises, chooses the local pairs, and cuts the views the loss weights ask
    for.

    paired_only: rows without a local pair are of no use.

    Holds the tokenizer but not the model, so that it can go to worker processes.
    """

    tokenize: Callable[[Sequence[str]], TextBatch]
    views: ViewsOf
    fit: ImageFit
    grid: int
    weights: LossWeights
    patch_rule: PatchRule = "overlap"
    choice: PairChoice = ONE_PAIR
    paired_only: bool = False

    @classmethod
    def of(
        cls,
        encoder: DualEncoder,
        views: ViewsOf,
        weights: LossWeights,
        *,
        patch_rule: PatchRule = "overlap",
        choice: PairChoice = ONE_PAIR,
        text_budget: int = 0,
        paired_only: bool = False,
    ) -> "Collator":
        """Everything about the model that collating needs. text_budget: bytes for tokenised texts."""
        pads = encoder.traits.pads_to_limit
        return cls(
            tokenize=Texts(encoder.tokenizer, encoder.text_limit, text_budget, pad_to_limit=pads),
            views=views,
            fit=encoder.fit,
            grid=encoder.grid,
            weights=weights,
            patch_rule=patch_rule,
            choice=choice,
            paired_only=paired_only,
        )

    def __call__(self, rows: Sequence[PairsRow]) -> Batch:
        """Rows that cannot be used, and those whose image cannot be read, are left out: there may be none left."""
        usable = [row for row in rows if row.skip is None and (row.pairs or not self.paired_only)]
        captions, chosen = self._read(usable)
        looks = self._looks(usable, chosen)
        left_out = tuple(look for look in looks if isinstance(look, LeftOut))
        kept = [row for row, look in zip(usable, looks, strict=True) if not isinstance(look, LeftOut)]
        if left_out:
            captions, chosen = self._read(kept)
        views = [look for look in looks if not isinstance(look, LeftOut)]
        batch = self._batch(kept, captions, chosen, views)
        return replace(batch, left_out=left_out, passed_over=len(rows) - len(usable))

    def _read(self, rows: Sequence[PairsRow]) -> tuple[TextBatch, list[Chosen]]:
        """The captions, and the local pairs whose sentence is within the text limit."""
        captions = self._tokens([row.caption for row in rows])
        reach_B = captions.offsets_BT2[..., 1].max(axis=1).tolist()
        return captions, choose(rows, reach_B, self.choice) if local_side(self.weights) else []

    def _batch(
        self, rows: Sequence[PairsRow], captions: TextBatch, chosen: Sequence[Chosen], views: Sequence[list[Pixels]]
    ) -> Batch:
        """views: of each sample, the whole image (if there is a global side) and the crops of its pairs."""
        texts = [rows[own.row].caption[slice(*rows[own.row].sentences[own.pair.sentence])] for own in chosen]
        patch_BKP, token_BKT = self._weights(rows, chosen, captions)
        slots_V = torch.tensor([own.slot for own in chosen], dtype=torch.long)
        rows_V = torch.tensor([own.row for own in chosen], dtype=torch.long)
        return Batch(
            ids=tuple(row.id for row in rows),
            views_NHWC=self._stacked(self._wholes_first(views)),
            captions=captions if global_side(self.weights) else None,
            sentences=self.tokenize(texts) if texts else None,
            rows_V=rows_V,
            slots_V=slots_V,
            patch_weights_BKP=torch.from_numpy(patch_BKP),
            token_weights_BKT=torch.from_numpy(token_BKT),
            belonging=Belonging(
                image_B=hash_keys(row.image for row in rows),
                caption_B=hash_keys(row.caption for row in rows),
                shown_V=hash_keys(self._shown(rows[own.row], own) for own in chosen),
                sentence_V=hash_keys(texts),
                weight_V=np.array([own.weight for own in chosen], np.float32),
                region_seen_V=patch_BKP[rows_V.numpy(), slots_V.numpy()].any(axis=1),
                sentence_seen_V=token_BKT[rows_V.numpy(), slots_V.numpy()].any(axis=1),
            ),
            hidden_sentences=_hidden(slots_V, torch.from_numpy(token_BKT)),
            hidden_regions=_hidden(slots_V, torch.from_numpy(patch_BKP)),
        )

    def _tokens(self, texts: Sequence[str]) -> TextBatch:
        """No text is a batch of none: a rank may have no share in a last batch."""
        return self.tokenize(texts) if texts else self.tokenize([""]).part(0, 0)

    def _stacked(self, views: Sequence[Pixels]) -> torch.Tensor:
        shape = self.fit.size, self.fit.size, 3
        return torch.from_numpy(np.stack(views) if views else np.empty((0, *shape), np.uint8))

    def _shown(self, row: PairsRow, own: Chosen) -> str:
        """What a crop shows, as far as it matters: two of the same are no negatives of each other."""
        return f"{row.image} {row.regions[own.pair.region].box}" if self.choice.in_image_negatives else row.image

    def _looks(self, rows: Sequence[PairsRow], chosen: Sequence[Chosen]) -> list[list[Pixels] | LeftOut]:
        """Each sample's views, its image decoded once for all; or why it cannot be."""
        whole: list[Box | None] = [None] if global_side(self.weights) else []
        boxes_of: list[list[Box | None]] = [list(whole) for _ in rows]
        for own in chosen:
            boxes_of[own.row].append(rows[own.row].regions[own.pair.region].box)
        return [self._look(row, boxes) for row, boxes in zip(rows, boxes_of, strict=True)]

    def _look(self, row: PairsRow, boxes: Sequence[Box | None]) -> list[Pixels] | LeftOut:
        try:
            return self.views(row, boxes)
        except DataError as error:
            return LeftOut.of(row.id, error)

    def _wholes_first(self, views: Sequence[list[Pixels]]) -> list[Pixels]:
        whole = int(global_side(self.weights))
        return [v for own in views for v in own[:whole]] + [v for own in views for v in own[whole:]]

    def _weights(
        self, rows: Sequence[PairsRow], chosen: Sequence[Chosen], captions: TextBatch
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Patch and token weights, B x K x P and B x K x T; zeros where there is no pair."""
        rows_V, slots_V = [own.row for own in chosen], [own.slot for own in chosen]
        boxes_V4 = [rows[own.row].regions[own.pair.region].box for own in chosen]
        spans_V2 = [rows[own.row].sentences[own.pair.sentence] for own in chosen]
        sizes_V2 = [(rows[row].width, rows[row].height) for row in rows_V]
        most, tokens = max(slots_V, default=0) + 1, captions.offsets_BT2.shape[1]
        patch_BKP = np.zeros((len(rows), most, self.grid**2), np.float32)
        token_BKT = np.zeros((len(rows), most, tokens), np.float32)
        patch_BKP[rows_V, slots_V] = patch_weights(boxes_V4, sizes_V2, self.fit, self.grid, rule=self.patch_rule)
        token_BKT[rows_V, slots_V] = token_weights(captions.offsets_BT2[rows_V], spans_V2)
        return patch_BKP, token_BKT


def global_side(weights: LossWeights) -> bool:
    """Whether whole images and captions are encoded (TSL needs their patches and tokens)."""
    return weights.global_ > 0 or weights.tsl > 0


def local_side(weights: LossWeights) -> bool:
    """Whether crops and sentences are encoded."""
    return weights.local > 0 or weights.tsl > 0


def _hidden(slots_V: torch.Tensor, weights_BKX: torch.Tensor) -> int:
    """Samples that have a pair and nothing left of what belongs to the best one."""
    return int((slots_V == 0).sum() - weights_BKX[:, 0].any(dim=1).sum())
