"""Messages over the limit: refused with a clear answer on every wire, and the server goes on."""

import json
import os
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import MCPError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from kit.duplex import MAX_OPEN_REQUESTS, guess_id
from kit.stdio import serve_pipes
from stoa.settings import Settings
from stoa.wire import MAX_MESSAGE_BYTES, WS_SUBPROTOCOL, CloseCode
from tests.kit.example import Example
from tests.kit.wires import Connect, listening, pipes

META: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "say",
}
LEGACY_HEADERS = {"accept": "application/json, text/event-stream"}


def call(id: int, text: str | None, *, tool: str = "say") -> bytes:
    params = {"name": tool, "arguments": {} if text is None else {"text": text}, "_meta": META}
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).encode()


def message_of(size: int) -> bytes:
    return call(7, "x" * (size - len(call(7, ""))))


class Lines:
    """A client's ends of two pipes, without any SDK."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = b""

    async def write(self, data: bytes) -> None:
        def all_of_it() -> None:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._writer, rest) :]

        await anyio.to_thread.run_sync(all_of_it)

    async def read(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            await anyio.wait_readable(self._reader)
            self._buffer += os.read(self._reader, 2**20)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)


@asynccontextmanager
async def raw_pipes(example: Example) -> AsyncGenerator[Lines]:
    async with pipes(example.server) as (reader, writer):
        with anyio.fail_after(30):
            yield Lines(reader, writer)


async def test_a_line_over_the_limit_is_answered_by_its_id_and_the_next_one_is_served(example: Example) -> None:
    async with raw_pipes(example) as lines:
        await lines.write(message_of(MAX_MESSAGE_BYTES + 1) + b"\n" + call(8, "next") + b"\n")
        refused, served = await lines.read(), await lines.read()
    assert refused["id"] == 7
    assert refused["error"]["code"] == -32600
    assert str(MAX_MESSAGE_BYTES) in refused["error"]["message"]
    assert served["id"] == 8
    assert served["result"]["structuredContent"]["text"] == "next"


async def test_a_line_at_the_limit_is_served(example: Example) -> None:
    async with raw_pipes(example) as lines:
        await lines.write(message_of(MAX_MESSAGE_BYTES - 200) + b"\n")
        refused = await lines.read()
        # The tool gives the text back twice, in structure and as text: that is what no longer fits.
        assert "The answer has" in refused["error"]["message"]
        await lines.write(message_of(MAX_MESSAGE_BYTES // 4) + b"\n")
        assert (await lines.read())["id"] == 7


async def test_lines_that_are_no_messages_are_answered_and_blank_ones_are_not(example: Example) -> None:
    async with raw_pipes(example) as lines:
        await lines.write(b"\n  \nnot json\n[1]\n\xff\xfe\n" + call(3, "after") + b"\n")
        answers = [await lines.read() for _ in range(4)]
    assert [answer.get("error", {}).get("code") for answer in answers] == [-32700, -32600, -32700, None]
    assert answers[3]["id"] == 3


async def test_requests_beyond_the_limit_of_one_connection_are_refused_and_the_others_go_on(example: Example) -> None:
    async with raw_pipes(example) as lines:
        waiting = [call(id, None, tool="wait") for id in range(1, MAX_OPEN_REQUESTS + 1)]
        await lines.write(b"\n".join([*waiting, call(9000, "one too many")]) + b"\n")
        refused = await lines.read()
        assert refused["id"] == 9000
        assert str(MAX_OPEN_REQUESTS) in refused["error"]["message"]
        example.release.set()
        served = {(await lines.read())["id"] for _ in waiting}
        assert served == set(range(1, MAX_OPEN_REQUESTS + 1))
        await lines.write(call(9001, "now") + b"\n")
        assert (await lines.read())["result"]["structuredContent"]["text"] == "now"


async def test_a_body_over_the_limit_is_413_in_both_eras(example: Example, settings: Settings) -> None:
    body = message_of(MAX_MESSAGE_BYTES + 1)

    async def in_chunks() -> AsyncGenerator[bytes]:
        yield body[: MAX_MESSAGE_BYTES // 2]
        yield body[MAX_MESSAGE_BYTES // 2 :]

    async with listening(example.server, settings) as url, httpx2.AsyncClient(timeout=30) as http:
        for headers in (HEADERS, LEGACY_HEADERS):
            for content in (body, in_chunks()):
                answer = await http.post(url, content=content, headers={**headers, "content-type": "application/json"})
                assert answer.status_code == 413
        fitting = await http.post(url, content=call(1, "fits"), headers={**HEADERS, "content-type": "application/json"})
    assert fitting.json()["result"]["structuredContent"]["text"] == "fits"


async def test_a_frame_over_the_limit_closes_the_connection_and_no_other(example: Example, settings: Settings) -> None:
    # Only the head of the frame is sent: a client that is still writing may lose the close frame to a reset.
    head = b"\x81\xff" + struct.pack(">Q", MAX_MESSAGE_BYTES + 1) + b"mask"
    async with listening(example.server, settings) as url:
        address = url.replace("http:", "ws:") + "/ws"
        async with (
            connect(address, subprotocols=[Subprotocol(WS_SUBPROTOCOL)]) as big,
            connect(address, subprotocols=[Subprotocol(WS_SUBPROTOCOL)]) as other,
        ):
            with anyio.fail_after(10):
                big.transport.write(head)
                with pytest.raises(ConnectionClosed) as closed:
                    await big.recv()
                await other.send(call(1, "fine").decode())
                assert json.loads(await other.recv())["id"] == 1
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == CloseCode.TOO_BIG


async def test_an_answer_over_the_limit_is_an_error_that_says_so(connected: Connect, way: str) -> None:
    if way.startswith("memory"):
        pytest.skip("in memory nothing is written")
    async with connected() as client:
        with pytest.raises(MCPError, match="Ask for less at a time"):
            await client.call_tool("grow", {"megabytes": 17})
        assert not (await client.call_tool("grow", {"megabytes": 5})).is_error


@pytest.mark.parametrize(
    ("head", "tail", "id"),
    [
        (b'{"jsonrpc":"2.0","id":12,"method":"x","params":{"a":"', b'"}}', 12),
        (b'{"method":"x","id":"a-b","params":{"id":9,', b"}}", "a-b"),
        (b'{"method":"tools/call","params":{"id":9,"a":"', b'"},"jsonrpc":"2.0","id":13}', 13),
        (b'{"params":{"a":"', b'"}, "id": 14, "jsonrpc": "2.0"}', 14),
        (b'{"method":"x","params":{"id":9,"a":"', b'"}}', None),
        (b'{"method":"\\"id\\":5","params":{', b"}}", None),
        (b"nothing", b"at all", None),
    ],
)
def test_the_id_of_a_message_is_found_at_its_ends_or_not_at_all(head: bytes, tail: bytes, id: int | str | None) -> None:
    assert guess_id(head, tail) == id


def test_looking_for_an_id_takes_no_time_that_grows_with_what_was_sent() -> None:
    assert guess_id(b'{"' * 2048, b'"id":' * 819) is None
    assert guess_id(b"{" + b'"a":"\\\\",' * 450, b"}" * 4096) is None


async def test_a_file_can_be_served_as_stdin(example: Example, tmp_path: Path) -> None:
    path, out = tmp_path / "in", tmp_path / "out"
    path.write_bytes(call(1, "from a file") + b"\n")
    reader, writer = os.open(path, os.O_RDONLY), os.open(out, os.O_WRONLY | os.O_CREAT)
    try:
        with anyio.fail_after(10):
            await serve_pipes(example.server, reader, writer)
    finally:
        os.close(reader)
        os.close(writer)
    assert json.loads(out.read_bytes())["result"]["structuredContent"]["text"] == "from a file"
