"""Longer captions for a text tower: Long-CLIP's positional stretch, for any length.

CLIP's table has 77 rows. The first 20 were trained on nearly every caption and stay as they are; the others are
drawn apart by linear interpolation, and the end goes on in the direction of the last two rows. With 248 rows (20 +
4 x 57) this is Long-CLIP's table exactly (arXiv 2403.15378); any other length is a generalisation of ours.

Shapes: T old rows, L new rows, W width.
"""

from typing import Any

import torch
from torch import nn

from fastgoal.errors import ModelError

LONG_CLIP_TOKENS = 248
KEPT_ROWS = 20


def stretch_positions(table_TW: torch.Tensor, length: int, keep: int = KEPT_ROWS) -> torch.Tensor:
    """The table with `length` rows: stretched behind the first `keep` rows, or cut when `length` is not greater than T.

    Row `keep + m` reads the old table at `keep + m * (T - keep) / (length - keep)`; behind the last row it
    extrapolates.

    Raises:
        ModelError: fewer than two rows to stretch, or `length` too short for a begin, a text and an end token.
    """
    rows = len(table_TW)
    if length < 3:
        raise ModelError(f"a text limit of {length} tokens holds no text", mend="Choose at least 3 tokens")
    if length <= rows:
        return table_TW[:length].clone()
    if rows - keep < 2:
        raise ModelError(
            f"a table of {rows} text positions cannot be stretched behind row {keep}", mend="Keep fewer rows"
        )
    steps_M = torch.arange(length - keep, device=table_TW.device) * (rows - keep)
    lower_M = keep + steps_M // (length - keep)
    share_M1 = (steps_M % (length - keep)).to(table_TW.dtype)[:, None] / (length - keep)
    beyond_1W = 2 * table_TW[-1:] - table_TW[-2:-1]
    source_TW = torch.cat([table_TW, beyond_1W])
    tail_MW = (1 - share_M1) * source_TW[lower_M] + share_M1 * source_TW[lower_M + 1]
    return torch.cat([table_TW[:keep], tail_MW])


def check_cut(asked: int | None, most: int, where: object) -> int:
    """The text limit of a model whose positions cannot be stretched: what is asked for, or all it has.

    Raises:
        ModelError: more than it has, or too few for a text.
    """
    if asked is not None and not 3 <= asked <= most:
        what = f"its text limit can be 3 to {most} tokens, not {asked}"
        raise ModelError(what, where=where, mend="Choose a lower limit, or leave it out" if asked > most else None)
    return most if asked is None else asked


def stretch(model: Any, tokens: int, keep: int = KEPT_ROWS) -> None:
    """Give a model built like CLIP room for `tokens` text tokens, in place: table, position ids and config."""
    embeddings = model.text_model.embeddings
    old = embeddings.position_embedding.weight
    embeddings.position_embedding = nn.Embedding(tokens, old.shape[1], device=old.device, dtype=old.dtype)
    embeddings.position_embedding.weight.data = stretch_positions(old.detach(), tokens, keep)
    embeddings.position_embedding.weight.requires_grad = old.requires_grad
    embeddings.position_ids = torch.arange(tokens, device=old.device).expand((1, -1))
    for config in (model.config.text_config, model.text_model.config):
        config.max_position_embeddings = tokens
