"""A lean HTTP/1.1 client: kept-alive connections per origin, one write for a request, no redirects, nothing compressed.

Written because the client below the SDK's takes several times the CPU of the server that it asks. What it cannot do,
proxies and OAuth, is left to that one (`full_http`).
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final

import anyio

from pool.wire.lean_socket import Broken, LeanAnswer, LeanSocket

__all__ = ["LeanHttp", "NotSent", "Origin"]

CONNECT_SECONDS: Final = 10.0
KEEP_SECONDS: Final = 4.0
"""Idle connections are used again for so long: uvicorn and node close them after five seconds, and a request that
crosses the server's goodbye may or may not have been taken."""

Origin = tuple[str, str, int]
"""Scheme, host, port."""


class NotSent(Exception):
    """There is no connection, so nothing has been sent. `is_final` when nobody listens there."""

    def __init__(self, reason: str, *, is_final: bool = True) -> None:
        super().__init__(reason)
        self.is_final = is_final


class LeanHttp:
    """The connections of a pool. `tls` gives the one TLS context: making one takes 21 ms of CPU.

    `max_connections` are for requests; what is held open to listen on comes on top, or listeners would take the
    connections of the calls.
    """

    def __init__(self, *, max_connections: int, tls: Callable[[], ssl.SSLContext]) -> None:
        self._max_connections = max_connections
        self._held: set[LeanSocket] = set()
        self._tls = tls
        self._idle: dict[Origin, deque[LeanSocket]] = {}
        self._open = 0
        self._freed = asyncio.Event()
        self._is_closed = False

    def __repr__(self) -> str:
        idle = sum(len(sockets) for sockets in self._idle.values())
        held = f", {len(self._held)} held" if self._held else ""
        return f"<LeanHttp {self._open}/{self._max_connections} connections, {idle} idle{held}>"

    def resize(self, max_connections: int) -> None:
        """Another number from now on; what is open stays open."""
        self._max_connections = max_connections
        self._freed.set()

    async def send(self, origin: Origin, data: bytes, *, is_held: bool = False) -> LeanAnswer:
        """Write a request and wait until its answer is there, or begins to stream. Whoever gets it closes it.

        `is_held`: it is no call, but stays open to listen on. Raises `NotSent` and `Broken`.
        """
        socket = self._take(origin) or await self._connect(origin, is_held=is_held)
        if not socket.is_open:  # over before anything could be written
            raise NotSent("it closed the connection at once")
        if is_held:
            self._held.add(socket)
        answer = socket.start(data)
        try:
            await answer.started()
        except BaseException as error:
            if isinstance(error, Broken):
                error.has_begun = answer.status != 0
            socket.finish(answer)
            raise
        return answer

    def close(self) -> None:
        self._is_closed = True
        for sockets in self._idle.values():
            while sockets:
                sockets.pop().abort()

    def _take(self, origin: Origin) -> LeanSocket | None:
        """The connection that was used last: it is the least likely to be closed just now."""
        idle = self._idle.get(origin)
        now = asyncio.get_running_loop().time()
        while idle:
            socket = idle.pop()
            keep = KEEP_SECONDS if socket.keep_seconds is None else min(KEEP_SECONDS, socket.keep_seconds - 1)
            if socket.is_open and now - socket.idle_since < keep:
                return socket
            socket.abort()
        return None

    async def _connect(self, origin: Origin, *, is_held: bool) -> LeanSocket:
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        is_counted = False
        socket = LeanSocket(on_free=lambda socket: self._free(origin, socket), on_closed=self._closed)
        try:
            with anyio.fail_after(CONNECT_SECONDS):
                while not is_held and self._is_full and not self._make_room(origin):
                    self._freed.clear()
                    await self._freed.wait()
                    if (freed := self._take(origin)) is not None:
                        return freed
                self._open += 1
                is_counted = True
                await loop.create_connection(
                    lambda: socket,
                    host,
                    port,
                    ssl=self._tls() if scheme == "https" else None,
                    server_hostname=host if scheme == "https" else None,
                )
        except BaseException as error:
            socket.disown()
            if is_counted:
                self._closed(None)
            if isinstance(error, TimeoutError):
                if not is_counted:
                    raise NotSent("all connections are busy", is_final=False) from error
                raise NotSent(f"no connection within {CONNECT_SECONDS:g} seconds") from error
            if isinstance(error, OSError | ssl.SSLError):
                raise NotSent(_say(error)) from error
            raise
        return socket

    @property
    def _is_full(self) -> bool:
        return self._open - len(self._held) >= self._max_connections

    def _make_room(self, origin: Origin) -> bool:
        for other, sockets in self._idle.items():
            if sockets and other != origin:
                sockets.popleft().abort()
                return True
        return False

    def _free(self, origin: Origin, socket: LeanSocket) -> None:
        if self._is_closed:
            socket.abort()
            return
        self._held.discard(socket)
        socket.idle_since = asyncio.get_running_loop().time()
        self._idle.setdefault(origin, deque()).append(socket)
        self._freed.set()

    def _closed(self, socket: LeanSocket | None) -> None:
        self._open -= 1
        self._freed.set()
        if socket is not None:
            self._held.discard(socket)
            for sockets in self._idle.values():
                if socket in sockets:
                    sockets.remove(socket)


def _say(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return error.strerror or str(error) or type(error).__name__
