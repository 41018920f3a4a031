"""What a service is started with: plain values, which also go to other worker processes."""

import ipaddress
from dataclasses import dataclass, field, fields

from fastgoal.errors import ConfigError
from fastgoal.search.stores import MEMORY_MIB


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may ask for.

    Args:
        upload_mib: of one request, in MiB.
        megapixels: of an image that is sent, in millions of pixels; above 0.
        rate: requests that cost a model's or an index's work, per second, client and worker; 0 sets no limit.
        burst: so many at once, after a rest.
        waiting: calls that may wait for a free thread before further ones are turned away.

    Raises:
        ConfigError: a value out of range.
    """

    upload_mib: float = 20
    megapixels: float = 32
    rate: float = 10
    burst: int = 40
    waiting: int = 64

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least = getattr(self, each.name), 0 if each.name in ("rate", "waiting") else 1
            if not least <= value < float("inf"):
                mend = f"Use {least} or more."
                raise ConfigError(f"{value} is out of range", where=f"--{each.name.replace('_', '-')}", mend=mend)

    @property
    def body_bytes(self) -> int:
        """The most bytes that the body of a request may have."""
        return int(self.upload_mib * 2**20)

    @property
    def pixels(self) -> int:
        """The most pixels that an image which is sent may have."""
        return int(self.megapixels * 1e6)


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """One service.

    Args:
        uri: of the index. model: that it was made by, if it lies elsewhere now. root: of the images, likewise.
        device: where the model runs. memory_mib: for vectors, see `Searcher.open`.
        token: what clients have to send as `Authorization: Bearer`; None lets everyone in.
        hosts: names that the `Host` header may have, without a port; empty admits any.
        threads: of torch, in each worker; None leaves torch's own.
    """

    uri: str
    model: str | None = None
    root: str | None = None
    device: str = "cpu"
    memory_mib: float = MEMORY_MIB
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    threads: int | None = None


LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
