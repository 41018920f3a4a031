"""What every request passes before anything is read of it, outermost first.

    headers   what the browser must not do with an answer
    host      names this server goes by, so that no page can reach it under a name of its own (DNS rebinding); no
              requests that a page of another origin makes
    rate      a bucket of tokens per client
    token     `Authorization: Bearer`, compared in constant time
    size      of the body, counted as it comes

Each is a plain ASGI application around the next one: what wraps the requests inside the framework would not see its own
error answers.
"""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastgoal.search.service.buckets import Buckets
from fastgoal.search.service.problems import response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
OPEN = ("/", "/api/health")
"""What needs no token: nothing of the index is in it. The files of the page are open too."""
STATIC = "/static/"
_CHEAP = 0.1
"""What an image of the index costs of the rate; a page of results shows dozens."""


def guarded(
    app: ASGIApp, *, hosts: tuple[str, ...], token: str | None, body_bytes: int, buckets: Buckets | None
) -> ASGIApp:
    """The application behind its guards. hosts: empty admits any. buckets: None sets no rate."""
    app = _BodySize(app, body_bytes)
    app = app if token is None else _Token(app, token)
    app = app if buckets is None else _Rate(app, buckets)
    return _SecurityHeaders(_Host(app, hosts))


class _Guard:
    """Lets everything pass that is no request, such as the start and the end of the server."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.request if scope["type"] == "http" else self.app)(scope, receive, send)

    async def request(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class _SecurityHeaders(_Guard):
    async def request(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, sent)


class _Host(_Guard):
    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        super().__init__(app)
        self._hosts = frozenset(host.lower() for host in hosts)

    async def request(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts and _name(host) not in self._hosts:
            mend = "Use the address that the server printed, or add the name with --allow-host."
            await response(421, "this server does not go by that name", mend)(scope, receive, send)
        elif (origin is not None and urlsplit(origin).netloc.lower() != host.lower()) or (
            headers.get("sec-fetch-site") == "cross-site" and scope["path"] not in OPEN
        ):
            await response(403, "a page of another site asks", "Use the page of this server.")(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _name(host: str) -> str:
    """A `Host` header without its port; an address in brackets keeps them."""
    bare = host.lower()
    return bare[: bare.find("]") + 1] if bare.startswith("[") else bare.partition(":")[0]


class _Rate(_Guard):
    def __init__(self, app: ASGIApp, buckets: Buckets) -> None:
        super().__init__(app)
        self._buckets = buckets

    async def request(self, scope: Scope, receive: Receive, send: Send) -> None:
        wait = self._buckets.take((scope.get("client") or ("",))[0], _cost(scope["path"]))
        if wait > 0:
            seconds = str(int(wait) + 1)
            refused = response(429, "too many requests", f"Try again in {seconds} s.", {"Retry-After": seconds})
            await refused(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _cost(path: str) -> float:
    if path in OPEN or path.startswith(STATIC):
        return 0
    return _CHEAP if path == "/api/image" else 1


class _Token(_Guard):
    def __init__(self, app: ASGIApp, token: str) -> None:
        super().__init__(app)
        self._expected = f"Bearer {token}".encode()

    async def request(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("authorization", "").encode("latin-1")
        open_to_all = scope["path"] in OPEN or scope["path"].startswith(STATIC)
        if open_to_all or hmac.compare_digest(given, self._expected):
            await self.app(scope, receive, send)
        else:
            mend = "Send the token that the server was started with, as `Authorization: Bearer TOKEN`."
            refused = response(401, "this server asks for a token", mend, {"WWW-Authenticate": "Bearer"})
            await refused(scope, receive, send)


class _BodySize(_Guard):
    def __init__(self, app: ASGIApp, most: int) -> None:
        super().__init__(app)
        self._most = most

    async def request(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = Headers(scope=scope).get("content-length", "0")
        if not said.isascii() or not said.isdigit() or len(said) > _DIGITS or int(said) > self._most:
            await response(413, self._what(), _SMALLER, _CLOSE)(scope, receive, send)
        else:
            await self.app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        left = self._most

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:  # the framework passes this one on, and makes bad syntax of any other
                raise HTTPException(413, self._what(), _CLOSE)
            return message

        return counted

    def _what(self) -> str:
        return f"more than {self._most:,} bytes were sent"


_DIGITS = 15
_SMALLER = "Send a smaller file."
_CLOSE = {"Connection": "close"}
