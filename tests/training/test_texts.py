import numpy as np
import pytest
import torch

from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import tokenize
from fastgoal.training import texts as module
from fastgoal.training.texts import Texts

TEXTS = [
    "A red ball.",
    "A small blue box stands on the right, next to a green lamp. " * 3,
    "",
    "A red ball.",
    "Zürich 🙂",
]


def test_kept_tokens_equal_fresh_ones(encoder: DualEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(module, "tokenize", lambda tok, new, limit: (asked.extend(new), tokenize(tok, new, limit))[1])
    read = Texts(encoder.tokenizer, 24, 10_000)
    for order in ([0, 1, 2], [3, 4, 1], [1, 0, 4, 2, 3], [0]):
        batch, fresh = read([TEXTS[i] for i in order]), tokenize(encoder.tokenizer, [TEXTS[i] for i in order], 24)
        assert torch.equal(batch.input_ids_BT, fresh.input_ids_BT)
        assert torch.equal(batch.attention_mask_BT, fresh.attention_mask_BT)
        np.testing.assert_array_equal(batch.offsets_BT2, fresh.offsets_BT2)
        np.testing.assert_array_equal(batch.truncated_B, fresh.truncated_B)
    assert asked == [TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[4]]


def test_what_exceeds_the_budget_is_read_again(encoder: DualEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(module, "tokenize", lambda tok, new, limit: (asked.extend(new), tokenize(tok, new, limit))[1])
    read = Texts(encoder.tokenizer, 77, 0)
    for _ in range(2):
        read(TEXTS[:2])
    assert asked == [*TEXTS[:2], *TEXTS[:2]]
