"""Another configuration, and successors of replicas, while calls never stop: none is lost, also none that waits."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from pool.balance.policy import BalancePolicy, EjectionPolicy, HedgePolicy, RetryPolicy
from pool.spec import GroupSpec, InProcessSpec
from stoa.errors import Unavailable
from stoa.principal import LOCAL
from tests.pool.chaos.load import calling, settled, stats
from tests.pool.puppets import Puppet, Puppets, group, open_puppets
from tests.pool.stage import open_pool, quick, raw, until


class Working(Puppets):
    """Every call takes a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = self.work

    async def work(self, puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        await anyio.sleep(0.002)
        return {"content": []}


def with_policy(**options: object) -> Callable[[GroupSpec], GroupSpec]:
    return lambda spec: replace(spec, policy=BalancePolicy(**options))  # type: ignore[arg-type] - the test's own


CHANGES: dict[str, Callable[[GroupSpec], GroupSpec]] = {
    "strategy": with_policy(strategy="round_robin"),
    "ejection": with_policy(ejection=EjectionPolicy(is_on=False)),
    "retry": with_policy(retry=RetryPolicy(attempts=1)),
    "hedge": with_policy(hedge=HedgePolicy(is_on=False)),
    "more slots": lambda spec: replace(spec, max_in_flight=4),
    "fewer slots": lambda spec: replace(spec, max_in_flight=1),
    "more may wait": lambda spec: replace(spec, max_waiting=999),
    "weights": lambda spec: replace(spec, weights=(1.0, 5.0)),
    "tiers": lambda spec: replace(spec, tiers=(1, 0)),
    "more replicas": lambda spec: replace(spec, replicas=3),
    "fewer members": lambda spec: replace(spec, members=spec.members[:1]),
    "other members": lambda spec: replace(spec, members=(InProcessSpec(7), InProcessSpec(8))),
    "trust": lambda spec: replace(spec, trusted=not spec.trusted),
    "affinity": lambda spec: replace(spec, affinity="none"),
    "limits": lambda spec: replace(spec, max_calls=50, idle_timeout_seconds=60, max_age_seconds=60),
    "timeouts": lambda spec: replace(spec, call_timeout_seconds=5, acquire_timeout_seconds=5, start_timeout_seconds=5),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_loses_no_call_that_runs_or_waits(change: str) -> None:
    puppets = Working()
    before = group(members=2, max_in_flight=2)
    after = CHANGES[change](before)
    async with open_puppets(puppets, [before, group("other")]) as pool:
        await pool.status()
        # Writes: nothing that is lost is made good by a second attempt.
        async with calling(pool, "one.write", callers=16) as load:
            for specs in ([after], [after, group("third")], [before, group("other")]):
                await until(lambda: stats(pool).waiting > 0)
                assert await pool.reconfigure(specs)
                await load.more(40)
        assert load.errors == []
        assert settled(pool)
        assert pool.servers == ("one", "other")


async def test_whoever_waits_for_a_server_that_is_taken_away_is_served_and_whoever_comes_later_is_told() -> None:
    puppets = Puppets()
    go = anyio.Event()
    done: list[str] = []

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        await go.wait()
        return {"content": []}

    async def ask() -> None:
        done.append((await pool.request("one", "ping", {}, principal=LOCAL)).replica)

    puppets.answer = answer
    async with open_puppets(puppets, [group(max_in_flight=1)]) as pool:
        await pool.tools()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
            await until(lambda: "1 in flight, 2 waiting" in repr(pool))
            old = pool._roster.find("one").group  # pyright: ignore[reportPrivateUsage] - what a call holds meanwhile
            await pool.reconfigure([])
            with pytest.raises(Unavailable, match="'one' is no longer configured"):
                old.take()
            go.set()
        assert done == ["one-0"] * 3
        await until(lambda: not puppets.alive)


async def test_another_strategy_decides_from_the_next_call_on() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(members=2, policy=BalancePolicy(strategy="sticky"))]) as pool:
        await pool.status()

        async def used(times: int) -> list[str]:
            return [(await pool.request("one", "ping", {}, principal=LOCAL)).replica for _ in range(times)]

        assert len(set(await used(6))) == 1
        await pool.reconfigure([group(members=2, policy=BalancePolicy(strategy="round_robin", slow_start_seconds=0.0))])
        found = await used(6)
        assert found[0::2] == [found[0]] * 3
        assert found[1::2] == [found[1]] * 3
        assert found[0] != found[1]
        assert pool.trace(1)[0].strategy == "round_robin"
        assert len(puppets.opened) == 2


@pytest.mark.parametrize("limit", [{"max_calls": 5}, {"max_age_seconds": 0.1}])
async def test_successors_take_over_without_a_lost_call(limit: dict[str, Any]) -> None:
    puppets = Working()
    async with open_puppets(puppets, [group(members=2, max_in_flight=2, **limit)]) as pool:
        await pool.status()
        async with calling(pool, "one.write", callers=6) as load:
            await until(lambda: all(replica.recycled >= 3 for replica in stats(pool).replicas))
        assert load.errors == []
        await until(lambda: len(puppets.alive) == 2)
        assert settled(pool)


async def test_processes_are_replaced_without_a_lost_call() -> None:
    """Real ones, each of which uses more memory than it may."""
    spec = quick("one", raw(), replicas=2, max_memory_mb=1, probe_interval_seconds=0.1)
    async with open_pool(spec) as pool:
        await pool.status()
        async with calling(pool, "one.write_slow", {"seconds": 0.01}, callers=4) as load:
            await until(lambda: all(replica.recycled >= 2 for replica in stats(pool).replicas))
        assert load.errors == []
        assert settled(pool)
