"""Real children that are killed, stopped, talk nonsense or turn slow while calls are running.

What holds: calls in flight end with a clear error or on another replica, the others go on, the pool heals by itself,
and nothing is left over, neither a slot nor a process.
"""

import os
import signal
from typing import Any

import anyio
import psutil
import pytest

from pool.balance.policy import BalancePolicy, EjectionPolicy
from pool.pool import Pool
from pool.spec import GroupSpec, MemberSpec
from stoa.errors import OutcomeUnknown, StoaError, Unavailable
from stoa.principal import LOCAL
from tests.pool.chaos.load import all_healthy, calling, settled, stats
from tests.pool.stage import call, children, gone, open_pool, quick, raw, until
from tests.pool.wire.test_no_orphans import host

QUICKLY = BalancePolicy(ejection=EjectionPolicy(base_seconds=0.1, max_seconds=0.5), slow_start_seconds=0.0)


def group(*members: MemberSpec, **options: object) -> GroupSpec:
    """Looked after so often that a test need not wait."""
    often = {"probe_interval_seconds": 0.2, "probe_timeout_seconds": 0.3, "policy": QUICKLY}
    return quick("one", *members, **{**often, **options})


async def ask(pool: Pool, tool: str, replica: str) -> str:
    """Call a tool of that replica."""
    params: dict[str, Any] = {"name": tool, "arguments": {}}
    passed = await pool.request("one", "tools/call", params, principal=LOCAL, prefer=replica)
    assert passed.replica == replica
    return str(passed.result["content"][0]["text"])


async def pid_of(pool: Pool, replica: str) -> int:
    return int(await ask(pool, "pid", replica))


async def test_readers_do_not_notice_that_one_replica_after_the_other_is_killed() -> None:
    before = children()
    async with open_pool(group(raw(), replicas=3)) as pool:
        await pool.status()
        async with calling(pool, "one.slow", {"seconds": 0.02}) as load:
            await load.more(30)
            for name in ("one-0", "one-1", "one-2"):
                pid = await pid_of(pool, name)
                os.kill(pid, signal.SIGKILL)
                assert await gone(pid)
                await load.more(20)
                await all_healthy(pool)
                assert await pid_of(pool, name) != pid
        assert load.errors == []
        assert stats(pool).retries >= 1, "no call was running on any of them"
        assert settled(pool)
    assert children() == before


async def test_all_replicas_killed_at_once_come_back() -> None:
    before = children()
    async with open_pool(group(raw(), replicas=3)) as pool:
        await pool.status()
        async with calling(pool, "one.slow", {"seconds": 0.02}) as load:
            await load.more(30)
            for pid in [await pid_of(pool, name) for name in ("one-0", "one-1", "one-2")]:
                os.kill(pid, signal.SIGKILL)
            await load.more(60)
            await all_healthy(pool)
        # Those that were running, and no others: whoever comes later waits for the restart.
        assert len(load.errors) <= 6
        assert all(isinstance(error, Unavailable) for error in load.errors)
        assert settled(pool)
    assert children() == before


async def test_a_writer_whose_replica_is_killed_is_in_doubt_and_the_others_go_on() -> None:
    async with open_pool(group(raw(), replicas=2)) as pool:
        await pool.status()
        caught: list[StoaError] = []
        answers: list[str] = []

        async def write() -> None:
            try:
                answers.append((await call(pool, "one.write_slow", {"seconds": 2})).text)
            except StoaError as error:
                caught.append(error)

        started = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            tasks.start_soon(write)
            await until(lambda: all(replica.in_flight == 1 for replica in stats(pool).replicas))
            victims = children()
            os.kill(min(victims), signal.SIGKILL)
            await until(lambda: bool(caught))
            assert anyio.current_time() - started < 2, "it was told only when the other one had its answer"
        assert answers == ["slept"]
        assert isinstance(caught[0], OutcomeUnknown)
        assert "may or may not have taken effect" in caught[0].message
        assert stats(pool).retries == 0
        await all_healthy(pool)
        assert settled(pool)


async def test_a_stopped_replica_costs_a_few_calls_and_is_replaced() -> None:
    """SIGSTOP: the process is there, its pipes are open, and it never answers."""
    before = children()
    async with open_pool(group(raw(), replicas=3, call_timeout_seconds=1)) as pool:
        await pool.status()
        async with calling(pool, "one.slow", {"seconds": 0.02}) as load:
            await load.more(30)
            pid = await pid_of(pool, "one-1")
            os.kill(pid, signal.SIGSTOP)
            await until(lambda: stats(pool).replicas[1].state == "ejected")
            seen = len(load.errors)
            await load.more(100)
            assert await gone(pid, within_seconds=20), "it hung and was not replaced"
            await all_healthy(pool)
            await load.more(10, by="one-1")
        # Those that it held when it stopped, and those that came before the first probe failed.
        assert seen <= len(load.errors) <= 12
        assert all("did not answer within 1 seconds" in error.message for error in load.errors)
        assert settled(pool)
    assert children() == before


