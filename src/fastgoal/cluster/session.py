"""Being on a Ray cluster: joined at its address, or one of our own on this machine for as long as it is needed.

The one idea: whoever started it ends it. A Ray that this process is already in is used and left alone, one at an
address is joined and left, one of our own is started quietly (no dashboard, no usage statistics) and stopped.
"""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fastgoal.errors import ConfigError, first_line
from fastgoal.watch import said_aloud

PATIENCE = 10.0
"""Seconds in which an address has to answer; Ray itself would try for two minutes."""
_START = "Start one with `ray start --head`, or leave --address out"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Which cluster, and what of it.

    address: `HOST:PORT` of a running one, as `ray start --head` prints it; None starts one on this machine.
    workers: processes with models of their own, one CPU each; None is as many as there is room for.
    gpus_per_worker: share of a GPU that each gets (0.5: two on one); 0 computes on CPUs.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"{self.workers} workers", where="--workers", mend="Use at least 1.")
        if not 0 <= self.gpus_per_worker <= 1:
            mend = "Use a share from 0 to 1; a worker computes on one GPU at most."
            raise ConfigError(f"{self.gpus_per_worker:g} GPUs per worker", where="--gpus-per-worker", mend=mend)

    @property
    def device(self) -> str:
        """Where a worker's models run; Ray shows it no other GPU than its own."""
        return "cuda" if self.gpus_per_worker else "cpu"


@contextmanager
def joined(cluster: Cluster) -> Iterator[Cluster]:
    """Inside, this process is on the cluster; gives it with the number of workers settled.

    Raises:
        ConfigError: Ray is not installed, nothing answers at the address, or there is no room for a worker.
    """
    ray = import_ray()
    ours = not ray.is_initialized()
    if cluster.address is not None:
        _join(ray, cluster.address)
    elif ours:
        _start(ray, cluster)
    try:
        yield _settled(cluster, ray.cluster_resources())
    finally:
        if ours:
            ray.shutdown()


def import_ray() -> Any:
    """Ray. It takes SIGTERM for itself when imported and when started, which we undo: the
    command line says how to continue.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # hides a GPU from workers without a share
    try:
        with _own_sigterm():
            import ray
    except ImportError as error:
        mend = "Install it: pip install 'fastgoal[cluster]'"
        raise ConfigError(f"Ray is not installed ({first_line(error)})", where="--engine ray", mend=mend) from None
    return ray


def _start(ray: Any, cluster: Cluster) -> None:
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with _own_sigterm():
        ray.init(
            "local",
            num_cpus=cluster.workers or here,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )


def _join(ray: Any, address: str) -> None:
    _expect_answer(address)
    if ray.is_initialized():
        if (other := ray.get_runtime_context().gcs_address) != address:
            mend = "Leave the address out, or call ray.shutdown() first."
            raise ConfigError(f"this process is on the cluster at {other}", where=f"--address {address}", mend=mend)
        return
    try:
        with _own_sigterm():
            ray.init(address, log_to_driver=False, logging_level="error")
    except Exception as error:  # whatever Ray says, it is the address or what listens there
        what = f"the cluster cannot be joined ({first_line(error)})"
        mend = f"{_START}; Ray and Python have to be of the same version everywhere."
        raise ConfigError(what, where=f"--address {address}", mend=mend) from error


def _expect_answer(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        what = "not an address of a cluster"
        raise ConfigError(what, where=f"--address {address}", mend="Name HOST:PORT, as `ray start --head` prints it.")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        what = f"no cluster answers ({first_line(error)})"
        raise ConfigError(what, where=f"--address {address}", mend=f"{_START}.") from None


def _settled(cluster: Cluster, has: dict[str, float]) -> Cluster:
    room, share = int(has.get("CPU", 0)), cluster.gpus_per_worker
    if share:
        room = min(room, int(1 / share) * int(has.get("GPU", 0)))
    if room < 1:
        what = f"no room for a worker: the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs"
        mend = "Add a node with `ray start --address HOST:PORT`, or ask for a smaller --gpus-per-worker."
        raise ConfigError(what, where=f"--address {cluster.address}" if cluster.address else None, mend=mend)
    if cluster.workers is not None and cluster.workers > room:
        said_aloud(f"room for {room} workers now; the others begin when there is more")
    return replace(cluster, workers=cluster.workers or room)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Puts our handler back afterwards, and lets it have the signal that Ray made an exit of meanwhile."""
    before, taken = signal.getsignal(signal.SIGTERM), False
    try:
        yield
    except SystemExit:
        taken = True
    finally:
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)
    if taken:
        signal.raise_signal(signal.SIGTERM)
