"""Work that would hold up the event loop, done by few threads, with a bounded number of calls that wait for them.

Twenty clients at once would otherwise mean twenty forward passes that fight for the same cores, each of them slower
than all of them one after the other. Beyond the bound a client is told to come back, which keeps the wait of the others
short.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class BusyError(Exception):
    """As many calls wait as may wait."""


class Lane:
    """Some threads.

    Args:
        threads: how many calls are worked on at a time. waiting: how many more may wait.
    """

    def __init__(self, threads: int, waiting: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most, self._inside = threads + waiting, 0

    async def run(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """What `call` returns or raises, once a thread has come to it.

        Raises:
            BusyError: at once, and without calling it.
        """
        if self._inside >= self._most:
            raise BusyError
        self._inside += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *args, **options))
        future.add_done_callback(self._leave)
        return await future

    def _leave(self, _: object) -> None:
        self._inside -= 1

    def close(self) -> None:
        """Returns when what was begun is done; what waits is dropped."""
        self._pool.shutdown(cancel_futures=True)
