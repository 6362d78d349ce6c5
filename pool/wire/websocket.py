"""MCP over WebSocket, a custom transport: subprotocol `mcp`, one JSON-RPC message to a text frame, 16 MiB at most.

The same framing that our servers speak. A ping every 30 seconds finds a peer that is gone; redirects are refused.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.client._transport import TransportStreams  # pyright: ignore[reportPrivateUsage] - the type of a transport
from mcp.shared.message import SessionMessage
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from pool.wire.link import LinkedTransport
from pool.wire.oversize import too_big_to_send
from pool.wire.reading import read_message
from pool.redact import mask
from pool.spec import WsSpec
from stoa.errors import BadInput, Denied, StoaError, Unavailable
from stoa.wire import MAX_MESSAGE_BYTES, PING_SECONDS, PING_TIMEOUT_SECONDS, WS_SUBPROTOCOL, CloseCode

__all__ = ["WebSocketTransport"]

OPEN_SECONDS = 10.0
CLOSE_SECONDS = 2.0
QUEUED_MESSAGES = 256

_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError)


class _ConnectHereOnly(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebSocketTransport(LinkedTransport):
    """Opens the socket on entering and closes it on leaving."""

    def __init__(self, spec: WsSpec, *, server: str) -> None:
        super().__init__()
        self._spec = spec
        self._server = server

    def __repr__(self) -> str:
        return f"<WebSocketTransport {self._server} {self._spec}>"

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[TransportStreams]:
        socket = await self._open()
        try:
            inbound_in, inbound_out = anyio.create_memory_object_stream[SessionMessage | Exception](0)
            outbound_in, outbound_out = anyio.create_memory_object_stream[SessionMessage](QUEUED_MESSAGES)
            with inbound_in, inbound_out, outbound_in, outbound_out:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._read, socket, inbound_in)
                    tasks.start_soon(self._write, socket, outbound_out, inbound_in)
                    try:
                        yield inbound_out, outbound_in
                    finally:
                        tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await socket.close()  # bounded by close_timeout

    async def _open(self) -> ClientConnection:
        try:
            return await _ConnectHereOnly(
                self._spec.url,
                subprotocols=[Subprotocol(WS_SUBPROTOCOL)],
                compression=None,
                additional_headers=dict(self._spec.headers),
                open_timeout=OPEN_SECONDS,
                ping_interval=PING_SECONDS,
                ping_timeout=PING_TIMEOUT_SECONDS,
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

    async def _read(self, socket: ClientConnection, inbound: ObjectSendStream[SessionMessage | Exception]) -> None:
        try:
            async for frame in socket:
                try:
                    message = read_message(frame)
                except ValueError as error:
                    await inbound.send(error)
                else:
                    await inbound.send(SessionMessage(message))
            self.lose("It closed the connection.")
        except ConnectionClosed as error:
            self.lose(_tell(error))
        except _GONE:
            pass  # our own side left
        finally:
            await inbound.aclose()

    async def _write(
        self,
        socket: ClientConnection,
        outbound: ObjectReceiveStream[SessionMessage],
        inbound: ObjectSendStream[SessionMessage | Exception],
    ) -> None:
        try:
            async for item in outbound:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                size = len(text.encode())
                if size > MAX_MESSAGE_BYTES:
                    await inbound.send(too_big_to_send(item.message, size))
                else:
                    await socket.send(text)
        except ConnectionClosed as error:
            self.lose(_tell(error))
            with suppress(*_GONE):
                await inbound.aclose()
        except _GONE:
            pass


def _tell(error: ConnectionClosed) -> str:
    sent, received = error.sent, error.rcvd
    if sent is not None and sent.code == CloseCode.TOO_BIG and (received is None or not error.rcvd_then_sent):
        return f"It sent a message of more than {MAX_MESSAGE_BYTES >> 20} MiB, which is the limit."
    if received is not None:
        because = f" ({received.reason})" if received.reason else ""
        return f"It closed the connection with code {received.code}{because}."
    return "The connection broke."
