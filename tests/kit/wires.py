"""Ways to an example server in this process: in memory, over pipes, over HTTP and over WebSocket."""

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

import anyio
import httpx2
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from kit.listen import serve
from kit.served import Served
from kit.stdio import serve_pipes
from stoa.settings import Settings
from stoa.wire import MAX_MESSAGE_BYTES, WS_SUBPROTOCOL

__all__ = ["ERAS", "WIRES", "Connect", "lines", "listening", "opened", "pipes", "websocket"]

ERAS: Final = ("2025-11-25", "2026-07-28")
WIRES: Final = ("memory", "stdio", "http", "ws")

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
Connect = Callable[..., AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def opened(
    server: Served, wire: str, era: str, *, settings: Settings, headers: Mapping[str, str] | None = None, **options: Any
) -> AsyncGenerator[Client]:
    """A client of the server. `options` are the client's."""
    options["mode"] = "legacy" if era == "2025-11-25" else era
    if wire == "memory":
        async with Client(server.lowlevel, **options) as client:
            yield client
    elif wire == "stdio":
        async with pipes(server) as (reader, writer), Client(lines(reader, writer), **options) as client:
            yield client
    else:
        async with listening(server, settings) as url, _over_network(url, wire, headers or {}, options) as client:
            yield client


@asynccontextmanager
async def _over_network(
    url: str, wire: str, headers: Mapping[str, str], options: dict[str, Any]
) -> AsyncGenerator[Client]:
    if wire == "ws":
        async with Client(websocket(url, headers), **options) as client:
            yield client
        return
    async with (
        httpx2.AsyncClient(headers=dict(headers), timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), **options) as client,
    ):
        yield client


@asynccontextmanager
async def listening(
    server: Served, settings: Settings, *, host: str = "127.0.0.1", **options: Any
) -> AsyncGenerator[str]:
    """The address of the server's endpoint while it is served. `options` are `serve`'s."""
    said: list[str] = []
    ready = anyio.Event()

    def say(line: str) -> None:
        said.append(line)
        ready.set()

    async with anyio.create_task_group() as group:

        async def run() -> None:
            await serve({server.name: server}, settings=settings, host=host, port=0, at_root=True, say=say, **options)

        group.start_soon(run)
        with anyio.fail_after(10):
            await ready.wait()
        yield said[0].rpartition(" ")[2]
        group.cancel_scope.cancel()


@asynccontextmanager
async def pipes(server: Served) -> AsyncGenerator[tuple[int, int]]:
    """The client's ends of two pipes on which the server is served: one to read from, one to write to."""
    server_in, client_out = os.pipe()
    client_in, server_out = os.pipe()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(serve_pipes, server, server_in, server_out)
            yield client_in, client_out
            group.cancel_scope.cancel()
    finally:
        for descriptor in (server_in, client_out, client_in, server_out):
            os.close(descriptor)


@asynccontextmanager
async def lines(reader: int, writer: int) -> AsyncGenerator[Streams]:
    """A client's transport over two descriptors."""
    buffer = bytearray()

    async def receive() -> bytes | None:
        while b"\n" not in buffer:
            await anyio.wait_readable(reader)
            chunk = os.read(reader, 2**18)
            if not chunk:
                return None
            buffer.extend(chunk)
        line, _, rest = bytes(buffer).partition(b"\n")
        buffer[:] = rest
        return line

    async def send(message: str) -> None:
        await anyio.to_thread.run_sync(_write_all, writer, message.encode() + b"\n", abandon_on_cancel=True)

    async with _streams(receive, send) as streams:
        yield streams


@asynccontextmanager
async def websocket(url: str, headers: Mapping[str, str] | None = None) -> AsyncGenerator[Streams]:
    """A client's transport over WebSocket, by the library of that name."""
    address = url.replace("http://", "ws://") + "/ws"
    async with connect(
        address,
        subprotocols=[Subprotocol(WS_SUBPROTOCOL)],
        additional_headers=headers,
        max_size=MAX_MESSAGE_BYTES,
    ) as socket:

        async def receive() -> str | bytes | None:
            try:
                return await socket.recv()
            except ConnectionClosed:
                return None

        async with _streams(receive, socket.send) as streams:
            yield streams


@asynccontextmanager
async def _streams(receive: Callable[[], Any], send: Callable[[str], Any]) -> AsyncGenerator[Streams]:
    into, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, out = anyio.create_memory_object_stream[SessionMessage](0)

    async def reading() -> None:
        async with into:
            with suppress(anyio.BrokenResourceError):  # the client has left, and there is more to tell it
                while (raw := await receive()) is not None:
                    await into.send(SessionMessage(types.jsonrpc_message_adapter.validate_json(raw, by_name=False)))

    async def writing() -> None:
        async with out:
            async for item in out:
                await send(item.message.model_dump_json(by_alias=True, exclude_unset=True))

    async with anyio.create_task_group() as group:
        group.start_soon(reading)
        group.start_soon(writing)
        yield read, write
        group.cancel_scope.cancel()
    read.close()
    write.close()


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
