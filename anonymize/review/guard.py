"""What stands before every request: the right host, the token, no foreign site, and headers that keep the page closed."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from anonymize.console import Console, scrubbed_traceback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAXIMUM_BODY = 64 * 1024
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware around the page.

    A request passes with the token in the query of ``/`` or in the cookie that this sets. The Host header must be the
    address that the server listens on, so that a foreign name pointed at it (DNS rebinding) does not reach it; a request
    that changes something must come from the page itself.

    Args:
        app: the page.
        token: at least 32 random characters.
        host: the address listened on.
        port: the port listened on.
        console: for errors, without any value.
    """

    def __init__(self, app: App, token: str, host: str, port: int, console: Console) -> None:
        self._app, self._token, self._console = app, token, console
        self._host, self._port = host, port
        self.cookie = f"anonymize_review_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, fields)
        if refused:
            await _answer(send, 403, refused)
            return
        given = self._in_query(scope)
        began = False

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                replaced = {name.lower().encode() for name in HEADERS}
                headers = [(name, value) for name, value in message["headers"] if name.lower() not in replaced]
                headers += _HEADERS
                if given:
                    cookie = f"{self.cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
                    headers.append((b"set-cookie", cookie.encode()))
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except Exception as error:
            # uvicorn would write the message of the error, which can hold text of a report
            self._console.error(scrubbed_traceback(error))
            if not began:
                await _answer(send, 500, "The review page met an error; the terminal says where.")

    def _refused(self, scope: Scope, fields: dict[str, str]) -> str:
        """Why a request may not pass; empty where it may."""
        host = fields.get("host", "")
        if not self._is_here(host):
            return "This page answers only under the address that the terminal shows."
        if not (self._in_query(scope) or self._in_cookie(fields.get("cookie", ""))):
            return "The token is missing or wrong. Open the address that the terminal shows, whole."
        if scope["method"] not in ("GET", "HEAD"):
            origin, site = fields.get("origin", f"http://{host}"), fields.get("sec-fetch-site", "same-origin")
            if origin != f"http://{host}" or site != "same-origin":
                return "Requests of other sites are refused."
            if fields.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return "Only JSON is read."
            length = fields.get("content-length", "")
            if not length.isdigit() or int(length) > MAXIMUM_BODY:
                return "The request is too long."
        return ""

    def _is_here(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        if port != str(self._port) or not name:
            return False
        name = name.removeprefix("[").removesuffix("]").lower()
        if is_loopback(self._host):
            return name == self._host.lower() or is_loopback(name)
        try:
            ipaddress.ip_address(name)  # an address cannot be pointed elsewhere
            return True
        except ValueError:
            return name in (self._host.lower(), socket.gethostname().lower(), "localhost")

    def _in_query(self, scope: Scope) -> bool:
        if scope["path"] != "/":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return len(given) == 1 and self._same(given[0])

    def _in_cookie(self, header: str) -> bool:
        try:
            given = SimpleCookie(header).get(self.cookie)
        except CookieError:
            return False
        return given is not None and self._same(given.value)

    def _same(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token.encode())


_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


async def _answer(send: Send, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    headers = [*_HEADERS, (b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
