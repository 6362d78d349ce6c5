"""For tests below the pool: a connection of its own, and an HTTP server that says exactly the bytes that it is told."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener
from pydantic_core import from_json, to_json

from pool.spec import MemberSpec
from pool.wire.child import LastWords
from pool.wire.connect import Surroundings, open_connection
from pool.wire.connection import Connection
from pool.wire.http_pool import HttpPool

__all__ = ["Exchange", "Script", "answering", "connected", "discovered", "json_answer", "scripted"]


@asynccontextmanager
async def connected(
    spec: MemberSpec,
    *,
    http: HttpPool | None = None,
    on_notice: Callable[[str, Mapping[str, Any]], None] | None = None,
    words: LastWords | None = None,
    within_seconds: float = 30,
) -> AsyncGenerator[Connection]:
    pool = http or HttpPool(max_connections=20)
    try:
        with anyio.fail_after(within_seconds):
            async with open_connection(
                spec,
                server="one",
                surroundings=Surroundings(http=pool, environ=os.environ),
                grace_seconds=0.3,
                on_notice=on_notice,
                words=words,
            ) as connection:
                yield connection
    finally:
        await pool.aclose()


class Exchange:
    """One request as it came, and the socket to answer on."""

    def __init__(self, stream: Any, head: str, body: bytes, number: int) -> None:
        self.stream = stream
        self.head = head
        self.message: dict[str, Any] = from_json(body) if body else {}
        self.number = number
        """Which connection it came on, from 1."""

    @property
    def id(self) -> object:
        return self.message.get("id")

    async def say(self, data: bytes) -> None:
        await self.stream.send(data)

    async def close(self) -> None:
        await self.stream.aclose()


Script = Callable[[Exchange], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script, *, tls: Any = None, discovers: bool = True) -> AsyncGenerator[str]:
    """`127.0.0.1:PORT` where each request is answered by the script; when it `discovers`, `server/discover` is not."""
    count = 0

    async def serve(stream: Any) -> None:
        nonlocal count
        count += 1
        number, buffer = count, b""
        try:
            async with stream:
                while True:
                    while b"\r\n\r\n" not in buffer:
                        buffer += await stream.receive()
                    head, _, buffer = buffer.partition(b"\r\n\r\n")
                    size = next(
                        (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")),
                        0,
                    )
                    while len(buffer) < size:
                        buffer += await stream.receive()
                    body, buffer = buffer[:size], buffer[size:]
                    exchange = Exchange(stream, head.decode(), body, number)
                    is_discovery = discovers and exchange.message.get("method") == "server/discover"
                    await (discovered if is_discovery else script)(exchange)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError):
            pass

    listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(SocketAttribute.local_port)
    if tls is not None:
        listener = TLSListener(listener, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


def json_answer(result: Mapping[str, Any], id: object, *, more: str = "") -> bytes:
    body = to_json({"jsonrpc": "2.0", "id": id, "result": result})
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{more}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answering(text: str) -> Mapping[str, Any]:
    return {"content": [{"type": "text", "text": text}], "resultType": "complete"}


async def discovered(exchange: Exchange) -> None:
    result: dict[str, Any] = {
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}},
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
    }
    await exchange.say(json_answer(result, exchange.id))
