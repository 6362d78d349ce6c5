"""Head and body of an answer leave together; a head whose body takes its time does not wait for it."""

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kit.one_write import HeadWithBody, OneWriteProtocol
from stoa.settings import Settings
from tests.kit.example import Example
from tests.kit.wires import listening


class Transport(asyncio.Transport):
    """Remembers what was written, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.written.append(b"closed")

    def is_closing(self) -> bool:
        return b"closed" in self.written


async def test_a_head_and_its_body_are_written_at_once_and_what_follows_as_it_comes() -> None:
    transport = Transport()
    answer = HeadWithBody(transport, asyncio.get_running_loop())
    answer.write(b"head ")
    answer.write(b"body ")
    answer.write(b"more")
    await anyio.lowlevel.checkpoint()
    assert transport.written == [b"head body ", b"more"]


async def test_a_head_without_a_body_goes_out_in_the_next_turn_of_the_loop() -> None:
    transport = Transport()
    answer = HeadWithBody(transport, asyncio.get_running_loop())
    answer.write(b"head ")
    assert transport.written == []
    await anyio.lowlevel.checkpoint()
    answer.write(b"body")
    assert transport.written == [b"head ", b"body"]


async def test_closing_writes_the_head_that_waits() -> None:
    transport = Transport()
    answer = HeadWithBody(transport, asyncio.get_running_loop())
    answer.write(b"head ")
    answer.close()
    await anyio.lowlevel.checkpoint()
    assert transport.written == [b"head ", b"closed"]
    assert answer.is_closing()


async def test_every_answer_of_a_served_application_is_written_so(
    example: Example, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of requests that were sent without waiting, on one connection."""
    writes: list[bytes] = []
    made = OneWriteProtocol.connection_made

    def connection_made(self: OneWriteProtocol, transport: Any) -> None:
        made(self, transport)
        self.transport = Watched(transport, writes)  # pyright: ignore[reportAttributeAccessIssue]  # as much of one as is used

    monkeypatch.setattr(OneWriteProtocol, "connection_made", connection_made)
    asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with listening(example.server, settings) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        with anyio.fail_after(5):
            async with await anyio.connect_tcp("127.0.0.1", port) as client:
                await client.send(asked * 3)
                received = b""
                while received.count(b'"status":"ok"') < 3:
                    received += await client.receive()
    assert len(writes) == 3
    assert all(write.startswith(b"HTTP/1.1 200 OK\r\n") and write.endswith(b"}") for write in writes)


class Watched:
    """A transport that tells what is written."""

    def __init__(self, transport: asyncio.Transport, writes: list[bytes]) -> None:
        self._transport = transport
        self._writes = writes

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
