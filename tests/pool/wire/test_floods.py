"""Servers that say too much: what they cost is bounded, and nobody else waits for it."""

import sys
from collections.abc import Mapping
from typing import Any

import anyio
import psutil
from pydantic_core import to_json

from pool.spec import HttpSpec, StdioSpec
from pool.wire.asker import Asker
from pool.wire.http_pool import HttpPool
from tests.pool.stage import SERVERS
from tests.pool.wire.lab import Exchange, answering, connected, json_answer, scripted

CALL: dict[str, Any] = {"name": "flood"}
INFO = {"name": "x", "version": "1"}


def flooding(what: str) -> StdioSpec:
    return StdioSpec(sys.executable, ("-S", "-E", str(SERVERS / "flood.py"), what))


async def test_questions_of_a_server_that_takes_no_answers_do_not_pile_up() -> None:
    done = anyio.Event()

    def told(method: str, params: Mapping[str, Any]) -> None:
        if method == "notifications/done":
            done.set()

    async with connected(flooding("asks"), on_notice=told) as one, anyio.create_task_group() as tasks:
        before = len(_all_tasks())
        tasks.start_soon(one.request, "tools/call", dict(CALL))
        await done.wait()
        assert len(_all_tasks()) - before < 200
        tasks.cancel_scope.cancel()


async def test_blank_lines_without_end_leave_time_for_others() -> None:
    async with connected(flooding("blank")) as one, anyio.create_task_group() as tasks:
        tasks.start_soon(one.request, "tools/call", dict(CALL))
        for _ in range(50):
            with anyio.fail_after(1):
                await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()


async def test_log_messages_for_a_listener_that_is_slow_take_bounded_memory() -> None:
    is_slow = anyio.Event()

    async def notice(method: str, params: Mapping[str, Any]) -> None:
        is_slow.set()
        await anyio.sleep_forever()

    process = psutil.Process()
    async with connected(flooding("logs")) as one, anyio.create_task_group() as tasks:
        asker = Asker(key="slow", notice=notice)

        async def call() -> None:
            await one.request("tools/call", dict(CALL), asker=asker)

        tasks.start_soon(call)
        await is_slow.wait()
        before = process.memory_info().rss
        start = one.traffic.received_bytes
        while one.traffic.received_bytes - start < 300 * 2**20:  # noqa: ASYNC110 - there is no event
            await anyio.sleep(0.01)
        assert process.memory_info().rss - before < 100 * 2**20
        tasks.cancel_scope.cancel()


async def test_an_http_server_that_asks_much_and_takes_no_answers_holds_no_connections_of_others() -> None:
    asked = anyio.Event()

    async def script(exchange: Exchange) -> None:
        match exchange.message.get("method"):
            case "initialize":
                shaken = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": INFO}
                await exchange.say(json_answer(shaken, exchange.id))
            case "notifications/initialized":
                await exchange.say(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            case "tools/call":
                await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
                for number in range(5000):
                    await exchange.say(b'data: {"jsonrpc":"2.0","id":"q%d","method":"roots/list"}\n\n' % number)
                asked.set()
                await anyio.sleep_forever()
            case "server/discover":
                error = to_json({"jsonrpc": "2.0", "id": exchange.id, "error": {"code": -32601, "message": "?"}})
                await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(error) + error)
            case None if exchange.head.startswith("POST"):
                await anyio.sleep_forever()
            case _:
                await exchange.say(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n")

    async with scripted(script, discovers=False) as address, scripted(fine) as other:
        http = HttpPool(max_connections=8)
        async with (
            connected(HttpSpec(f"http://{address}/"), http=http) as one,
            connected(HttpSpec(f"http://{other}/"), http=http) as two,
            anyio.create_task_group() as tasks,
        ):
            before = len(anyio.get_running_tasks())
            tasks.start_soon(one.request, "tools/call", dict(CALL))
            await asked.wait()
            with anyio.fail_after(2):
                for _ in range(20):
                    assert (await two.request("tools/call", dict(CALL)))["content"]
            assert len(anyio.get_running_tasks()) - before < 200
            tasks.cancel_scope.cancel()


async def fine(exchange: Exchange) -> None:
    await exchange.say(json_answer(answering("fine"), exchange.id))


def _all_tasks() -> list[object]:
    return [*anyio.get_running_tasks()]
