"""MCP over WebSocket: a custom transport, as `docs/websocket.md` states it.

Subprotocol `mcp`, one JSON-RPC message in one text frame, cancellation by `notifications/cancelled`. Who may connect
has been decided when this is called. Frames over the limit, pings and their timeouts are uvicorn's (`kit.http`).
"""

from contextlib import suppress
from typing import Any

import anyio
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.shared.message import ServerMessageMetadata
from starlette.websockets import WebSocket, WebSocketDisconnect

from kit.duplex import Duplex
from kit.eras import serve_duplex
from stoa.wire import WS_SUBPROTOCOL, CloseCode

__all__ = ["Sockets"]


class Sockets:
    """Serves connections of one server. State: those that are open."""

    def __init__(self, server: LowLevelServer[Any]) -> None:
        self._server = server
        self._open: set[Duplex] = set()
        self._stopping = False
        self._idle = anyio.Event()

    def __repr__(self) -> str:
        return f"<Sockets of {self._server.name!r}: {len(self._open)} open>"

    def stop(self) -> None:
        """Take nothing more; connections end when their open requests are answered."""
        self._stopping = True
        for duplex in self._open:
            duplex.stop()

    async def drained(self) -> None:
        """Returns when no connection is open."""
        while self._open:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def serve(self, websocket: WebSocket, *, lifespan_state: Any) -> None:
        """Serve one connection to its end. The handshake has been let in but not answered yet."""
        if WS_SUBPROTOCOL not in websocket.scope.get("subprotocols", ()):
            await websocket.close(CloseCode.NO_SUBPROTOCOL)
            return
        await websocket.accept(subprotocol=WS_SUBPROTOCOL)
        frames = _Frames(websocket)
        duplex = Duplex(frames, metadata=ServerMessageMetadata(request_context=websocket))
        self._open.add(duplex)
        try:
            await serve_duplex(self._server, duplex, lifespan_state=lifespan_state)
        finally:
            self._open.discard(duplex)
            if not self._open:
                self._idle.set()
        code = CloseCode.GOING_AWAY if self._stopping else frames.close_code
        with suppress(RuntimeError, WebSocketDisconnect):  # the other side was faster
            await websocket.close(code)


class _Frames:
    """Text frames of one WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self.close_code = CloseCode.NORMAL

    async def receive(self) -> str:
        event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            raise anyio.EndOfStream
        text = event.get("text")
        if text is None:
            self.close_code = CloseCode.NOT_TEXT
            raise anyio.EndOfStream
        return text

    async def send(self, message: bytes) -> None:
        try:
            await self._websocket.send({"type": "websocket.send", "text": message.decode()})
        except (RuntimeError, WebSocketDisconnect) as error:
            raise anyio.BrokenResourceError from error
