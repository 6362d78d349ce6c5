"""Looking after replicas: probes, ejection, idle ones, successors, spares, and how many start at a time."""

import os
import random
import signal
import sys
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pool.balance.policy import BalancePolicy, EjectionPolicy
from pool.keeper import Keeper
from pool.pool import Pool
from pool.recycling import memory_of_group, why_idle, why_recycle
from pool.spawning import JITTER_SECONDS, SpawnGate
from pool.spec import GroupSpec, StdioSpec
from pool.wire.failures import Lost
from stoa.clock import ManualClock
from stoa.errors import OutcomeUnknown, Unavailable
from stoa.principal import LOCAL
from tests.pool.chaos.load import calling
from tests.pool.puppets import Puppet, Puppets, group, open_puppets
from tests.pool.stage import call, children, gone, open_pool, quick, raw, until


def limits(**options: object) -> GroupSpec:
    return GroupSpec("one", members=(), **options)  # type: ignore[arg-type] - checked by the dataclass's users


def test_a_replica_serves_its_time_and_no_longer() -> None:
    def why(
        spec: GroupSpec, *, calls: int = 5, age: float = 60.0, memory: int | None = 100 << 20, share: float = 0.0
    ) -> str:
        return why_recycle(spec, calls=calls, age_seconds=age, memory_bytes=memory, share=share) or ""

    assert why(limits()) == ""
    assert "max_calls is 5" in why(limits(max_calls=5))
    assert why(limits(max_calls=6)) == ""
    assert "max_age_seconds is 60" in why(limits(max_age_seconds=60))
    assert why(limits(max_age_seconds=61)) == ""
    assert why(limits(max_age_seconds=61), share=1.0) != ""  # its own lot is a tenth below
    assert "100 MB (max_memory_mb is 99)" in why(limits(max_memory_mb=99))
    assert why(limits(max_memory_mb=99), memory=None) == ""


def test_an_idle_replica_is_closed_only_where_that_is_asked_for_and_nothing_runs() -> None:
    assert why_idle(limits(), idle_seconds=1e9, in_flight=0) is None
    assert why_idle(limits(idle_timeout_seconds=5), idle_seconds=5, in_flight=1) is None
    assert why_idle(limits(idle_timeout_seconds=5), idle_seconds=4, in_flight=0) is None
    assert why_idle(limits(idle_timeout_seconds=5), idle_seconds=5, in_flight=0) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_memory_is_that_of_the_whole_process_group() -> None:
    used = memory_of_group(os.getpgid(0))
    assert used is not None
    assert used > 10 << 20
    assert memory_of_group(2**22 + 1) is None


async def test_no_more_than_so_many_start_at_a_time() -> None:
    gate = SpawnGate(max_starts=2, rng=random.Random(1), hold_seconds=60)
    inside: list[int] = []
    most = 0

    async def start(number: int) -> None:
        nonlocal most
        with await gate.enter():
            inside.append(number)
            most = max(most, len(inside))
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            inside.remove(number)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(start, number)
    assert most == 2
    assert repr(gate) == "<SpawnGate 0/2 starting>"


async def test_a_start_that_takes_long_makes_room_for_the_next() -> None:
    gate = SpawnGate(max_starts=1, rng=random.Random(1), hold_seconds=0.01)
    with anyio.fail_after(10):
        slow = await gate.enter()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow.expire)
            (await gate.enter()).release()
        slow.release()
    assert repr(gate) == "<SpawnGate 0/1 starting>"


async def test_a_failing_replica_is_ejected_and_comes_back_by_a_probe() -> None:
    puppets = Puppets()
    broken = [True]

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if puppet.seat == 0 and broken[0]:
            raise Lost("It stumbles.", is_final=False)
        return {"content": []}

    async def ping(puppet: Puppet) -> None:
        if puppet.seat == 0 and broken[0]:
            raise Lost("It stumbles.", is_final=False)

    puppets.answer, puppets.ping = answer, ping  # type: ignore[method-assign] - what the test replaces
    policy = BalancePolicy(ejection=EjectionPolicy(base_seconds=0.05))
    async with open_puppets(puppets, [group(members=2, policy=policy)]) as pool:
        await pool.status()
        for _ in range(5):
            with pytest.raises(OutcomeUnknown):
                await pool.request("one", "tools/call", {"name": "write"}, principal=LOCAL, prefer="one-0")
        first = pool.stats().groups[0].replicas[0]
        assert (first.state, first.ejections) == ("ejected", 1)
        assert "5 " in first.reason
        used = {(await pool.request("one", "tools/call", {"name": "write"}, principal=LOCAL)).replica for _ in range(5)}
        assert used == {"one-1"}
        broken[0] = False
        await until(lambda: pool.stats().groups[0].replicas[0].state == "healthy")


