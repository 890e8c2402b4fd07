"""Limits before anything is parsed: how many requests at a time, how large, how slow."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PROBLEMS = {
    408: "the request did not come in time",
    413: "the body is too large",
    503: "too many requests at a time; try again later",
}


@dataclass(frozen=True)
class Limits:
    """What one client may ask of the service."""

    body_bytes: int = 2_000_000  # 64 examples with 17 digits a pixel are 1.2 MB.
    seconds: float = 10.0  # From a request's first byte to the last of the answer.
    in_flight: int = 64
    retry_after: int = 1  # Seconds, told to those who come in vain.


LIMITS = Limits()


class TooLarge(Exception):
    """The body has more bytes than the limit."""


class Guard:
    """ASGI middleware: reads a body within the limits, or answers 408, 413 or 503 itself.

    Paths that do not begin with `prefix` are let through, so that a full house can still say that
    it is alive, and be measured.
    """

    def __init__(self, app: Any, limits: Limits, prefix: str = "/v1/") -> None:
        self.app, self.limits, self.prefix = app, limits, prefix
        self.in_flight = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(self.prefix):
            return await self.app(scope, receive, send)
        if self.in_flight >= self.limits.in_flight:
            return await refuse(send, 503, self.limits.retry_after)
        self.in_flight += 1
        body, started = None, False

        async def noting(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(self.limits.seconds):
                body = await self._body(scope, receive)
                if body is not None:
                    await self.app(scope, replay(body, receive), noting)
        except TooLarge:
            await refuse(send, 413)
        except TimeoutError:
            if started:
                raise  # The server closes the connection: half an answer is none.
            await refuse(send, 408 if body is None else 503, self.limits.retry_after)
        finally:
            self.in_flight -= 1

    async def _body(self, scope: Any, receive: Any) -> bytes | None:
        """All of the body; None if the client has gone.

        Raises:
            TooLarge: It is larger than the limit, or says that it will be.
        """
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if int(said) > self.limits.body_bytes:
            raise TooLarge
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self.limits.body_bytes:
                raise TooLarge
            if not message.get("more_body"):
                return bytes(body)


def replay(body: bytes, receive: Any) -> Any:
    """A `receive` that gives the body at once, then what the server says."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_() -> Any:
        return messages.pop() if messages else await receive()

    return next_


async def refuse(send: Any, status: int, retry_after: int | None = None) -> None:
    """Answer without having read all of the request, and close: the rest is not wanted."""
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    body = json.dumps({"detail": PROBLEMS[status]}).encode()
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Protocol(H11Protocol):
    """uvicorn's, but a client that takes too long over a request's head is cut off.

    uvicorn waits for it without end; the rest of a request is `Guard`'s business.
    """

    seconds = LIMITS.seconds
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client comes; its head is awaited."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """A piece of a head, or of a body."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._timer is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client goes."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
