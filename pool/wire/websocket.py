"""MCP over WebSocket, a custom transport: subprotocol `mcp`, one JSON-RPC message to a text frame, 16 MiB at most.

The same framing that our servers speak. A ping every 30 seconds finds a peer that is gone; redirects are refused.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from pool.redact import mask
from pool.spec import WsSpec
from pool.wire.peer import Peer
from pool.wire.reading import read_object
from stoa.errors import BadInput, Denied, StoaError, Unavailable
from stoa.wire import MAX_MESSAGE_BYTES, PING_SECONDS, PING_TIMEOUT_SECONDS, WS_SUBPROTOCOL, CloseCode

__all__ = ["WebSocketWire"]

_log = logging.getLogger(__name__)

OPEN_SECONDS = 10.0
CLOSE_SECONDS = 2.0


class _ConnectHereOnly(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebSocketWire(Peer):
    """Opens the socket on entering and closes it on leaving."""

    def __init__(
        self,
        spec: WsSpec,
        *,
        server: str,
        ping_seconds: float = PING_SECONDS,
        ping_timeout_seconds: float = PING_TIMEOUT_SECONDS,
    ) -> None:
        super().__init__()
        self._ping_seconds = ping_seconds
        self._ping_timeout_seconds = ping_timeout_seconds
        self._spec = spec
        self._server = server
        self._socket: ClientConnection | None = None

    def __repr__(self) -> str:
        return f"<WebSocketWire {self._server} {self._spec}>"

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        socket = self._socket = await self._connect()
        try:
            async with anyio.create_task_group() as tasks:
                self._start(tasks)
                tasks.start_soon(self._read, socket)
                try:
                    yield
                finally:
                    self.lose("The connection was closed.")  # whoever still waits for an answer is told
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await socket.close()  # bounded by close_timeout

    async def _connect(self) -> ClientConnection:
        try:
            return await _ConnectHereOnly(
                self._spec.url,
                subprotocols=[Subprotocol(WS_SUBPROTOCOL)],
                compression=None,
                additional_headers=dict(self._spec.headers),
                open_timeout=OPEN_SECONDS,
                ping_interval=self._ping_seconds,
                ping_timeout=self._ping_timeout_seconds,
                close_timeout=CLOSE_SECONDS,
                max_size=MAX_MESSAGE_BYTES,
            )
        except InvalidURI as error:
            raise BadInput(
                f"The server {self._server!r} has an address that is no WebSocket URL: {self._spec}.",
                hint="Use ws:// or wss://.",
            ) from error
        except InvalidStatus as error:
            raise self._refused(error.response.status_code) from error
        except (OSError, TimeoutError, InvalidHandshake) as error:
            reason = mask(str(error) or type(error).__name__, self._spec.secrets)
            raise Unavailable(
                f"The server {self._server!r} cannot be reached at {self._spec}: {reason}.",
                hint="Start it, or correct its url.",
            ) from error

    def _refused(self, status: int) -> StoaError:
        message = f"The server {self._server!r} refused the WebSocket at {self._spec} with HTTP {status}."
        if status in (401, 403):
            return Denied(message, hint=f"Check mcpServers.{self._server}.headers.")
        if 300 <= status < 400:
            return Unavailable(message, hint="Redirects are refused; give the final address as its url.")
        if status == 404:
            return BadInput(message, hint=f"Correct the path in mcpServers.{self._server}.url.")
        return Unavailable(message)

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                frame = await socket.recv()
                self.traffic.received(len(frame))
                try:
                    self._take(read_object(frame), size=len(frame))
                except ValueError as error:
                    _log.debug("%s sent a frame that is no message: %s", self._server, error)
        except ConnectionClosed as error:
            self.lose(_tell(error))

    async def _send(self, data: bytes) -> None:
        assert self._socket is not None
        try:
            await self._socket.send(data, text=True)
            self.traffic.sent(len(data))
        except ConnectionClosed as error:
            self.lose(_tell(error))


def _tell(error: ConnectionClosed) -> str:
    sent, received = error.sent, error.rcvd
    if sent is not None and sent.code == CloseCode.TOO_BIG and (received is None or not error.rcvd_then_sent):
        return f"It sent a message of more than {MAX_MESSAGE_BYTES >> 20} MiB, which is the limit."
    if received is not None:
        because = f" ({received.reason})" if received.reason else ""
        return f"It closed the connection with code {received.code}{because}."
    return "The connection broke."
