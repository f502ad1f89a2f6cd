"""What stands before every request: who may ask, how much, for how long; and the log."""

import asyncio
import hmac
import json
import sys
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trainwright.errors import ConfigError, DataError
from trainwright.inference.serve.asked import RefusedError
from trainwright.inference.serve.counts import Counts
from trainwright.inference.serve.hosts import is_loopback, without_port

MOST_LOGGED = 200  # letters of a path


@dataclass(frozen=True)
class Limits:
    """What a server takes: bytes a body, requests at a time, seconds a request."""

    body: int
    waiting: int
    seconds: float


class Guard:
    """Refuses, counts, logs; and whatever happens within becomes an answer that says no more."""

    app: ASGIApp  # that answers what is not refused

    def __init__(self, *, limits: Limits, token: str | None, counts: Counts) -> None:
        self._limits, self._counts = limits, counts
        self._token = None if token is None else f"Bearer {token}".encode()
        self._bytes = 0  # of all bodies that are being read or answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began, seen = time.perf_counter(), _Seen()

        async def counted_receive() -> Message:
            message = await receive()
            seen.is_whole = not message.get("more_body", False)
            seen.taken += len(message.get("body", b""))
            self._bytes += len(message.get("body", b""))
            if seen.taken > self._limits.body:
                raise self._too_large()
            if self._bytes > 32 * self._limits.body:
                raise RefusedError(503, "too much is being sent at once", {"Retry-After": "1"})
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
            seen.sent += len(message.get("body", b""))
            await send(message)

        self._counts.waiting += 1
        try:
            self._admit(scope)
            async with asyncio.timeout(self._limits.seconds):
                await self.app(scope, counted_receive, counted_send)
        except Exception as error:
            seen.error = type(error).__name__
            answer = _answer(error, seen)
            if not seen.status:
                await answer(scope, receive, counted_send)
        finally:
            self._counts.waiting -= 1
            self._bytes -= seen.taken
            self._log(scope, seen, time.perf_counter() - began)

    def _admit(self, scope: Scope) -> None:
        """Raise RefusedError for a request that is not to be answered."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._token is None and not is_loopback(without_port(host)):
            # A page elsewhere whose name leads here (DNS rebinding) is told by the name.
            raise RefusedError(403, "this server answers to localhost only")
        origin = headers.get("origin", f"http://{host}")
        if self._token is None and origin.partition("://")[2] != host:
            # A page elsewhere may send what it may not read.
            raise RefusedError(403, "pages from elsewhere may not ask")
        if "content-encoding" in headers:
            raise RefusedError(415, "the body must not be compressed")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._limits.body:
            raise self._too_large()
        is_asked_whether_it_lives = scope["path"].endswith("/health")
        if self._counts.waiting > self._limits.waiting and not is_asked_whether_it_lives:
            raise RefusedError(503, "too many requests are waiting", {"Retry-After": "1"})

    def check_token(self, headers: Headers) -> None:
        """Raise RefusedError without the token, where one is needed."""
        given = headers.get("authorization", "").encode("latin-1", "replace")
        if self._token is not None and not hmac.compare_digest(given, self._token):
            text = "the header `Authorization: Bearer <token>` is missing or wrong"
            raise RefusedError(401, text, {"WWW-Authenticate": "Bearer"})

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the body is larger than {self._limits.body / 1e6:g} MB")

    def _log(self, scope: Scope, seen: "_Seen", seconds: float) -> None:
        self._counts.requests[scope.get("route", "none"), seen.status] += 1
        self._counts.seconds.add(seconds)
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": (scope.get("client") or [""])[0],
            "method": scope["method"][:20],
            "path": scope["path"][:MOST_LOGGED],
            "status": seen.status,
            "ms": round(1000 * seconds, 2),
            "in": seen.taken,
            "out": seen.sent,
        }
        print(json.dumps(line | ({"error": seen.error} if seen.error else {})), flush=True)


@dataclass
class _Seen:
    """What of a request and its answer has gone by."""

    taken: int = 0
    sent: int = 0
    status: int = 0
    error: str = ""
    is_whole: bool = False  # the body


def _answer(error: Exception, seen: _Seen) -> JSONResponse:
    """What a client is told: of a bug only that there is one."""
    status, text, headers = 500, "internal error", dict[str, str]()
    if isinstance(error, RefusedError):
        status, text, headers = error.status, error.text, error.headers
    elif isinstance(error, ConfigError | DataError):
        status, text = 422, str(error)
    elif isinstance(error, TimeoutError):
        status, text = 504 if seen.is_whole else 408, "it took too long"
    elif isinstance(error, ClientDisconnect):
        status, text = 499, "the client has left"
    else:
        traceback.print_exception(error, file=sys.stderr)
    return JSONResponse({"error": text}, status, headers)
