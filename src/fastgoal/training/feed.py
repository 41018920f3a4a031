"""Batches made ahead of the step that uses them, so that the model does not wait for decoding and tokenising.

One thread draws from the epoch's loader: while the model computes (outside the interpreter's lock), the next batch is
made, or fetched from worker processes. On a GPU it is also copied there, from pinned memory and on a stream of its own,
beside the running step.

A loader that stalls (a network drive, a worker that hangs) says so while the step waits for it, see `watch`.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from fastgoal.training.batches import Batch
from fastgoal.watch import AFTER, Say, said_aloud, told_if_long


@dataclass(frozen=True)
class _Made:
    """A batch, and the event after which its copy on the device is complete."""

    batch: Batch
    copied: Any = None


class Feed:
    """Hands out the batches of one iterator after another, each made while the one before is used.

    `waited` counts the seconds for which `take` did not have what was asked of it.

    Args:
        device: where the batches go; None leaves them on the CPU.
        awaited: what is known of the batch that is waited for, asked for when a wait is told of.
        after: seconds of waiting before it is. say: what it is told to.
    """

    def __init__(
        self,
        device: torch.device | None,
        *,
        awaited: Callable[[], str] | None = None,
        after: float = AFTER,
        say: Say = said_aloud,
    ) -> None:
        self.waited = 0.0
        self._told = partial(told_if_long, "waiting for data", after=after, detail=awaited, say=say)
        self._device, self._pool = device, ThreadPoolExecutor(1, "batches")
        on_gpu = device is not None and device.type == "cuda"
        self._stream: Any = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        self._source: Iterator[Batch] | None = None
        self._coming: Future[_Made | None] | None = None

    def take(self, batches: Iterator[Batch], count: int) -> list[Batch]:
        """The next `count` batches, fewer at the end. Nobody else may draw from `batches`."""
        begin, taken = time.perf_counter(), list[Batch]()
        if batches is not self._source or self._coming is None:
            self._source, self._coming = batches, self._pool.submit(self._make, batches)
        with self._told():
            while len(taken) < count and (made := self._coming.result()) is not None:
                self._coming = self._pool.submit(self._make, batches)
                taken.append(self._arrived(made))
        self.waited += time.perf_counter() - begin
        return taken

    def settle(self) -> None:
        """Returns when nothing is being made: open tables are no place for two threads."""
        if self._coming is not None:
            wait([self._coming])

    def close(self) -> None:
        """Give up what was made ahead."""
        self._pool.shutdown(cancel_futures=True)

    def _make(self, batches: Iterator[Batch]) -> _Made | None:
        batch = next(batches, None)
        if batch is None or self._device is None:
            return None if batch is None else _Made(batch)
        if self._stream is None:
            return _Made(batch.to(self._device))
        with torch.cuda.stream(self._stream):
            return _Made(batch.pinned().to(self._device), self._stream.record_event())

    def _arrived(self, made: _Made) -> Batch:
        if made.copied is not None:
            used_on = torch.cuda.current_stream(self._device)
            used_on.wait_event(made.copied)
            for tensor in made.batch.tensors():
                tensor.record_stream(used_on)  # else its memory is free for the next copy when Python drops it
        return made.batch