async def test_a_replica_that_answers_no_probe_is_replaced() -> None:
    puppets = Puppets()

    async def ping(puppet: Puppet) -> None:
        if puppet.number == 0:
            await anyio.sleep_forever()

    puppets.ping = ping  # type: ignore[method-assign] - what the test replaces
    async with open_puppets(puppets, [group(probe_interval_seconds=0.02, probe_timeout_seconds=0.01)]) as pool:
        await pool.tools()
        await until(lambda: len(puppets.opened) == 2 and puppets.opened[0].is_closed)
        await until(lambda: "1/1 ready" in repr(pool))
        replica = pool.stats().groups[0].replicas[0]
        assert (replica.recycled, replica.probes_failed >= 3) == (1, True)


async def test_an_idle_replica_is_closed_and_the_next_call_starts_it_again() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(idle_timeout_seconds=0.05)]) as pool:
        await pool.tools()
        await until(lambda: not puppets.alive)
        replica = pool.stats().groups[0].replicas[0]
        assert replica.state == "stopped"
        assert "idle_timeout_seconds" in replica.reason
        assert (await pool.request("one", "ping", {}, principal=LOCAL)).replica == "one-0"
        assert len(puppets.opened) == 2


async def test_a_successor_takes_over_while_the_old_one_finishes_its_calls() -> None:
    puppets = Puppets()
    go = anyio.Event()
    served: list[int] = []

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if params.get("name") == "write":
            await go.wait()
        served.append(puppet.number)
        return {"content": []}

    puppets.answer = answer
    async with open_puppets(puppets, [group(max_calls=3)]) as pool:
        await pool.tools()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: pool.request("one", "tools/call", {"name": "write"}, principal=LOCAL))
            await until(lambda: "1 in flight" in repr(pool))
            for _ in range(2):
                await pool.request("one", "tools/call", {"name": "read"}, principal=LOCAL)
            await until(lambda: pool.stats().groups[0].replicas[0].recycled == 1)
            await pool.request("one", "tools/call", {"name": "read"}, principal=LOCAL)
            assert not puppets.opened[0].is_closed
            go.set()
        assert served == [0, 0, 1, 0]
        await until(lambda: puppets.opened[0].is_closed)
        assert [puppet.number for puppet in puppets.alive] == [1]


async def test_a_successor_that_does_not_start_leaves_the_old_one_at_work() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(max_calls=1)]) as pool:
        await pool.tools()
        puppets.refuse = Unavailable("It is not there.")
        await pool.request("one", "ping", {}, principal=LOCAL)
        await until(lambda: pool.stats().groups[0].replicas[0].starts_failed > 0)
        assert (await pool.request("one", "ping", {}, principal=LOCAL)).replica == "one-0"


async def test_a_spare_is_kept_warm_and_takes_over_at_once() -> None:
    async with open_pool(quick("one", raw(), spares=1)) as pool:
        assert [each.state for each in await pool.status()] == ["healthy", "healthy"]
        first = (await call(pool, "one.pid")).text
        assert (await call(pool, "one.pid")).text == first
        os.kill(int(first), signal.SIGKILL)
        await gone(int(first))
        await until(lambda: pool.stats().groups[0].replicas[0].state != "healthy")
        assert (await call(pool, "one.pid")).text != first
        await until(lambda: "1/1 ready" in repr(pool))


async def test_a_process_that_takes_too_much_memory_is_replaced() -> None:
    async with open_pool(quick("one", raw(), max_memory_mb=1, probe_interval_seconds=0.05)) as pool:
        first = int((await call(pool, "one.pid")).text)
        assert await gone(first, within_seconds=20)
        await call(pool, "one.echo", {"text": "x"})
        assert pool.stats().groups[0].replicas[0].recycled >= 1
    assert not children()


async def test_a_stopped_process_is_noticed_by_its_probes_and_replaced() -> None:
    spec = quick("one", raw(), probe_interval_seconds=0.05, probe_timeout_seconds=0.2)
    async with open_pool(spec) as pool:
        first = int((await call(pool, "one.pid")).text)
        os.kill(first, signal.SIGSTOP)
        assert await gone(first, within_seconds=20)
        assert int((await call(pool, "one.pid")).text) != first


async def test_those_that_had_to_wait_for_their_start_begin_a_moment_apart() -> None:
    gate = SpawnGate(max_starts=1, rng=random.Random(1), hold_seconds=60)
    begun: list[float] = []

    async def start() -> None:
        with await gate.enter():
            begun.append(anyio.current_time())
            for _ in range(5):
                await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(start)
    gaps = [later - sooner for sooner, later in pairwise(begun)]
    lots = random.Random(1)
    assert gaps == pytest.approx([lots.uniform(0.0, JITTER_SECONDS) for _ in gaps], abs=0.05)


