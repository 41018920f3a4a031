"""The processes that train together, and what they tell each other.

Each process (rank) encodes its own slice of every global batch; then all of them hold the rows of all (`rows`), and
compute the same loss of the whole batch, so that no loss term has to know of processes. A rank's gradient is that of
its own rows. Averaged over the ranks, as `DistributedDataParallel` and FSDP do, it would be too small by their number,
so rows are gathered with a gradient that many times as large.

All ranks run the same steps, because all that one of them decides for itself is agreed upon first: whether a signal
came, what a validation gave, what is on the disk. A rank that fails says why to the others before it goes.

Torch's own launchers (`torchrun`, `accelerate launch`) start the processes and say who is who in the environment.

Shapes: N rows of a rank, M of all, D columns.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from fastgoal.errors import ConfigError, FastgoalError, first_line
from fastgoal.interrupts import Interrupted
from fastgoal.watch import AFTER, told_if_long

T = TypeVar("T")
_NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_LAUNCH = "Start it with torchrun or accelerate launch, which set it, or unset WORLD_SIZE to train in one process."
JOINING = timedelta(minutes=10)
"""How long a rank waits for the others to start."""
LONGEST = timedelta(hours=2)
"""How long a rank waits for the others later: as long as the slowest of them may write a checkpoint."""
PATIENCE = AFTER
"""Seconds of waiting for others before it is said."""
LINGER = 3.0
"""Seconds that the rank which keeps the store waits for the others to read why a run has ended."""
_REASON, _LEFT = "fastgoal/failed", "fastgoal/left"
_SIGNS = ("gloo", "nccl", "connection", "peer", "socket", "store")
"""Words in torch's messages when another process has gone."""


class TeamError(FastgoalError):
    """The other processes of a run are gone, or differ."""


