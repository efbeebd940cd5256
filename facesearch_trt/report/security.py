"""Who may talk to the web pages: the host that is asked for, the site a request comes from, the token, the session.

Everything passes this gate before any page sees it. It holds no state: sessions are signed cookies.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LEAST_TOKEN", "Access", "Gate", "Session", "is_loopback"]

LEAST_TOKEN = 16
"""Characters that a token has at least."""

_UPLOADS = ("/search", "/api/search")
_MAX_BODY = 1 << 18
"""Bytes of a request that brings no photo."""
_OPEN = ("/login", "/static/")
"""What is seen without a token."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self' data: blob:; media-src 'self'; style-src 'self';"
    " script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: with it, browsers send the forms of these very pages with "Origin: null".
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
}


def is_loopback(host: str) -> bool:
    """Return whether a host that is listened on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Access:
    """Who is let in."""

    host: str
    """What is listened on."""
    token: str | None = None
    """Asked of everybody; None only on loopback."""
    names: frozenset[str] = frozenset()
    """Further host names under which this server is reached, as behind a proxy."""
    max_upload: int = 32 << 20
    """Bytes of a request with photos."""
    cookie: str = "facesearch"
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Signs sessions; a new one with each start, which ends all sessions."""

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise ValueError("a token is needed where others can connect")
        if self.token is not None and len(self.token) < LEAST_TOKEN:
            raise ValueError(f"a token has {LEAST_TOKEN} characters or more")

    def knows_host(self, header: str) -> bool:
        """Return whether a Host header names this server.

        A page of another site that lets its own name point to this machine (DNS rebinding) is refused: its requests
        carry that name. An address cannot be rebound.
        """
        try:
            host = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        if host in self.names or is_loopback(host):
            return True
        if is_loopback(self.host):
            return False
        if host in (self.host.lower(), socket.gethostname().lower()):
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def is_token(self, given: str) -> bool:
        """Return whether a token is the right one, in a time that does not depend on where it differs."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def signed(self, purpose: str, text: str) -> str:
        """Return what only this server can make of a text."""
        return hmac.new(self.secret, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's session."""

    nonce: str
    trusted: bool
    """Whether it gave the token, or none is asked for."""
    csrf: str
    """What the session's forms have to send along."""
    bearer: bool = False
    """Whether the request itself brought the token: no page of another site can make a browser do that."""

    @classmethod
    def new(cls, access: Access, *, trusted: bool, bearer: bool = False) -> Session:
        """Begin a session."""
        nonce = secrets.token_hex(16)
        return cls(nonce, trusted, access.signed("csrf", nonce), bearer)

    @classmethod
    def from_cookie(cls, access: Access, cookie: str) -> Session | None:
        """Return the session of a cookie; None for one that this server did not make."""
        nonce, _, signature = cookie.partition(".")
        for purpose in ("token", "guest"):
            if hmac.compare_digest(signature.encode(), access.signed(purpose, nonce).encode()):
                trusted = access.token is None or purpose == "token"
                return cls(nonce, trusted, access.signed("csrf", nonce))
        return None

    def set_cookie(self, access: Access, response: Response, *, secure: bool) -> None:
        """Give the session to a browser."""
        purpose = "token" if self.trusted and access.token is not None else "guest"
        value = f"{self.nonce}.{access.signed(purpose, self.nonce)}"
        response.set_cookie(access.cookie, value, httponly=True, samesite="lax", secure=secure, path="/")

    def allows(self, given: str | None) -> bool:
        """Return whether a change that brought this CSRF token comes from a page of this server."""
        return self.bearer or (given is not None and hmac.compare_digest(given.encode(), self.csrf.encode()))


class Gate:
    """ASGI middleware: lets a request through, with ``scope["session"]``, or answers it itself."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            # There are no WebSockets here.
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        if refused is None:
            scope["session"] = self._session(scope, headers)
            refused = self._without_token(scope)
        if refused is None:
            limit = self._access.max_upload if scope["path"] in _UPLOADS else _MAX_BODY
            if int(headers.get("content-length", "0")) > limit:
                refused = _error(scope, 413, f"more than {limit:,} bytes were sent")
            else:
                receive = _limited(receive, limit)
        guarded = _guarded(send)
        if refused is not None:
            await refused(scope, receive, guarded)
        else:
            await self.app(scope, receive, guarded)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows_host(hosts[0]):
            return _error(scope, 421, "this server is not known by that name; see --allow-host")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            return _error(scope, 400, "Content-Length is not a number")
        if scope["method"] not in _SAFE:
            site = headers.get("sec-fetch-site", "same-origin")
            origin = headers.get("origin")
            if site not in ("same-origin", "none") or (origin is not None and not _same(origin, hosts[0])):
                return _error(scope, 403, "the request comes from a page of another site")
        return None

    def _session(self, scope: Scope, headers: Headers) -> Session:
        access = self._access
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and access.is_token(given.strip()):
            return Session.new(access, trusted=True, bearer=True)
        cookie = HTTPConnection(scope).cookies.get(access.cookie)
        known = None if cookie is None else Session.from_cookie(access, cookie)
        return known or Session.new(access, trusted=access.token is None)

    def _without_token(self, scope: Scope) -> Response | None:
        session: Session = scope["session"]
        if session.trusted or _starts(scope["path"], _OPEN):
            return None
        if scope["path"].startswith("/api") or scope["method"] not in _SAFE:
            return _error(scope, 401, "a token is needed: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"})
        return RedirectResponse("/login?next=" + quote(scope["path"], safe=""), status_code=303)


def _starts(path: str, beginnings: Iterable[str]) -> bool:
    return any(
        path == beginning or (beginning.endswith("/") and path.startswith(beginning)) for beginning in beginnings
    )


def _same(origin: str, host: str) -> bool:
    # The scheme is not compared: behind a proxy that speaks TLS it is another one.
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def _error(scope: Scope, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    if scope["path"].startswith("/api"):
        return JSONResponse({"detail": detail}, status, headers)
    return PlainTextResponse(f"{status}: {detail}\n", status, headers)


def _limited(receive: Receive, limit: int) -> Receive:
    got = 0

    async def limited() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > limit:
            raise HTTPException(413, f"more than {limit:,} bytes were sent")
        return message

    return limited


def _guarded(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "private, no-store")
        await send(message)

    return guarded
