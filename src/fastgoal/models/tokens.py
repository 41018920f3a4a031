"""Captions as tokens, and which tokens belong to a sentence.

A sentence is a character span of its caption. The tokenizer reports for each token the characters it was made of, so a
sentence's tokens are those whose characters overlap its span; nothing is tokenised twice and no prefix is counted.

Shapes: B captions, T tokens (specials and padding included).
"""

import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fastgoal.errors import ModelError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TextBatch:
    """Captions as tokens, padded on the right: to the longest of the batch, or to the text limit where the family does.

    input_ids_BT, attention_mask_BT: long tensors; the mask is 1 for begin, text and end tokens.
    offsets_BT2: half-open code-point span of the caption behind each token; (0, 0) for begin, end and padding.
    truncated_B: whether the caption was longer than the text limit.
    """

    input_ids_BT: torch.Tensor
    attention_mask_BT: torch.Tensor
    offsets_BT2: Ints
    truncated_B: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.input_ids_BT)

    def to(self, device: torch.device | str) -> "TextBatch":
        """The same batch with its tensors on `device`."""
        return self.each(lambda tensor: tensor.to(device))

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "TextBatch":
        """The same batch with each of its tensors changed."""
        ids_BT, mask_BT = change(self.input_ids_BT), change(self.attention_mask_BT)
        return replace(self, input_ids_BT=ids_BT, attention_mask_BT=mask_BT)

    def part(self, start: int, stop: int, *, pad_to_limit: bool = False) -> "TextBatch":
        """Captions `start` to `stop`, padded to the longest of them (or left as long as they are)."""
        mask_BT = self.attention_mask_BT[start:stop]
        length = mask_BT.shape[1] if pad_to_limit or not len(mask_BT) else int(mask_BT.sum(dim=1).max())
        return TextBatch(
            input_ids_BT=self.input_ids_BT[start:stop, :length],
            attention_mask_BT=mask_BT[:, :length],
            offsets_BT2=self.offsets_BT2[start:stop, :length],
            truncated_B=self.truncated_B[start:stop],
        )


def forget_calls(tokenizer: Any) -> None:
    """Take out of a tokenizer what earlier calls asked for.

    Padding and the maximal length of a call stay with a tokenizer, are saved with it, and stock `CLIPProcessor` obeys
    them: a stretched model saved without this would be cut at 77 tokens there, whatever `model_max_length` says.
    """
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    for name in ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of"):
        tokenizer.init_kwargs.pop(name, None)


def tokenizer_facts(tokenizer: Any) -> dict[str, Any]:
    """What a tokenizer does to a text, as plain values, without what the last call happened to ask for."""
    facts: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    facts.update(padding=None, truncation=None)
    return facts


def tokenize(tokenizer: Any, texts: Sequence[str], limit: int, *, pad_to_limit: bool = False) -> TextBatch:
    """Tokenise captions, cutting each at `limit` tokens with its end token kept.

    Args:
        tokenizer: a transformers tokenizer with character offsets (any `tokenizers` backend).
        texts: B captions, at least one.
        limit: most tokens per caption, begin and end included.
        pad_to_limit: pad to `limit` instead of to the longest of these texts.
    """
    if isinstance(texts, str) or not texts:
        raise ModelError("no texts to tokenise", mend="Pass a list with at least one caption")
    encoded = tokenizer(
        list(texts),
        padding="max_length" if pad_to_limit else "longest",
        truncation=True,
        max_length=limit,
        return_attention_mask=True,
        return_offsets_mapping=True,
        return_tensors="np",
    )
    offsets_BT2 = np.asarray(encoded["offset_mapping"], dtype=np.int64)
    truncated_B = np.array([len(encoding.overflowing) > 0 for encoding in encoded.encodings], dtype=np.bool_)
    for offsets_T2, text, truncated in zip(offsets_BT2, texts, truncated_B, strict=True):
        if not unicodedata.is_normalized("NFC", text):
            _cover_composed(offsets_T2, text, truncated)
    return TextBatch(
        input_ids_BT=torch.from_numpy(np.asarray(encoded["input_ids"], dtype=np.int64)),
        attention_mask_BT=torch.from_numpy(np.asarray(encoded["attention_mask"], dtype=np.int64)),
        offsets_BT2=offsets_BT2,
        truncated_B=truncated_B,
    )


def _cover_composed(offsets_T2: Ints, text: str, truncated: bool) -> None:
    """Extend tokens, in place, over the characters that NFC folded into the one before.

    A letter and its combining accent (or the parts of a Korean syllable) become one character, and the tokenizer
    reports the place of the first only. The last token of a truncated text stays: what follows it is out of sight.
    """
    tokens_T = np.flatnonzero(offsets_T2[:, 1] > offsets_T2[:, 0])
    starts_N = np.unique(offsets_T2[tokens_T, 0])
    for token in tokens_T:
        end = int(offsets_T2[token, 1])
        after = np.searchsorted(starts_N, end)
        stop = int(starts_N[after]) if after < len(starts_N) else end if truncated else len(text)
        while end < stop and not text[end].isspace():
            end += 1
        offsets_T2[token, 1] = end


def token_weights(offsets_BT2: Ints, spans_B2: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Weight 1 for every token whose characters overlap the sentence's span, 0 for the others, specials and padding.

    Args:
        offsets_BT2: `TextBatch.offsets_BT2`.
        spans_B2: one half-open character span per caption; an empty span selects nothing.

    Returns:
        float32 B,T. A sentence beyond the text limit has only zeros.
    """
    offsets_BT2, spans_B12 = np.asarray(offsets_BT2), np.asarray(spans_B2, dtype=np.int64).reshape(-1, 1, 2)
    first_BT, last_BT = np.maximum(offsets_BT2, spans_B12)[..., 0], np.minimum(offsets_BT2, spans_B12)[..., 1]
    return (first_BT < last_BT).astype(np.float32)
