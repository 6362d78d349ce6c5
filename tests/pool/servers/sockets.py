"""The plain server over WebSocket, on the SDK alone: one text frame is one message."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import mcp_types as types
from mcp.server import MCPServer
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.message import SessionMessage
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


def socket_app(server: MCPServer, seen_headers: list[dict[str, str]] | None = None) -> Starlette:
    lowlevel = server._lowlevel_server  # pyright: ignore[reportPrivateUsage] - the SDK offers no other way
    state: dict[str, object] = {}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with lowlevel.lifespan(lowlevel) as entered:
            state["lifespan"] = entered
            yield

    async def endpoint(socket: WebSocket) -> None:
        if seen_headers is not None:
            seen_headers.append(dict(socket.headers))
        await socket.accept(subprotocol="mcp")
        inbound_in, inbound_out = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outbound_in, outbound_out = anyio.create_memory_object_stream[SessionMessage](0)

        async def read() -> None:
            async with inbound_in:
                try:
                    while True:
                        text = await socket.receive_text()
                        message = types.jsonrpc_message_adapter.validate_json(text, by_name=False)
                        await inbound_in.send(SessionMessage(message))
                except (WebSocketDisconnect, KeyError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass

        async def write() -> None:
            async with outbound_out:
                try:
                    async for item in outbound_out:
                        await socket.send_text(item.message.model_dump_json(by_alias=True, exclude_unset=True))
                except (WebSocketDisconnect, RuntimeError):
                    pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(write)
            options = lowlevel.create_initialization_options()
            await serve_dual_era_loop(
                lowlevel, inbound_out, outbound_in, lifespan_state=state["lifespan"], init_options=options
            )
            tasks.cancel_scope.cancel()

    return Starlette(routes=[WebSocketRoute("/mcp/ws", endpoint)], lifespan=lifespan)
