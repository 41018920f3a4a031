"""Work done by threads a little ahead of its use, in order (Pillow, NumPy and torch release the interpreter's lock)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def look_ahead(work: Callable[[T], R], items: Iterable[T], workers: int, *, ahead: int = 32) -> Iterator[R]:
    """`work` of each item, in the items' order.

    The items themselves are drawn by the caller's thread alone: a table of images is no place for several.

    Args:
        workers: threads; 0 does all in turn.
        ahead: results that are made before the first of them is taken.
    """
    if workers == 0:
        yield from map(work, items)
        return
    pool, begun = ThreadPoolExecutor(workers), deque[Future[R]]()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