@dataclass(frozen=True, kw_only=True)
class Team:
    """Rank `rank` of `size`. A team of one asks nobody. store: where all of them can leave a word."""

    rank: int = 0
    size: int = 1
    store: Any = field(default=None, compare=False, repr=False)

    @classmethod
    def join(cls, device: torch.device) -> "Team":
        """The team that the launcher's environment describes; a single process where it describes none.

        Args:
            device: where this rank's model is; decides how gradients travel (NCCL between GPUs, else Gloo).

        Raises:
            ConfigError: the environment is incomplete or contradicts itself.
            TeamError: the others cannot be reached.
        """
        if not dist.is_available() or _number("WORLD_SIZE", 1) <= 1:
            return ALONE
        rank, size = _expect_environment()
        if not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            try:
                store, _, _ = next(rendezvous("env://", rank, size, timeout=JOINING))
                store.set_timeout(LONGEST)
                dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=LONGEST)
            except (RuntimeError, ValueError) as error:
                where = f"rank {rank} of {size}, {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
                mend = "Check that every node is started with the same address and number of processes."
                what = f"the other processes cannot be reached ({first_line(error)})"
                raise TeamError(what, where=where, mend=mend) from error
        return cls(rank=rank, size=size, store=dist.distributed_c10d._get_default_store())

    @property
    def main(self) -> bool:
        """Whether this rank writes and speaks for all."""
        return self.rank == 0

    def all(self, value: T) -> list[T]:
        """Every rank's value, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self._waiting():
            dist.all_gather_object(values, value)
        return values

    def agreed(self, value: T) -> T:
        """The main rank's value."""
        if self.size == 1:
            return value
        box = [value]
        with self._waiting():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def _waiting(self) -> AbstractContextManager[None]:
        return told_if_long(f"rank {self.rank}: waiting for the other processes", after=PATIENCE)

    def barrier(self) -> None:
        """Returns when all have come."""
        self.all(None)

    def rows(self, own_ND: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        """The rows of all ranks in their order, M x D, with a gradient for the own ones.

        Args:
            counts: how many rows each rank has.
        """
        return own_ND if self.size == 1 else _Rows.apply(own_ND, tuple(counts), self.rank)  # type: ignore[no-untyped-call]

    def average(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace the gradients of parameters (the same ones on every rank) by their mean over the ranks."""
        for parameter in parameters if self.size > 1 else ():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= self.size

    def expect_same(self, facts: dict[str, Any]) -> None:
        """Raises TeamError if what decides the run is not the same on every rank, with the first difference."""
        for rank, theirs in enumerate(self.all(facts)):
            for name, value in facts.items():
                if theirs[name] != value:
                    what = f"the processes differ in {name}: {value!r} here, {theirs[name]!r} on rank {rank}"
                    mend = "Install the same versions and pass the same arguments on every node."
                    raise TeamError(what, where=f"rank {self.rank}", mend=mend)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Inside, a rank that fails tells the others why, and a rank that has lost the others says so in one line.

        Raises:
            TeamError: in the place of what torch raises when another process has gone.
        """
        try:
            yield
        except Interrupted:
            raise  # it came to all
        except BaseException as error:
            if self.size == 1:
                raise
            gone, reason = _others_are_gone(error), "nobody is left who knows why"
            with suppress(RuntimeError):  # the store may be gone as well
                if not gone:
                    said = error if isinstance(error, FastgoalError) else repr(error)
                    self.store.set(_REASON, f"rank {self.rank}: {said}")
                told = self.store.check([_REASON])
                reason = self.store.get(_REASON).decode() if told else "it said nothing, so it was killed"
                self._leave()
            if gone:
                what = f"another process of this run has ended ({reason})"
                mend = "Mend what it says; the newest checkpoint is kept, and --resume continues from it."
                raise TeamError(what, mend=mend) from error
            raise

    def _leave(self) -> None:
        """Let the others notice. Where the main rank keeps the store, it stays until they have read the reason."""
        self.store.add(_LEFT, 1)
        if dist.get_backend() != dist.Backend.GLOO:
            return  # NCCL would wait for what never ends; the launcher ends the others
        dist.destroy_process_group()
        keeps = self.main and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True)
        end = time.monotonic() + LINGER * keeps
        while time.monotonic() < end and self.store.add(_LEFT, 0) < self.size:
            time.sleep(0.05)


ALONE = Team()


def end() -> bool:
    """Dissolve the team, if there is one; whether this process is its main one."""
    if not dist.is_available() or not dist.is_initialized():
        return True
    main = dist.get_rank() == 0
    dist.destroy_process_group()
    return main


def own_device(asked: str) -> str:
    """The device of this rank: `cuda` is the GPU of its number on the node.

    Raises:
        ConfigError: more processes on this node than it has GPUs.
    """
    if asked != "cuda" or _number("WORLD_SIZE", 1) <= 1:
        return asked
    local, there = _number("LOCAL_RANK", 0), torch.cuda.device_count()
    if local >= there:
        mend = f"Start at most {there} processes on each node (--nproc-per-node)." if there else "Use --device cpu."
        what = f"process {local} of this node has no GPU of its own ({there} there)"
        raise ConfigError(what, where="LOCAL_RANK", mend=mend)
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def _expect_environment() -> tuple[int, int]:
    missing = [name for name in _NEEDED if name not in os.environ]
    if missing:
        what = f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set"
        raise ConfigError(what, where="environment", mend=_LAUNCH)
    rank, size = _number("RANK", 0), _number("WORLD_SIZE", 1)
    if not 0 <= rank < size:
        raise ConfigError(f"a rank of {rank} in a team of {size}", where="RANK, WORLD_SIZE", mend=_LAUNCH)
    return rank, size


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    try:
        return int(value)
    except ValueError:
        raise ConfigError(f"{value!r} is not a whole number", where=name, mend=_LAUNCH) from None


def _others_are_gone(error: BaseException) -> bool:
    said = str(error).lower()
    return isinstance(error, RuntimeError) and (
        isinstance(error, dist.DistError) or any(sign in said for sign in _SIGNS)
    )


class _Rows(torch.autograd.Function):
    """All ranks' rows; backward gives the own ones their gradient, times the number of ranks."""

    @staticmethod
    def forward(ctx: Any, own_ND: torch.Tensor, counts: tuple[int, ...], rank: int) -> torch.Tensor:
        ctx.counts, ctx.rank = counts, rank
        most = max(counts)
        padded = own_ND.new_zeros(most, *own_ND.shape[1:])
        padded[: len(own_ND)] = own_ND
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient_MD,) = gradients
        start = sum(ctx.counts[: ctx.rank])
        own_ND = gradient_MD[start : start + ctx.counts[ctx.rank]]
        return len(ctx.counts) * own_ND, None, None
