"""A service on a socket: in this process, or in several that share the socket and open the index each by itself.

The socket is bound before anything is loaded, so that a port in use is said at once; clients are let in when the model
is there. SIGTERM and SIGINT end a server in order: no new connections, what is in flight is finished.
"""

import errno
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import uvicorn
from starlette.types import ASGIApp

from fastgoal.errors import ConfigError, FastgoalError, ModelError
from fastgoal.interrupts import SIGNALS
from fastgoal.remote.place import place_of
from fastgoal.search.manifest import Manifest
from fastgoal.search.searcher import Searcher
from fastgoal.search.service.app import make_app
from fastgoal.search.service.settings import ServiceSettings
from fastgoal.search.service.workers import CANNOT_START, end_with_parent, keep_working

GRACE = 30
"""Seconds that requests in flight have when the server is told to end."""
_CONNECTIONS = 512


def bind(host: str, port: int) -> socket.socket:
    """A socket at this address; port 0 takes a free one.

    Raises:
        ConfigError: the port is in use or not ours to take, or there is no such address here.
    """
    if not 0 <= port <= 65535:
        raise ConfigError("there is no such port", where=f"--port {port}", mend="Name one from 0 to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is closed lingers for minutes
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise _unbound(host, port, error) from None
    found.set_inheritable(True)
    return found


def _unbound(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError("the port is in use", where=f"--port {port}", mend="Name another, or 0 for any free one.")
    if error.errno == errno.EACCES:
        return ConfigError("the port is reserved", where=f"--port {port}", mend="Name one above 1023.")
    mend = "Use 127.0.0.1 for this machine alone, or 0.0.0.0 for every address it has."
    return ConfigError(f"cannot be listened at ({error.strerror or error})", where=f"--host {host}", mend=mend)


def address(bound: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(
    settings: ServiceSettings,
    bound: socket.socket,
    *,
    workers: int = 1,
    log_requests: bool = False,
    proxies: str | None = None,
    prepare: Callable[[], object] | None = None,
    ready: Callable[[str], object] = print,
) -> None:
    """Serve until a signal comes.

    Args:
        proxies: addresses whose `X-Forwarded-For` is believed. prepare: called first in every worker process, to which
            it is pickled. ready: called once with the address that answers.

    Raises:
        FastgoalError: the index or its model cannot be used.
    """
    Manifest.read(place_of(settings.uri))  # before workers start, each of which would say the same
    ended = threading.Event()
    threading.Thread(target=_announce, args=(bound, ended, ready), daemon=True).start()
    here = partial(_serve_here, settings, bound, log_requests, proxies)
    try:
        if workers == 1:
            here()
        elif not keep_working(workers, partial(_in_worker, here, prepare)):
            raise ModelError("a worker could not start", mend="Its own message above says why.")
    finally:
        ended.set()


def open_app(settings: ServiceSettings) -> ASGIApp:
    """The application with an index and a model of its own.

    Raises:
        FastgoalError: as `Searcher.open`.
    """
    import torch

    from fastgoal.models.baselines import load_retriever

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    encoder = None if settings.model is None else load_retriever(settings.model, device=settings.device)
    searcher = Searcher.open(
        settings.uri, encoder, root=settings.root, memory_mib=settings.memory_mib, device=settings.device
    )
    return make_app(searcher, settings)


def _serve_here(settings: ServiceSettings, bound: socket.socket, log_requests: bool, proxies: str | None) -> None:
    config = uvicorn.Config(
        open_app(settings),
        ws="none",
        log_level="info" if log_requests else "warning",
        access_log=log_requests,
        server_header=False,
        proxy_headers=proxies is not None,  # else anyone could claim to be many clients
        forwarded_allow_ips=proxies,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    # uvicorn takes the signal, and sends it once more when all is in order: by then it has done its work.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _heard()}
    try:
        uvicorn.Server(config).run([bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_worker(here: Callable[[], None], prepare: Callable[[], object] | None = None) -> None:
    """What a worker process does; it ends with a line if it cannot."""
    end_with_parent()
    if prepare is not None:
        prepare()
    try:
        here()
    except FastgoalError as error:
        print(f"fastgoal: {error}", file=sys.stderr, flush=True)
        sys.exit(CANNOT_START)


def _heard() -> tuple[signal.Signals, ...]:
    """Signals that end a server; only the main thread may say who takes them."""
    return SIGNALS if threading.current_thread() is threading.main_thread() else ()


def _announce(bound: socket.socket, ended: threading.Event, ready: Callable[[str], object]) -> None:
    """Ask until an answer comes. The address is bound already, so the answer is nobody else's."""
    url, ask = address(bound), build_opener(ProxyHandler({})).open  # a proxy knows other loopbacks
    while not ended.wait(0.05):
        try:
            with ask(f"{url}api/health", timeout=5) as answer:
                answer.read()
        except HTTPError:  # an answer too: the name is not one that is let in
            break
        except OSError:
            continue
        break
    if not ended.is_set():
        ready(url)
