"""Who calls: lean clients over HTTP and WebSocket, and the SDK's client over HTTP and stdio.

The lean ones send the same bytes every time, but for the id, and look at the answer's text. They leave the machine to
the server and never bound what is read of it. All callers raise when an answer is not what was sent.
"""

import json
import os
import sys
from asyncio import Future, StreamReader, StreamWriter, get_running_loop, open_connection
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import anyio
import httpx2
import psutil
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

__all__ = ["HANDSHAKE", "MODERN", "Caller", "Opened", "lean_http", "lean_websocket", "sdk_http", "sdk_stdio"]

HANDSHAKE = "2025-11-25"
MODERN = "2026-07-28"
FIRST_ID = 100_000_000
WORDS = "All this happened, more or less."
ME = {"name": "bench", "version": "1"}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Caller(Protocol):
    """Calls the echo tool once."""

    async def __call__(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A caller, and the process that serves it where the client has started one itself."""

    call: Caller
    pid: int | None = None


Opener = Callable[[], AbstractAsyncContextManager[Opened]]


def lean_http(port: int, era: str, *, tool: str = "echo") -> Opener:
    """Keep-alive connections, one for each call in flight; the floor takes the same bytes as a server does.

    `tool` is what the echo is called there: gateways put the server's name before it.
    """

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Opened]:
        client = _Lean(port)
        try:
            headers = {"mcp-protocol-version": era, "mcp-method": "tools/call", "mcp-name": tool}
            if era == HANDSHAKE:
                headers = {"mcp-protocol-version": era, "mcp-session-id": await _shake_hands(client)}
            before, after = client.request(_body(era, FIRST_ID, tool), headers).split(str(FIRST_ID).encode())
            ids = count(FIRST_ID)  # of one length, so that the rest of the request stays the same

            async def call() -> None:
                id = next(ids)
                status, _, body = await client.exchange(b"%b%d%b" % (before, id, after))
                if status != 200 or _said(body, id) != WORDS:
                    raise RuntimeError(f"HTTP {status}: {body[:300]!r}")

            yield Opened(call)
        finally:
            client.close()

    return opened


def sdk_http(port: int, era: str) -> Opener:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[Opened]:
        # By default httpx2 keeps 20 connections only and reopens the rest for each call.
        limits = httpx2.Limits(max_connections=200, max_keepalive_connections=200)
        async with httpx2.AsyncClient(limits=limits, timeout=60) as http:
            transport = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)
            async with Client(transport, mode=_mode(era)) as client:
                yield Opened(await _caller(client, era))

    return opened


def lean_websocket(port: int, era: str) -> Opener:
    """One WebSocket for all calls, with prepared text as over HTTP."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Opened]:
        address = f"ws://127.0.0.1:{port}/mcp/ws"
        waiting: dict[object, Future[dict[str, Any]]] = {}
        ids = count(FIRST_ID)
        async with connect(address, subprotocols=[Subprotocol("mcp")], compression=None) as socket:

            async def ask(text: str, id: int) -> dict[str, Any]:
                answer = waiting[id] = get_running_loop().create_future()
                await socket.send(text)
                return await answer

            async def read() -> None:
                async for text in socket:
                    answer = json.loads(text)
                    waiting.pop(answer["id"]).set_result(answer)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                if era == HANDSHAKE:
                    await ask(json.dumps(_hello()), 0)
                    await socket.send(json.dumps(INITIALIZED))
                before, after = json.dumps(_body(era, FIRST_ID, "echo")).split(str(FIRST_ID))

                async def call() -> None:
                    id = next(ids)
                    answer = await ask(f"{before}{id}{after}", id)
                    if "result" not in answer or answer["result"]["content"][0]["text"] != WORDS:
                        raise RuntimeError(repr(answer)[:300])

                yield Opened(call)
                tasks.cancel_scope.cancel()

    return opened


def sdk_stdio(home: Path, era: str) -> Opener:
    """Starts the server itself; `home` is its STOA_HOME."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Opened]:
        before = {child.pid for child in psutil.Process().children()}
        child = StdioServerParameters(
            command=sys.executable, args=["-m", "benchmarks.echo", "kit"], env={**os.environ, "STOA_HOME": str(home)}
        )
        async with Client(child, mode=_mode(era)) as client:
            (pid,) = {child.pid for child in psutil.Process().children()} - before
            yield Opened(await _caller(client, era), pid)

    return opened


async def _caller(client: Client, era: str) -> Caller:
    if client.protocol_version != era:
        raise RuntimeError(f"{client.protocol_version} was negotiated instead of {era}")
    await client.list_tools()

    async def call() -> None:
        result = await client.call_tool("echo", {"text": WORDS})
        (block,) = result.content
        if not isinstance(block, TextContent) or block.text != WORDS:
            raise RuntimeError(repr(result))

    return call


def _mode(era: str) -> str:
    return "legacy" if era == HANDSHAKE else era


def _body(era: str, id: int, tool: str) -> dict[str, Any]:
    params: dict[str, Any] = {"name": tool, "arguments": {"text": WORDS}}
    if era == MODERN:
        named = {"protocolVersion": MODERN, "clientInfo": ME, "clientCapabilities": {}}
        params["_meta"] = {f"io.modelcontextprotocol/{key}": value for key, value in named.items()}
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


async def _shake_hands(client: "_Lean") -> str:
    """Open a session; its id."""
    status, head, body = await client.exchange(client.request(_hello(), {}))
    session = next((line[15:].strip() for line in head.split("\r\n") if line.startswith("mcp-session-id:")), "")
    if status != 200 or not session:
        raise RuntimeError(f"HTTP {status}: {body[:300]!r}")
    headers = {"mcp-protocol-version": HANDSHAKE, "mcp-session-id": session}
    await client.exchange(client.request(INITIALIZED, headers))
    return session


def _hello() -> dict[str, Any]:
    params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": ME}
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}


def _said(body: bytes, id: int) -> object:
    """The text in the answer to this request, be it JSON or a message of an event stream."""
    if not body.startswith(b"{"):
        body = max((line[5:] for line in body.splitlines() if line.startswith(b"data:")), key=len, default=b"{}")
    answer = json.loads(body)
    return answer["result"]["content"][0]["text"] if answer.get("id") == id and "result" in answer else None


class _Lean:
    """HTTP/1.1 with keep-alive: as many connections as there were requests at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[StreamReader, StreamWriter]] = []

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()

    def request(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
        data = json.dumps(body, separators=(",", ":")).encode()
        lines = {
            "host": f"127.0.0.1:{self._port}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "content-length": str(len(data)),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + data

    async def exchange(self, request: bytes) -> tuple[int, str, bytes]:
        """Status, head (lower case names and values) and body."""
        reader, writer = await self._connection()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = head.find("\r\ncontent-length:")
        if length >= 0:
            body = await reader.readexactly(int(head[length + 17 : head.index("\r\n", length + 2)]))
        elif "\r\ntransfer-encoding: chunked" in head:
            body = await _chunks(reader)
        else:
            body = b""
        self._free.append((reader, writer))
        return int(head[9:12]), head, body

    async def _connection(self) -> tuple[StreamReader, StreamWriter]:
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():  # servers close what was idle for long
                return reader, writer
            writer.close()
        return await open_connection("127.0.0.1", self._port)


async def _chunks(reader: StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body