async def test_a_pool_starts_no_more_processes_at_a_time_than_it_may() -> None:
    puppets = Puppets()
    at_once, most = 0, 0

    async def opening() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        at_once -= 1

    puppets.opening = opening
    spec = quick("one", *(StdioSpec(f"puppet-{number}") for number in range(8)))
    with anyio.fail_after(20):
        async with Pool([spec], internal_key=None, connect=puppets.open, max_starts=3) as pool:
            await pool.status()
    assert (most, len(puppets.opened)) == (3, 8)


async def test_an_idle_replica_stays_closed_until_somebody_needs_it() -> None:
    puppets = Puppets()
    clock = ManualClock()
    spec = group(idle_timeout_seconds=5, probe_interval_seconds=30)
    async with open_puppets(puppets, [spec], clock=clock) as pool:
        await pool.tools()
        keeper = Keeper(pool._roster.find("one").group)  # pyright: ignore[reportPrivateUsage] - one round at a time
        clock.advance(6)
        await keeper.tend()
        await until(lambda: not puppets.alive)
        for _ in range(3):
            clock.advance(31)
            await keeper.tend()
            await anyio.lowlevel.checkpoint()
        assert len(puppets.opened) == 1


async def test_one_that_was_up_and_cannot_be_started_is_tried_again_without_a_call() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(probe_interval_seconds=0.05)]) as pool:
        await pool.tools()
        puppets.refuse = Unavailable("It is not there.")
        puppets.opened[0].lose()
        await until(lambda: pool.stats().groups[0].replicas[0].starts_failed >= 2)
        puppets.refuse = None
        await until(lambda: "1/1 ready" in repr(pool))


@pytest.mark.parametrize(
    "limits", [{"max_age_seconds": 5.0}, {"idle_timeout_seconds": 5.0, "spares": 1}, {"idle_timeout_seconds": 5.0}]
)
async def test_the_keeper_sleeps_also_while_a_limit_is_over_that_cannot_be_acted_upon(limits: dict[str, Any]) -> None:
    """A successor that does not start, a spare that nobody calls, a call that does not end."""
    puppets = Puppets()
    clock = ManualClock()
    go = anyio.Event()

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        await go.wait()
        return {"content": []}

    puppets.answer = answer
    spec = quick("one", StdioSpec("puppet"), probe_interval_seconds=0.0, **limits)
    async with open_puppets(puppets, [spec], clock=clock) as pool:
        await pool.tools()
        keeper = Keeper(pool._roster.find("one").group)  # pyright: ignore[reportPrivateUsage] - one round at a time
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: pool.request("one", "ping", {}, principal=LOCAL))
            await until(lambda: "1 in flight" in repr(pool))
            puppets.refuse = Unavailable("It is not there.")
            clock.advance(6)
            await keeper.tend()
            await until(
                lambda: not limits.get("max_age_seconds") or pool.stats().groups[0].replicas[0].starts_failed > 0
            )
            assert keeper.due_in() > 0.0
            go.set()


async def test_memory_is_looked_at_also_where_there_are_no_probes() -> None:
    clock = ManualClock()
    spec = quick("one", raw(), max_memory_mb=1, probe_interval_seconds=0.0)
    with anyio.fail_after(20):
        async with Pool([spec], internal_key=None, clock=clock) as pool:
            first = int((await call(pool, "one.pid")).text)
            clock.advance(31)
            pool._roster.find("one").group.wake()  # pyright: ignore[reportPrivateUsage] - its clock stands still
            assert await gone(first, within_seconds=10)


async def test_a_spare_answers_while_the_replica_that_was_killed_is_started_again() -> None:
    async with open_pool(quick("one", raw(), spares=1)) as pool:
        await pool.status()
        async with calling(pool, "one.slow", {"seconds": 0.01}, callers=3) as load:
            await load.more(10)
            pid = int((await call(pool, "one.pid")).text)
            os.kill(pid, signal.SIGKILL)
            await load.more(5, by="one-1")
            await until(lambda: pool.stats().groups[0].replicas[0].reconnects == 1)
            await load.more(5, by="one-0")
        assert load.errors == []


async def test_a_spare_is_beyond_need_a_call_that_it_takes_starts_the_replica_all_the_same() -> None:
    async with open_pool(quick("one", raw(), spares=1, idle_timeout_seconds=0.2)) as pool:
        await pool.status()
        await until(lambda: pool.stats().groups[0].replicas[0].state == "stopped")
        assert pool.stats().groups[0].replicas[1].state == "healthy"
        await call(pool, "one.echo", {"text": "x"})
        await until(lambda: pool.stats().groups[0].replicas[0].state == "healthy")
