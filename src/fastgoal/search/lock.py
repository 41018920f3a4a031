"""One writer of an index at a time.

On this machine the writer holds a lock on a file beside the tables; the system lets go of it however the process ends,
so a kill leaves nothing to clear up. In object storage there are no locks: there, and on file systems that know none,
a writer notices the other one's commits (see `tables`), stops, and what both of them added is put right by the next.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from fastgoal.errors import DataError
from fastgoal.files import make_folder, writing
from fastgoal.remote.place import Place, Url

LOCK = "lock"
ALONE = "Wait until the other one has ended, then type the same command again; what is there is kept."


@contextmanager
def one_writer(index: Place) -> Iterator[None]:
    """Inside, no other process of this machine writes to the index; its folder is made if absent.

    Raises:
        DataError: another one does, or the disk refuses.
    """
    if isinstance(index, Url):
        yield
        return
    make_folder(index)
    with writing(index):
        file = (index / LOCK).open("a+")
    with file:
        if not _taken(file):
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise DataError(f"{holder} is writing to this index", where=index, mend=ALONE)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _taken(file: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: a second writer is noticed by its commits alone
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
