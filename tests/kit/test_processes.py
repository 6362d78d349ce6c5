"""Servers as processes of their own: how they end, and what they write where."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx2
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from stoa.wire import WS_SUBPROTOCOL, CloseCode

ROOT = Path(__file__).parents[2]
META: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def call(id: int, name: str, arguments: dict[str, object]) -> dict[str, object]:
    params = {"name": name, "arguments": arguments, "_meta": META}
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


class Child:
    """A server process and what it says."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.process, self.stdin = process, process.stdin
        self._stdout = BufferedByteReceiveStream(process.stdout)
        self._stderr = BufferedByteReceiveStream(process.stderr)

    async def ask(self, message: dict[str, object]) -> None:
        await self.stdin.send(json.dumps(message).encode() + b"\n")

    async def answer(self) -> dict[str, Any]:
        return json.loads(await self._stdout.receive_until(b"\n", 2**20))

    async def log_line(self) -> str:
        return (await self._stderr.receive_until(b"\n", 2**20)).decode()

    async def rest_of(self, stream: str) -> str:
        source, parts = (self._stdout if stream == "stdout" else self._stderr), list[bytes]()
        try:
            while True:
                parts.append(await source.receive())
        except anyio.EndOfStream:
            return b"".join(parts).decode()


@asynccontextmanager
async def started(transport: str) -> AsyncGenerator[Child]:
    command = [sys.executable, "-m", "tests.kit.example", transport]
    with anyio.fail_after(60):
        process = await anyio.open_process(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            yield Child(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.aclose()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stdio_server_that_is_told_to_stop_answers_what_it_has_begun(number: signal.Signals) -> None:
    async with started("stdio") as child:
        await child.ask(call(1, "nap", {"seconds": 0.5}))
        assert await child.log_line() == "napping"
        child.process.send_signal(number)
        answer = await child.answer()
        assert answer["result"]["content"][0]["text"] == "rested"
        assert await child.process.wait() == 0
        assert await child.rest_of("stderr") == ""


async def test_a_stdio_server_that_is_told_twice_stops_at_once() -> None:
    async with started("stdio") as child:
        await child.ask(call(1, "nap", {"seconds": 60}))
        assert await child.log_line() == "napping"
        child.process.send_signal(signal.SIGTERM)
        await child.ask(call(2, "say", {"text": "too late"}))
        with anyio.fail_after(4):
            while child.process.returncode is None:
                child.process.send_signal(signal.SIGTERM)
                with anyio.move_on_after(0.2):
                    await child.process.wait()
        assert child.process.returncode == 0
        assert "Traceback" not in await child.rest_of("stderr")


async def test_a_stdio_server_ends_with_its_client_and_answers_a_script_before() -> None:
    async with started("stdio") as child:
        await child.ask(call(1, "say", {"text": "from a script"}))
        await child.stdin.aclose()
        answer = await child.answer()
        assert answer["result"]["structuredContent"]["text"] == "from a script"
        assert await child.process.wait() == 0
        assert await child.rest_of("stdout") == ""
        assert await child.rest_of("stderr") == ""


async def test_what_a_tool_prints_goes_to_stderr() -> None:
    async with started("stdio") as child:
        await child.ask(call(1, "shout", {}))
        assert (await child.answer())["result"]["content"][0]["text"] == "shouted"
        await child.stdin.aclose()
        assert await child.process.wait() == 0
        assert await child.rest_of("stdout") == ""
        assert sorted((await child.rest_of("stderr")).splitlines()) == ["nor this", "not JSON at all"]


async def test_a_fault_is_logged_in_full_and_one_line_begins_it() -> None:
    async with started("stdio") as child:
        await child.ask(call(1, "fail", {"how": "unforeseen"}))
        assert (await child.answer())["result"]["structuredContent"]["code"] == "fault"
        await child.stdin.aclose()
        await child.process.wait()
        log = await child.rest_of("stderr")
        assert log.splitlines()[0].endswith("E kit.failures: tool 'fail' failed")
        assert log.splitlines()[-1] == "RuntimeError: the password is 12345"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_http_server_that_is_told_to_stop_answers_what_it_has_begun(number: signal.Signals) -> None:
    async with started("http") as child:
        url = (await child.log_line()).rpartition(" ")[2]
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "nap",
        }
        answers: list[httpx2.Response] = []
        async with httpx2.AsyncClient(timeout=30) as http, anyio.create_task_group() as group:

            async def nap() -> None:
                answers.append(await http.post(url, json=call(1, "nap", {"seconds": 0.5}), headers=headers))

            group.start_soon(nap)
            assert await child.log_line() == "napping"
            child.process.send_signal(number)
        assert answers[0].json()["result"]["content"][0]["text"] == "rested"
        assert await child.process.wait() == 0
        assert await child.rest_of("stderr") == ""


async def test_a_websocket_is_closed_as_going_away_once_its_calls_are_answered() -> None:
    async with started("http") as child:
        address = (await child.log_line()).rpartition(" ")[2].strip().replace("http:", "ws:") + "/ws"
        async with connect(address, subprotocols=[Subprotocol(WS_SUBPROTOCOL)]) as socket:
            await socket.send(json.dumps(call(1, "nap", {"seconds": 0.5})))
            assert await child.log_line() == "napping"
            child.process.send_signal(signal.SIGTERM)
            assert json.loads(await socket.recv())["result"]["content"][0]["text"] == "rested"
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == CloseCode.GOING_AWAY
        assert await child.process.wait() == 0
        assert await child.rest_of("stderr") == ""


async def test_an_http_server_ends_although_streams_and_silent_sockets_are_open() -> None:
    async with started("http") as child:
        url = (await child.log_line()).rpartition(" ")[2]
        params = {"notifications": {"resourcesListChanged": True}, "_meta": META}
        listen = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "subscriptions/listen",
        }
        initialize = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        }
        accept = {"accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient(timeout=30) as http:
            opened = await http.post(url, json=initialize, headers=accept)
            session = {"accept": "text/event-stream", "mcp-session-id": opened.headers["mcp-session-id"]}
            async with (
                http.stream("POST", url, json=listen, headers=headers) as stream,
                http.stream("GET", url, headers=session) as standing,
            ):
                assert standing.status_code == 200
                lines = stream.aiter_lines()
                assert await anext(lines) == "event: message"
                child.process.send_signal(signal.SIGTERM)
                with anyio.fail_after(4):
                    assert await child.process.wait() == 0
                said = [json.loads(line[6:]) async for line in lines if line.startswith("data: ")]
        assert said[-1]["result"]["resultType"] == "complete"
        assert await child.rest_of("stderr") == ""
