"""The first request decides the era of a connection; and what is written to a pipe stays whole."""

import json
import os
from collections import deque
from typing import Any

import anyio

from kit.duplex import Duplex
from kit.eras import serve_duplex
from tests.kit.example import Example
from tests.kit.wires import pipes

META: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE: dict[str, object] = {
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
SAY: dict[str, object] = {"method": "tools/call", "params": {"name": "say", "arguments": {"text": "hi"}}}
MODERN_SAY: dict[str, object] = {
    "method": "tools/call",
    "params": {"name": "say", "arguments": {"text": "hi"}, "_meta": META},
}
NOTE: dict[str, object] = {"method": "notifications/initialized"}


class Script:
    """A wire on which a client says what is in a list, waiting for each answer."""

    def __init__(self, *said: dict[str, object]) -> None:
        self._said = deque(
            {"jsonrpc": "2.0", **message}
            if "notifications" in str(message["method"])
            else {"jsonrpc": "2.0", "id": number, **message}
            for number, message in enumerate(said)
        )
        self.answers: list[dict[str, Any]] = []
        self._answered = anyio.Event()
        self._answered.set()

    async def receive(self) -> str:
        await self._answered.wait()
        if not self._said:
            raise anyio.EndOfStream
        message = self._said.popleft()
        if "id" in message:
            self._answered = anyio.Event()
        return json.dumps(message)

    async def send(self, message: bytes) -> None:
        self.answers.append(json.loads(message))
        self._answered.set()


async def talk(example: Example, *said: dict[str, object]) -> list[dict[str, Any]]:
    script = Script(*said)
    lowlevel = example.server.lowlevel
    with anyio.fail_after(5):
        async with lowlevel.lifespan(lowlevel) as state:
            await serve_duplex(lowlevel, Duplex(script), lifespan_state=state)
    return script.answers


async def test_a_connection_that_began_with_initialize_stays_in_its_era(example: Example) -> None:
    hello, said, refused = await talk(example, INITIALIZE, NOTE, SAY, MODERN_SAY)
    assert hello["result"]["protocolVersion"] == "2025-11-25"
    assert said["result"]["structuredContent"]["text"] == "hi"
    assert "resultType" not in said["result"]
    assert refused["error"]["code"] == -32600


async def test_a_connection_that_began_with_a_version_in_each_request_stays_in_its_era(example: Example) -> None:
    said, refused, bare = await talk(example, MODERN_SAY, INITIALIZE, SAY)
    assert said["result"]["resultType"] == "complete"
    assert refused["error"]["code"] == -32022
    assert refused["error"]["data"]["supported"] == ["2026-07-28"]
    assert bare["error"]["code"] == -32602


async def test_what_comes_before_the_first_request_decides_nothing(example: Example) -> None:
    said, *rest = await talk(example, *[NOTE] * 20, MODERN_SAY)
    assert said["result"]["structuredContent"]["text"] == "hi"
    assert rest == []


async def test_a_request_before_initialize_is_refused(example: Example) -> None:
    (refused,) = await talk(example, SAY)
    assert refused["error"]["code"] == -32602


async def test_a_client_that_says_nothing_is_let_go(example: Example) -> None:
    assert await talk(example) == []


async def test_clients_that_describe_themselves_anew_are_believed_anew(example: Example) -> None:
    """What a client can do is remembered from one request to the next, but only as long as it says the same."""
    able: dict[str, object] = {**META, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}
    asks: list[dict[str, object]] = [
        {"method": "tools/call", "params": {"name": "can_ask", "arguments": {}, "_meta": meta}}
        for meta in (META, able, able, META)
    ]
    answers = await talk(example, *asks)
    assert [answer["result"]["content"][0]["text"] for answer in answers] == ["no", "yes", "yes", "no"]


async def test_a_call_that_is_cancelled_while_it_writes_leaves_no_half_of_a_message(example: Example) -> None:
    def line(id: int | None, method: str, params: dict[str, object], meta: dict[str, object] = META) -> bytes:
        head: dict[str, object] = {"jsonrpc": "2.0"} if id is None else {"jsonrpc": "2.0", "id": id}
        return json.dumps({**head, "method": method, "params": {**params, "_meta": meta}}).encode() + b"\n"

    async with pipes(example.server) as (reader, writer):
        boast: dict[str, object] = {"name": "boast", "arguments": {"characters": 2**20}}
        os.write(writer, line(1, "tools/call", boast, {**META, "progressToken": "p"}))
        with anyio.fail_after(10):
            await anyio.wait_readable(reader)  # the progress is being written, and the pipe is too small for it
            os.write(writer, line(None, "notifications/cancelled", {"requestId": 1}))
            os.write(writer, line(2, "tools/call", {"name": "say", "arguments": {"text": "next"}}))
            buffer = b""
            while buffer.count(b"\n") < 2:
                await anyio.wait_readable(reader)
                buffer += os.read(reader, 2**16)
    progress, answer = [json.loads(each) for each in buffer.splitlines()]
    assert len(progress["params"]["message"]) == 2**20
    assert answer["id"] == 2
