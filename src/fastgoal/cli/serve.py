"""`fastgoal serve`."""

import os
import secrets
import threading
import webbrowser
from importlib.util import find_spec
from typing import Annotated

from cyclopts import Parameter

from fastgoal.cli.common import Data, Device, Root, quiet_libraries
from fastgoal.errors import ConfigError
from fastgoal.interrupts import leaving
from fastgoal.search.service.settings import LOOPBACK_NAMES, Limits, ServiceSettings, is_loopback
from fastgoal.search.stores import MEMORY_MIB

NEEDED = ("fastapi", "uvicorn", "python_multipart", "lancedb")
MAKE_ONE = "new"
SHORTEST = 8
"""Characters of a token."""


def serve(
    uri: Data,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8321,
    token: Annotated[str | None, Parameter(env_var="FASTGOAL_TOKEN")] = None,
    without_token: bool = False,
    allow_host: tuple[str, ...] = (),
    proxy: str | None = None,
    workers: int = 1,
    model: str | None = None,
    root: Root = None,
    memory_mib: float = MEMORY_MIB,
    device: Device = "cpu",
    upload_mib: float = Limits.upload_mib,
    megapixels: float = Limits.megapixels,
    rate: float = Limits.rate,
    burst: int = Limits.burst,
    waiting: int = Limits.waiting,
    log_requests: bool = False,
    open: bool = False,
) -> None:
    """Serve an index: a page to search it, and a JSON API.

    Only this machine is let in unless --host says otherwise. Ctrl-C or SIGTERM ends it once what is in flight is done.

    Example: `fastgoal serve index --open`

    Args:
        uri: an index that `fastgoal index` made.
        host: the address to listen at; any but this machine's own needs a token.
        port: 0 takes a free one.
        token: what clients have to send; the page asks for it. `new` makes one and prints it. Better than here, where
            others on this machine may read it, it is set as FASTGOAL_TOKEN.
        without_token: let everyone who reaches --host search and see the images.
        allow_host: another name by which this machine is reached.
        proxy: addresses of a proxy in front, whose word on who the client is counts.
        workers: processes, each with a model and the vectors of its own.
        model: that the index was made by, if it is not where the index says.
        root: folder of the images, likewise.
        memory_mib: vectors are searched in memory, every one, up to this size; beyond it by the store's own index.
        upload_mib: most that one request may send.
        megapixels: most pixels of an image that is sent, in millions.
        rate: searches per second that one client may make of a worker; 0 sets no limit.
        burst: so many at once, after a rest.
        waiting: calls that may wait for the model before others are turned away.
        log_requests: print a line per request.
        open: open the page in a browser.
    """
    _expect_libraries()
    with leaving("fastgoal: interrupted before it served anything."):
        quiet_libraries()
        from fastgoal.search.service.server import bind
        from fastgoal.search.service.server import serve as serve_on
    if workers < 1:
        raise ConfigError(f"{workers} workers serve nothing", where="--workers", mend="Use 1 or more.")
    settings = ServiceSettings(
        uri=str(uri),
        model=model,
        root=None if root is None else str(root),
        device=device,
        memory_mib=memory_mib,
        token=_token(token, host, without_token),
        hosts=_hosts(host, allow_host),
        limits=Limits(upload_mib=upload_mib, megapixels=megapixels, rate=rate, burst=burst, waiting=waiting),
        threads=max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None,
    )
    with bind(host, port) as bound:
        serve_on(
            settings,
            bound,
            workers=workers,
            log_requests=log_requests,
            proxies=proxy,
            prepare=quiet_libraries,
            ready=lambda address: _say(address, settings, token == MAKE_ONE, open),
        )


def _expect_libraries() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        mend = "Install it: pip install 'fastgoal[serve]'"
        raise ConfigError(f"{missing[0].replace('_', '-')} is not installed", mend=mend)


def _token(given: str | None, host: str, without: bool) -> str | None:
    """The token to ask for; None where none is needed.

    Raises:
        ConfigError: none was given where one is needed, or one that no client can send.
    """
    if given == MAKE_ONE:
        return secrets.token_urlsafe(24)
    if given is not None:
        if not given.isascii() or not given.isprintable() or " " in given or len(given) < SHORTEST:
            what = f"a token has {SHORTEST} or more letters, digits and signs of ASCII, and no space"
            raise ConfigError(what, where="--token", mend="Or say --token new to have one made.")
        return given
    if not without and not is_loopback(host):
        mend = "Set FASTGOAL_TOKEN, or say --token new to have one made, or --without-token to let everyone in."
        raise ConfigError("everyone who reaches this address could see the images", where=f"--host {host}", mend=mend)
    return None


def _hosts(host: str, more: tuple[str, ...]) -> tuple[str, ...]:
    """Names to go by. Who binds to a network has a token against strangers, and its names are not known here."""
    if is_loopback(host):
        return (*LOOPBACK_NAMES, f"[{host}]" if ":" in host else host, *more)
    return more


def _say(address: str, settings: ServiceSettings, made: bool, open: bool) -> None:
    """Once clients are let in."""
    print(f"serving {settings.uri} at {address} (Ctrl-C ends it)", flush=True)
    if made:
        print(f"token: {settings.token}", flush=True)
    if open:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()  # some browsers block
