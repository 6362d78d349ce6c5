"""A line to a real PostgreSQL that breaks when told to: bytes go through it untouched until then.

Given a server's address it has one of its own, in a folder with a socket. `lose` names what gets lost next, and with it
the connection: the order to COMMIT before it reaches the server, or the server's answer to it.
"""

# Streams of asyncio: anyio's raw sockets may not be closed by one task while another one waits for them.
import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, final
from urllib.parse import parse_qs, urlsplit

__all__ = ["Line", "open_line"]

_SOCKET = ".s.PGSQL.5432"
_CHUNK = 2**16


@final
class Line:
    def __init__(self, url: str, server: Path) -> None:
        self.url = url
        self.lose: Literal["order", "answer"] | None = None
        self.is_down = False
        self._server = server
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """All connections, now."""
        for writer in self._open:
            writer.transport.abort()

    async def carry(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self.is_down:
            to_client.transport.abort()
            return
        from_server, to_server = await asyncio.open_unix_connection(self._server)
        ends = {to_client, to_server}
        self._open |= ends
        try:
            answers = asyncio.create_task(self._carry_answers(from_server, to_client))
            await self._carry_orders(from_client, to_client, to_server)
            await answers
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _carry_orders(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter
    ) -> None:
        try:
            while order := await from_client.read(_CHUNK):
                if self.lose is None or b"COMMIT" not in order:
                    to_server.write(order)
                    continue
                to_client.transport.abort()
                if self.lose == "answer":
                    to_server.write(order)
                self.lose = None
                break
        except ConnectionError:
            pass
        to_server.close()

    async def _carry_answers(self, from_server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            while answer := await from_server.read(_CHUNK):
                if not to_client.is_closing():
                    to_client.write(answer)
        except ConnectionError:
            pass
        to_client.close()


@asynccontextmanager
async def open_line(url: str) -> AsyncGenerator[Line]:
    parts = urlsplit(url)
    folder = Path(tempfile.mkdtemp(prefix="stoa-line-"))
    server = Path(parse_qs(parts.query)["host"][0]) / _SOCKET
    line = Line(parts._replace(query=f"host={folder}").geturl(), server)
    listening = await asyncio.start_unix_server(line.carry, folder / _SOCKET)
    try:
        yield line
    finally:
        listening.close()
        line.cut()
        shutil.rmtree(folder)
