"""No process outlives the pool that started it: whatever the server ignores, however the host ends."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psutil
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from pool.pool import Pool
from pool.spec import StdioSpec
from pool.wire.child import Child, start_child
from pool.wire.lifeline import Watch
from stoa.errors import OutcomeUnknown, StoaError, Unavailable
from tests.pool.stage import call, children, gone, open_pool, quick, raw, until

DEAF = ("ignore-eof", "ignore-term")
STUBBORN = [(), ("ignore-eof",), DEAF, ("grandchild",), ("grandchild", *DEAF)]


@pytest.mark.parametrize("habits", STUBBORN)
async def test_closing_ends_every_process_in_bounded_time(habits: tuple[str, ...]) -> None:
    before = children()
    async with open_pool(quick("one", raw(*habits), replicas=3)) as pool:
        await pool.status()
        await call(pool, "one.echo")
        started = children() - before
        assert len(started) >= 3 * (1 + ("grandchild" in habits))
        closing = anyio.current_time()
    assert anyio.current_time() - closing < 6
    assert children() - before == set()
    for pid in started:
        assert await gone(pid, within_seconds=1)


@pytest.mark.parametrize("habits", STUBBORN)
async def test_a_block_that_fails_leaves_nothing(habits: tuple[str, ...]) -> None:
    before = children()

    async def fail() -> None:
        async with open_pool(quick("one", raw(*habits))) as pool:
            await pool.status()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert children() - before == set()


@pytest.mark.parametrize("habits", STUBBORN)
async def test_a_block_that_is_cancelled_leaves_nothing(habits: tuple[str, ...]) -> None:
    before = children()
    with anyio.CancelScope() as scope:
        async with open_pool(quick("one", raw(*habits))) as pool:
            await pool.status()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert children() - before == set()


@pytest.mark.parametrize("habits", [("never-answer",), ("never-answer", "ignore-term", "grandchild"), ("no-list",)])
async def test_a_start_that_fails_half_way_leaves_nothing(habits: tuple[str, ...]) -> None:
    before = children()
    async with open_pool(quick("one", raw(*habits), start_timeout_seconds=0.3)) as pool:
        with pytest.raises(Unavailable):
            await call(pool, "one.echo")
        assert children() - before == set()


async def begin_to_start(pool: Pool, before: set[int]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.status)
        await until(lambda: children() != before)
        tasks.cancel_scope.cancel()


async def test_closing_in_the_middle_of_a_start_leaves_nothing() -> None:
    before = children()
    async with open_pool(quick("one", raw("never-answer", "ignore-term"))) as pool:
        await begin_to_start(pool, before)
        closing = anyio.current_time()
    assert anyio.current_time() - closing < 4
    assert children() - before == set()


async def test_calls_in_flight_end_when_the_pool_closes() -> None:
    outcomes: list[str] = []

    async def ask(pool_call: str) -> None:
        try:
            await call(pool, pool_call, {"seconds": 60})
        except StoaError as error:
            outcomes.append(error.code)

    async with anyio.create_task_group() as tasks, open_pool(quick("one", raw(), max_in_flight=2)) as pool:
        await pool.tools()
        for tool in ("one.slow", "one.write_slow", "one.slow"):
            tasks.start_soon(ask, tool)
        await until(lambda: "2 in flight, 1 waiting" in repr(pool))
    assert sorted(outcomes) == ["outcome_unknown", "unavailable", "unavailable"]


async def test_a_killed_child_is_noticed_while_idle_and_comes_back() -> None:
    async with open_pool(quick("one", raw())) as pool:
        first = int((await call(pool, "one.pid")).text)
        os.kill(first, signal.SIGKILL)
        with anyio.fail_after(10):
            while True:
                try:
                    second = int((await call(pool, "one.pid")).text)
                    break
                except Unavailable:
                    await anyio.sleep(0.01)
        assert second != first
        assert await gone(first)


async def test_a_child_killed_in_the_middle_of_a_call_is_replaced_and_the_call_fails_at_once() -> None:
    async with open_pool(quick("one", raw())) as pool:
        pid = int((await call(pool, "one.pid")).text)
        started = anyio.current_time()
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(OutcomeUnknown, match="ended by signal 9"):
                    await call(pool, "one.write_slow", {"seconds": 60})

            tasks.start_soon(ask)
            await until(lambda: "1 in flight" in repr(pool))
            os.kill(pid, signal.SIGKILL)
        assert anyio.current_time() - started < 5
        assert int((await call(pool, "one.pid")).text) != pid


async def test_one_replica_serves_while_the_other_is_dead() -> None:
    async with open_pool(quick("one", raw(), replicas=2)) as pool:
        await pool.status()
        pids = children()
        os.kill(min(pids), signal.SIGKILL)
        await until(lambda: "1/2 ready" in repr(pool))
        answers = [(await call(pool, "one.echo", {"text": "x"})).text for _ in range(20)]
        assert answers == ["x"] * 20


async def test_a_crash_takes_the_grandchildren_along() -> None:
    before = children()
    async with open_pool(quick("one", raw("grandchild"))) as pool:
        with pytest.raises(Unavailable) as caught:
            await call(pool, "one.crash")
        found = re.search(r"grandchild (\d+)", caught.value.message)
        assert found is not None
        assert await gone(int(found[1]))
    assert children() - before == set()


async def test_crashes_are_followed_by_longer_and_longer_waits() -> None:
    async with open_pool(quick("one", raw("die-at-start"))) as pool:
        waits: list[float] = []
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                await call(pool, "one.echo")
            waits.append(caught.value.retry_after or 0)
            await anyio.sleep(0.12)
        assert max(waits) <= 0.1


@asynccontextmanager
async def host(*arguments: str, program: str = "host.py") -> AsyncGenerator[tuple[Process, list[int]]]:
    """A host in a process of its own, and the pids it started."""
    command = [sys.executable, str(Path(__file__).parents[1] / program), *arguments]
    process = await anyio.open_process(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pids: list[int] = []
    try:
        assert process.stdout is not None
        with anyio.fail_after(60):
            pids = json.loads(await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 10_000))
        assert len(pids) >= 2
        yield process, pids
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()
            for pid in pids:
                if psutil.pid_exists(pid):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("habits", [(), ("ignore-eof", "ignore-term"), ("grandchild", "ignore-eof", "ignore-term")])
async def test_children_end_when_the_host_is_killed(habits: tuple[str, ...]) -> None:
    if habits and sys.platform == "win32":
        pytest.skip("on Windows nobody ends a child that ignores the end of its stdin")
    async with host("stay", *habits) as (process, pids):
        process.kill()
        for pid in pids:
            assert await gone(pid), "an orphan"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no launcher on Windows")
@pytest.mark.parametrize("habits", [(), ("grandchild", *DEAF)])
async def test_a_pipe_that_ends_tells_where_the_kernel_does_not(habits: tuple[str, ...]) -> None:
    async with host(*habits, program="lifeline_host.py") as (process, pids):
        process.kill()
        for pid in pids:
            assert await gone(pid), "an orphan"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("habits", [(), ("ignore-eof", "ignore-term", "grandchild")])
async def test_children_end_when_the_host_is_interrupted(number: signal.Signals, habits: tuple[str, ...]) -> None:
    async with host("stay", *habits) as (process, pids):
        process.send_signal(number)
        with anyio.fail_after(15):
            await process.wait()
        # SIGTERM ends this host on the spot; the launcher notices.
        is_told = number == signal.SIGINT or sys.platform != "win32"
        for pid in pids if is_told or "grandchild" not in habits else []:
            assert await gone(pid), "an orphan"


@pytest.mark.parametrize("end", ["leave", "raise"])
async def test_a_host_that_ends_by_itself_ends_in_time(end: str) -> None:
    async with host(end, "ignore-eof", "ignore-term", "grandchild") as (process, pids):
        with anyio.fail_after(15):
            await process.wait()
        for pid in pids:
            assert await gone(pid, within_seconds=1), "an orphan"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has launchers of both kinds")
@pytest.mark.parametrize("watch", ["kernel", "pipe"])
@pytest.mark.parametrize(
    ("ending", "code"), [("sys.exit(5)", 5), ("os.kill(os.getpid(), 11)", -11), ("os.abort()", -6), ("pass", 0)]
)
async def test_the_launcher_ends_as_the_command_does(ending: str, code: int, watch: Watch) -> None:
    program = f"import os, sys; {ending}"
    spec = StdioSpec(sys.executable, ("-S", "-c", program))
    child = await start_child(spec, server="one", environ=os.environ, watch=watch)
    with anyio.fail_after(10):
        await child.wait()
        await child.stop(0.2)
    assert child.exit_code == code


async def test_stopping_twice_is_harmless() -> None:
    child: Child = await start_child(raw(), server="one", environ=os.environ)
    with anyio.fail_after(10):
        await child.stop(0.2)
        await child.stop(0.2)
    assert child.exit_code is not None
    assert "exit code" in repr(child)
