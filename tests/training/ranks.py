"""Several processes on this machine that form a team: forks of the test, which have everything imported."""

import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable, Set
from multiprocessing.connection import Connection
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState

from fastgoal.training.team import Team


def on_ranks(
    size: int, work: Callable[[Team], Any], *, timeout: float = 120, gone: Set[int] = frozenset()
) -> list[Any]:
    """What `work` gives on each of `size` ranks; of those that are meant to be gone, why there is no answer.

    Raises:
        AssertionError: a rank failed, or does not end.
    """
    context, port, ranks = multiprocessing.get_context("fork"), _free_port(), []
    for rank in range(size):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_rank, args=(rank, size, port, work, theirs), daemon=True)
        process.start()
        theirs.close()
        ranks.append((process, ours))
    results = [_received(ours, timeout) for _, ours in ranks]
    for process, _ in ranks:
        process.join(10)
        process.kill()
    failures = [f"rank {rank}:\n{text}" for rank, (good, text) in enumerate(results) if not good and rank not in gone]
    assert not failures, "\n".join(failures)
    return [value for _, value in results]


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What a launcher sets."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in names.items()}}


def _received(ours: Connection, timeout: float) -> tuple[bool, Any]:
    try:
        return pickle.loads(ours.recv_bytes()) if ours.poll(timeout) else (False, f"no answer within {timeout} s")
    except EOFError:
        return False, "it was killed"


def _rank(rank: int, size: int, port: int, work: Callable[[Team], Any], theirs: Connection) -> None:
    try:
        AcceleratorState._reset_state(reset_partial_state=True)
        PartialState._reset_state()
        os.environ.update(environment(rank, size, port))
        torch.set_num_threads(1)
        theirs.send_bytes(pickle.dumps((True, work(Team.join(torch.device("cpu"))))))
    except BaseException:
        theirs.send_bytes(pickle.dumps((False, traceback.format_exc())))
    finally:
        theirs.close()
        os._exit(0)  # nothing of the test is to be closed or written twice


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
