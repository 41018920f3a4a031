"""Whether exported files give the model's own embeddings: what is compared, and what is said of the comparison.

Shapes: B items, T tokens, D joint dimensions, C channels, H = W = side of the model's input.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fastgoal.errors import ModelError, first_line
from fastgoal.models.dual_encoder import DualEncoder

TOLERANCE = 1e-4
"""Largest difference of a coordinate of unit embeddings that is put down to the order of summation."""
BATCHES = (1, 2, 5)
TEXTS = ("A red ball lies on the left of a wooden table.", "Zwölf Bücher, 3.5 m hoch – «alt»!", "a", "A lamp. " * 400)
"""Short, not of English letters alone, a single word, and longer than any text limit."""
Floats = npt.NDArray[np.float32]
Encode = Callable[[Any], Any]
"""What gives embeddings in the other library, B x D, from its own kind of input."""
_MEND = "Nothing was left behind; try other versions of torch, transformers and that library, and report it."


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison. what: the part that was checked. library: who computed it again, with its version. items: how
    many. difference: the largest, of any coordinate."""

    what: str
    library: str
    items: int
    difference: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(what: str, library: str, opened: Callable[[], Encode], pairs: Iterable[tuple[torch.Tensor, Any]]) -> Check:
    """Compare embeddings batch by batch.

    Args:
        opened: opens what was written in the other library.
        pairs: what the model gives, B x D, and the input from which the other library is to give the same.

    Raises:
        ModelError: the other library cannot open or compute it, or gives something else.
    """
    items, worst, encode = 0, 0.0, None
    for expected_BD, given in pairs:
        try:
            encode = encode or opened()
            found_BD = np.asarray(encode(given), np.float32)
        except Exception as error:  # whatever the other library says of files that we wrote
            reason = f"{library} cannot compute {what} as it was written: {first_line(error)}"
            raise ModelError(reason, mend=_MEND) from error
        same = found_BD.shape == tuple(expected_BD.shape)
        worst = max(worst, float(np.abs(found_BD - expected_BD.numpy()).max())) if same else np.inf
        items += len(expected_BD)
        if not worst <= TOLERANCE:  # also where it is not a number
            raise ModelError(f"{what} differs by {worst:.1e} in {library}, allowed is {TOLERANCE:.0e}", mend=_MEND)
    return Check(what=what, library=library, items=items, difference=worst)


def pixel_batches(encoder: DualEncoder) -> Iterator[torch.Tensor]:
    """Noise as normalised images, B x C x H x W, for every size of batch."""
    random, side = torch.Generator().manual_seed(0), encoder.fit.size
    for batch in BATCHES:
        yield torch.randn(batch, 3, side, side, generator=random)


def id_batches(encoder: DualEncoder) -> Iterator[torch.Tensor]:
    """Random tokens, B x T, for every size of batch and the shortest, short and longest texts that the model reads.

    The end token stands anywhere and padding follows it, so that a text read at any other place shows.
    """
    random, limit = torch.Generator().manual_seed(0), encoder.text_limit
    lengths = (limit,) if encoder.traits.pads_to_limit else (1, 2, 9, limit)
    end, pad = encoder.tokenizer.eos_token_id, encoder.tokenizer.pad_token_id
    for batch in BATCHES:
        for length in lengths:
            ids_BT = torch.randint(0, len(encoder.tokenizer), (batch, length), generator=random)
            ids_BT[ids_BT == end] = 0 if end != 0 else 1
            end_B1 = torch.randint(0, length, (batch, 1), generator=random)
            places_T = torch.arange(length)
            ids_BT[places_T > end_B1] = end if pad is None else pad
            yield ids_BT.scatter(1, end_B1, end)


def text_batches() -> Iterator[list[str]]:
    """Texts, all together and then so that the padding is another."""
    yield from (list(TEXTS), list(TEXTS[:1]), list(TEXTS[1:3]))


def pictures() -> list[Image.Image]:
    """Noise as upright images: wide, tall, and larger than usual inputs."""
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 256, shape, np.uint8))
        for shape in ((70, 111, 3), (99, 64, 3), (500, 417, 3))
    ]
