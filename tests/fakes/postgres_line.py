"""A line to a real PostgreSQL that breaks when told to: bytes go through it untouched until then.

Given a server's address it has one of its own, in a folder with a socket. `lose` names what gets lost next, and with it
the connection: the order to COMMIT before it reaches the server, or the server's answer to it.
"""

import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, final
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import ByteStream

__all__ = ["Line", "open_line"]

_SOCKET = ".s.PGSQL.5432"
_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


@final
class Line:
    def __init__(self, url: str, server: str) -> None:
        self.url = url
        self.lose: Literal["order", "answer"] | None = None
        self.is_down = False
        self.opened = 0
        self._server = server
        self._open: set[ByteStream] = set()

    async def cut(self) -> None:
        """All connections, now."""
        for stream in list(self._open):
            await stream.aclose()

    async def carry(self, client: ByteStream) -> None:
        if self.is_down:
            await client.aclose()
            return
        self.opened += 1
        async with client, await anyio.connect_unix(self._server) as server:
            self._open |= {client, server}
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._orders, client, server)
                with suppress(*_GONE):
                    while True:
                        await client.send(await server.receive())
                tasks.cancel_scope.cancel()
            self._open -= {client, server}

    async def _orders(self, client: ByteStream, server: ByteStream) -> None:
        with suppress(*_GONE):
            while True:
                order = await client.receive()
                if self.lose is not None and b"COMMIT" in order:
                    if self.lose == "answer":
                        await client.aclose()  # before the order goes out: its answer finds nobody
                        await server.send(order)
                    self.lose = None
                    break
                await server.send(order)
        await client.aclose()
        await server.aclose()


@asynccontextmanager
async def open_line(url: str) -> AsyncGenerator[Line]:
    parts = urlsplit(url)
    folder = Path(tempfile.mkdtemp(prefix="stoa-line-"))
    line = Line(parts._replace(query=f"host={folder}").geturl(), str(Path(parse_qs(parts.query)["host"][0]) / _SOCKET))
    try:
        async with await anyio.create_unix_listener(folder / _SOCKET) as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, line.carry)
            yield line
            tasks.cancel_scope.cancel()
    finally:
        shutil.rmtree(folder)
