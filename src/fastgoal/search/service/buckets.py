"""A rate per client: a bucket of tokens that fills again at a steady pace, and from which each request takes some."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

_KNOWN = 10_000
"""Clients that are remembered; the one not seen for longest is forgotten first, with a full bucket."""


class Buckets:
    """The buckets of all clients.

    Args:
        rate: tokens that come back per second. burst: what a bucket holds at most. clock: seconds.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float) -> float:
        """Take `cost` tokens of a client.

        Returns: 0, or the seconds until there are so many, and then none are taken.
        """
        now, key = self._clock(), _neighbourhood(client)
        left, since = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        wait = max(0.0, (cost - left) / self._rate)
        self._buckets[key] = (left if wait else left - cost, now)
        if len(self._buckets) > _KNOWN:
            self._buckets.popitem(last=False)
        return wait


def _neighbourhood(client: str) -> str:
    """One client by its address; in IPv6 by its network, of which a single household has the whole."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else client