async def test_readers_on_a_stopped_replica_are_answered_by_another_when_it_is_replaced() -> None:
    """Their time is long; but whoever answers no probe is replaced, and then they are told."""
    async with open_pool(group(raw(), replicas=3, call_timeout_seconds=50)) as pool:
        await pool.status()
        async with calling(pool, "one.slow", {"seconds": 0.02}) as load:
            await load.more(30)
            pid = await pid_of(pool, "one-1")
            os.kill(pid, signal.SIGSTOP)
            await until(lambda: stats(pool).replicas[1].recycled == 1)
            assert await gone(pid)
            await all_healthy(pool)
        assert load.errors == []
        assert stats(pool).retries >= 1, "no call was running on it"
        assert settled(pool)


async def test_a_stopped_replica_that_goes_on_is_used_again() -> None:
    async with open_pool(group(raw(), replicas=2, call_timeout_seconds=5, probe_timeout_seconds=1)) as pool:
        await pool.status()
        pid = await pid_of(pool, "one-0")
        async with calling(pool, "one.slow", {"seconds": 0.02}) as load:
            os.kill(pid, signal.SIGSTOP)
            await until(lambda: stats(pool).replicas[0].state == "degraded")
            assert "no answer to a probe within 1 s" in stats(pool).replicas[0].reason
            os.kill(pid, signal.SIGCONT)
            await all_healthy(pool)
        assert load.errors == []
        assert await pid_of(pool, "one-0") == pid


async def test_a_few_lines_of_nonsense_on_stdout_disturb_nobody() -> None:
    async with open_pool(group(raw(), replicas=2)) as pool:
        await pool.status()
        async with (
            calling(pool, "one.echo", {"text": "x"}, callers=3) as load,
            calling(pool, "one.garbage", callers=2) as noisy,
        ):
            await load.more(200)
            await noisy.more(20)
        assert load.errors == noisy.errors == []
        assert all(replica.reconnects == 0 for replica in stats(pool).replicas)
        assert settled(pool)


async def test_a_replica_that_turns_to_nonsense_is_replaced() -> None:
    """The call that causes it is tried on a second replica, which goes the same way."""
    async with open_pool(group(raw(), replicas=3)) as pool:
        await pool.status()
        async with calling(pool, "one.slow", {"seconds": 0.02}) as load:
            await load.more(20)
            with pytest.raises(Unavailable, match="not an MCP server"):
                await call(pool, "one.garbled")
            await load.more(20)
            await all_healthy(pool)
            await load.more(20)
        assert len(load.errors) <= 6, "only those that both of them held, one after the other"
        assert sum(replica.reconnects for replica in stats(pool).replicas) == 2
        assert settled(pool)


async def test_a_replica_that_is_ten_times_slower_gets_few_calls() -> None:
    async with open_pool(group(raw(), raw(), raw("sluggish"))) as pool:
        await pool.status()
        async with calling(pool, "one.slow", {"seconds": 0.02}, callers=4) as load:
            await load.more(200)
        assert load.errors == []
        assert load.answered["one-2"] < 0.1 * load.answers
        assert stats(pool).replicas[2].state == "healthy"


async def test_tools_that_change_under_load_cost_no_call() -> None:
    """Until all replicas offer the same again, those that differ from the rest are held back."""
    async with open_pool(group(raw(), replicas=2)) as pool:
        await pool.status()
        async with calling(pool, "one.echo", {"text": "x"}, callers=3) as load:
            await load.more(20)
            for name in ("one-0", "one-1"):
                assert await ask(pool, "grow", name) == "grow"
                await pool.tools()
                await load.more(20)
                if name == "one-0":
                    await until(lambda: any("other tools" in one.reason for one in stats(pool).replicas))
            await all_healthy(pool)
            await load.more(20)
        assert load.errors == []
        assert "grown" in [tool.ref.tool for tool in (await pool.tools()).tools]
        assert settled(pool)


@pytest.mark.parametrize("habits", [(), ("ignore-eof", "ignore-term")])
async def test_not_even_a_stopped_child_outlives_a_killed_host(habits: tuple[str, ...]) -> None:
    async with host("stay", *habits) as (process, pids):
        # Those that have no children: the servers, not what stands above them.
        servers = [pid for pid in pids if not psutil.Process(pid).children()]
        for pid in servers:
            os.kill(pid, signal.SIGSTOP)
        process.kill()
        for pid in pids:
            assert await gone(pid), "an orphan"
