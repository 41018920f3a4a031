"""Tokenised texts, kept from epoch to epoch.

Tokenising a batch of paragraphs takes some milliseconds in every step, in the process that also feeds the device; the
second time a text comes it is only copied. What is handed out equals `models.tokens.tokenize` of the same texts.

Shapes: B texts, T tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fastgoal.models.tokens import TextBatch, tokenize

Row = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], bool]
"""Token ids, their character offsets, and whether the text was cut; without padding."""


CHUNK = 1024
"""Texts that are tokenised at once where only their lengths are asked for."""


def token_counts(tokenizer: Any, texts: Iterable[str], limit: int) -> Iterator[int]:
    """Tokens of each text as the model reads it: begin and end included, cut at `limit`."""
    coming = iter(texts)
    while chunk := list(islice(coming, CHUNK)):
        encoded = tokenizer(chunk, truncation=True, max_length=limit, return_attention_mask=False)
        yield from map(len, encoded["input_ids"])


class Texts:
    """Tokenises batches of texts, keeping the tokens of each while `budget` bytes last.

    pad_to_limit: as in `tokenize`.
    """

    def __init__(self, tokenizer: Any, limit: int, budget: int, *, pad_to_limit: bool = False) -> None:
        self._tokenizer, self._limit, self._left = tokenizer, limit, budget
        self._least = limit if pad_to_limit else 0
        self._kept: dict[str, Row] = {}

    def __call__(self, texts: Sequence[str]) -> TextBatch:
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        fresh = dict(zip(new, self._read(new), strict=True)) if new else {}
        batch = _padded(
            [fresh.get(text) or self._kept[text] for text in texts], self._tokenizer.pad_token_id, self._least
        )
        for text, (ids_T, offsets_T2, cut) in fresh.items():
            if ids_T.nbytes + offsets_T2.nbytes <= self._left:
                self._left -= ids_T.nbytes + offsets_T2.nbytes
                self._kept[text] = ids_T, offsets_T2, cut
        return batch

    def _read(self, texts: Sequence[str]) -> list[Row]:
        batch = tokenize(self._tokenizer, texts, self._limit)
        lengths_B = batch.attention_mask_BT.sum(dim=1).tolist()
        ids_BT, offsets_BT2 = batch.input_ids_BT.numpy().astype(np.int32), batch.offsets_BT2.astype(np.int32)
        cut_B = batch.truncated_B.tolist()
        return [(ids_BT[i, :n].copy(), offsets_BT2[i, :n].copy(), cut_B[i]) for i, n in enumerate(lengths_B)]


def _padded(rows: Sequence[Row], pad_id: int, least: int) -> TextBatch:
    """On the right, to the longest, or to `least` tokens if that is more."""
    longest = max(least, *(len(ids_T) for ids_T, _, _ in rows))
    ids_BT = np.full((len(rows), longest), pad_id, np.int64)
    mask_BT, offsets_BT2 = np.zeros_like(ids_BT), np.zeros((len(rows), longest, 2), np.int64)
    for i, (ids_T, offsets_T2, _) in enumerate(rows):
        ids_BT[i, : len(ids_T)], mask_BT[i, : len(ids_T)], offsets_BT2[i, : len(ids_T)] = ids_T, 1, offsets_T2
    return TextBatch(
        input_ids_BT=torch.from_numpy(ids_BT),
        attention_mask_BT=torch.from_numpy(mask_BT),
        offsets_BT2=offsets_BT2,
        truncated_B=np.array([cut for _, _, cut in rows], dtype=np.bool_),
    )
