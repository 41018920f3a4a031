"""The loader of an epoch's batches, and the worker processes that may make them."""

import threading
from typing import Any

from torch.utils.data import DataLoader

from fastgoal.interrupts import hold_interrupts

GRACE = 3.0
"""Seconds in which a worker may end the batch that nobody wants any more."""


class EpochLoader(DataLoader[Any]):
    """Gives every epoch an iterator of its own: torch begins the same one again where workers persist, and `Feed` would
    take the second epoch for the end of the first."""

    def __iter__(self) -> Any:
        if self.num_workers:
            hold_interrupts()
        yield from super().__iter__()  # begun by the thread that has drawn the last batch of the epoch before

    def close(self) -> None:
        """End the worker processes: they ignore signals, so that Python would wait for them at its exit for ever."""
        drawn: Any = self._iterator
        if drawn is None:
            return
        late = threading.Timer(GRACE, lambda: [worker.kill() for worker in drawn._workers])
        late.start()
        drawn._shutdown_workers()
        late.cancel()
