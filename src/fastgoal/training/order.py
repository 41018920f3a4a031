"""Which samples go together, epoch by epoch.

The order of an epoch is a sort by a hash of (seed, epoch, id), so it depends on nothing else: not on workers, not on
the order of the table, not on what was drawn before. Within a window of some batches samples are then sorted by the
length of their captions, so that a batch pads little; the batches of a window come in random order again. Batches are
cut so that no image comes twice in one.

Shapes: N samples.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
WINDOWS = 4
"""Windows of an epoch at least. In a single one the same neighbours by length would meet in every epoch."""
LOOK_AHEAD = 8
"""Batches' worth of samples that may wait for a place among other images."""


def hash_keys(texts: Iterable[str]) -> Keys:
    """64 bits of BLAKE2b of each text."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


class EpochBatches(Sampler[list[int]]):
    """Batches of positions for one epoch after another; `set_epoch` says which.

    A last batch of a single sample is dropped (it has no negatives); shorter ones are kept. Which samples are in the
    last one is chance: they are taken out before anything is sorted.

    Args:
        length_N: what samples are sorted by within a window; None: nothing is sorted.
        window: batches of a window; fewer where an epoch would not have `WINDOWS` of them.
    """

    def __init__(
        self,
        id_N: Keys,
        image_N: Keys,
        *,
        batch_size: int,
        seed: int,
        length_N: Ints | None = None,
        window: int = 1,
    ) -> None:
        self._id_N, self._image_N, self._length_N = id_N, image_N, length_N
        self._window = min(window, max(1, len(id_N) // batch_size // WINDOWS))
        self._batch_size, self._seed, self._epoch = batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(len(self._id_N), self._batch_size)
        return full + (rest > 1)

    def __iter__(self) -> Iterator[list[int]]:
        order_N = epoch_order(self._id_N, self._seed, self._epoch)
        if self._length_N is None or self._window == 1:
            return iter(spread_twins(order_N, self._image_N, self._batch_size)[: len(self)])
        whole, size = len(order_N) - len(order_N) % self._batch_size, self._window * self._batch_size
        order_N = np.concatenate([sorted_in_windows(order_N[:whole], self._length_N, size), order_N[whole:]])
        batches = spread_twins(order_N, self._image_N, self._batch_size)[: len(self)]
        full = whole // self._batch_size
        windows = (batches[start : min(start + self._window, full)] for start in range(0, full, self._window))
        return iter([batch for window in windows for batch in self._mixed(window)] + batches[full:])

    def _mixed(self, batches: list[list[int]]) -> list[list[int]]:
        """In the order that their first samples have in this epoch."""
        first_N = self._id_N[[batch[0] for batch in batches]]
        return [batches[i] for i in epoch_order(first_N, self._seed, self._epoch)]


def sorted_in_windows(order_N: Ints, length_N: Ints, size: int) -> Ints:
    """Each `size` samples that follow each other sorted by their length, upward and downward by turns: a sample that
    has to wait for a place finds one among its like."""
    parts = [order_N[start : start + size] for start in range(0, len(order_N), size)]
    sorted_ = [part[np.argsort(length_N[part], kind="stable")] for part in parts]
    return np.concatenate([part[:: -1 if i % 2 else 1] for i, part in enumerate(sorted_)] or [order_N])


def epoch_order(id_N: Keys, seed: int, epoch: int) -> Ints:
    """Positions 0..N-1 in the order of an epoch: sorted by a hash of (seed, epoch, id)."""
    salt = hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=8).digest()
    return np.argsort(_mixed(id_N ^ np.frombuffer(salt, dtype="<u8").astype(np.uint64)), kind="stable")


def _mixed(x_N: Keys) -> Keys:
    """The finaliser of SplitMix64: every bit of the input changes half of the output's."""
    x_N = (x_N ^ (x_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_N = (x_N ^ (x_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x_N ^ (x_N >> np.uint64(31))


def spread_twins(order_N: Ints, image_N: Keys, batch_size: int) -> list[list[int]]:
    """Cut an order into batches that hold no image twice, as long as other samples are near enough to take the place.

    A sample whose image is already in the batch waits for the next; after `LOOK_AHEAD` batches' worth of waiting
    samples, or at the end of the epoch, the batch is filled with those that wait.
    """
    coming, batches = deque(order_N.tolist()), []
    while coming:
        batch: list[int] = []
        waiting: list[int] = []
        seen: set[int] = set()
        while coming and len(batch) < batch_size and len(waiting) < LOOK_AHEAD * batch_size:
            position = coming.popleft()
            image = int(image_N[position])
            (waiting if image in seen else batch).append(position)
            seen.add(image)
        missing = batch_size - len(batch)
        batches.append(batch + waiting[:missing])
        coming.extendleft(reversed(waiting[missing:]))
    return batches


class Slices(Sampler[list[int]]):
    """One rank's share of every batch: as many consecutive samples as the other ranks have, or one more.

    What a batch is made of does not depend on how many ranks there are. A last batch may leave a rank with nothing.
    """

    def __init__(self, batches: Sampler[list[int]], rank: int, ranks: int) -> None:
        self._batches, self._rank, self._ranks = batches, rank, ranks

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches:
            yield batch[share(len(batch), self._rank, self._ranks)]


def share(samples: int, rank: int, ranks: int) -> slice:
    """Which samples of a batch are a rank's."""
    each, more = divmod(samples, ranks)
    start = rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))
