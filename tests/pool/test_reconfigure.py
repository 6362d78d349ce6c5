"""Another configuration while calls run: what stays, what goes, and that nothing in flight is dropped."""

from dataclasses import replace

import anyio
import pytest

from pool.balance.policy import BalancePolicy
from pool.seats import Changes, seats
from pool.spec import GroupSpec, HttpSpec, InProcessSpec, StdioSpec
from stoa.errors import BadInput, NotFound
from stoa.principal import LOCAL
from tests.pool.puppets import Puppet, Puppets, group, open_puppets
from tests.pool.stage import until


class Held(Puppets):
    """Calls of `write` wait for `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.go = anyio.Event()
        self.finished: list[int] = []
        self.answer = self.wait

    async def wait(self, puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if params.get("name") == "write":
            await self.go.wait()
            self.finished.append(puppet.number)
        return {"content": []}


async def test_another_setting_keeps_the_connections() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group()]) as pool:
        await pool.offer("one")
        policy = BalancePolicy(strategy="round_robin")
        changes = await pool.reconfigure([group(policy=policy, max_in_flight=3, call_timeout_seconds=5)])
        assert changes == Changes(changed=("one",))
        await pool.request("one", "ping", {}, principal=LOCAL)
        assert len(puppets.opened) == 1
        stats = pool.stats().groups[0]
        assert (stats.strategy, stats.replicas[0].max_in_flight) == ("round_robin", 3)
        assert not await pool.reconfigure([group(policy=policy, max_in_flight=3, call_timeout_seconds=5)])


async def test_servers_come_and_go_and_a_call_in_flight_is_finished_where_it_is() -> None:
    puppets = Held()
    told: list[tuple[str, str]] = []
    async with open_puppets(puppets, [group("old")]) as pool:
        await pool.tools()
        pool.on_change(lambda server, what: told.append((server, what)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: pool.request("old", "tools/call", {"name": "write"}, principal=LOCAL))
            await until(lambda: "1 in flight" in repr(pool))
            changes = await pool.reconfigure([group("new")])
            assert changes == Changes(added=("new",), removed=("old",))
            assert pool.servers == ("new",)
            with pytest.raises(NotFound):
                await pool.request("old", "ping", {}, principal=LOCAL)
            await pool.request("new", "ping", {}, principal=LOCAL)
            assert not puppets.opened[0].is_closed
            puppets.go.set()
        assert puppets.finished == [0]
        await until(lambda: puppets.opened[0].is_closed)
        assert {("new", "servers"), ("old", "servers")} <= set(told)


async def test_of_changed_members_only_those_that_are_gone_are_closed() -> None:
    puppets = Held()
    async with open_puppets(puppets, [group(members=2)]) as pool:
        await pool.status()
        two = group(members=2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                lambda: pool.request("one", "tools/call", {"name": "write"}, principal=LOCAL, prefer="one-0")
            )
            await until(lambda: "1 in flight" in repr(pool))
            await pool.reconfigure([replace(two, members=(InProcessSpec(1), InProcessSpec(2)))])
            used = {(await pool.request("one", "ping", {}, principal=LOCAL)).replica for _ in range(6)}
            assert "one-0" not in used
            assert not puppets.at(0).is_closed
            puppets.go.set()
        await until(lambda: puppets.at(0).is_closed)
        await pool.status()
        assert sorted(puppet.seat for puppet in puppets.alive) == [1, 2]
        # What was counted on the one that is gone stays in the sums.
        assert pool.stats().groups[0].calls == 7


async def test_fewer_and_more_replicas() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(replicas=3)]) as pool:
        await pool.status()
        await pool.reconfigure([group(replicas=1)])
        await until(lambda: len(puppets.alive) == 1)
        await pool.reconfigure([group(replicas=2)])
        assert len(await pool.status()) == 2
        assert len(puppets.alive) == 2


async def test_trust_is_given_at_the_start_so_another_trust_is_another_server() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group()]) as pool:
        await pool.tools()
        await pool.reconfigure([group(trusted=False)])
        await pool.request("one", "tools/call", {"name": "read"}, principal=LOCAL)
        assert len(puppets.opened) == 2
        assert "_meta" not in puppets.opened[1].asked[-1][1]
        await until(lambda: puppets.opened[0].is_closed)


async def test_a_configuration_that_cannot_be_used_changes_nothing() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group()]) as pool:
        with pytest.raises(BadInput, match="Two servers"):
            await pool.reconfigure([group("a"), group("a")])
        assert pool.servers == ("one",)


def test_seats_are_in_the_order_of_their_tiers_and_only_processes_have_spares() -> None:
    near, far = StdioSpec("near"), HttpSpec("http://far/mcp")
    spec = GroupSpec("one", (far, near), replicas=2, tiers=(1, 0), weights=(2.0,), spares=1)
    assert [(seat.member, seat.weight, seat.tier, seat.is_spare) for seat in seats(spec)] == [
        (near, 1.0, 0, False),
        (near, 1.0, 0, False),
        (far, 2.0, 1, False),
        (far, 2.0, 1, False),
        (near, 1.0, 2, True),
    ]
    assert [seat.is_spare for seat in seats(replace(spec, members=(far,)))] == [False, False]
