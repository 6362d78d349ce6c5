"""Servers that say too much: what they cost is bounded, and nobody else waits for it."""

import sys
from collections.abc import Mapping
from typing import Any

import anyio
import psutil

from pool.spec import StdioSpec
from pool.wire.asker import Asker
from tests.pool.stage import SERVERS
from tests.pool.wire.lab import connected

CALL: dict[str, Any] = {"name": "flood"}


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


def _all_tasks() -> list[object]:
    return [*anyio.get_running_tasks()]
