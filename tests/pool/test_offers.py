"""What servers offer: looked up at the same time, kept, shown stale, and of one mind."""

import anyio
import anyio.lowlevel
import pytest

from pool.versions import common_version
from pool.wire.connection import ACKNOWLEDGED
from stoa.errors import Fault, NotFound, Unavailable
from stoa.principal import LOCAL
from tests.pool.puppets import Puppet, Puppets, group, open_puppets, tool
from tests.pool.stage import until


async def test_an_offer_is_looked_up_once_and_again_when_it_changed() -> None:
    puppets = Puppets()
    puppets.lists["prompts"] = [{"name": "greet"}]
    changes: list[tuple[str, str]] = []
    async with open_puppets(puppets, [group()]) as pool:
        assert pool.peek("one") is None
        offer = await pool.offer("one")
        assert [each.ref.tool for each in offer.tools] == ["read", "write"]
        assert offer.tools[0].wire == tool("read")
        assert offer.prompts == ({"name": "greet"},)
        assert (offer.instructions, offer.protocol, offer.is_stale) == ("Pull the strings.", "2026-07-28", False)
        assert await pool.offer("one") is offer
        stop = pool.on_change(lambda server, what: changes.append((server, what)))
        puppets.lists["prompts"] = []
        puppets.opened[0].on_notice("notifications/prompts/list_changed", {})
        assert changes == [("one", "prompts")]
        assert (await pool.offer("one")).prompts == ()
        puppets.lists["tools"] = [tool("read"), tool("grown")]
        puppets.opened[0].on_notice("notifications/tools/list_changed", {})
        assert [each.ref.tool for each in (await pool.offer("one")).tools] == ["read", "grown"]
        stop()
        before = len(changes)
        puppets.opened[0].on_notice("notifications/prompts/list_changed", {})
        assert len(changes) == before


async def test_a_server_that_is_down_stalls_nobody_and_says_why() -> None:
    puppets = Puppets()
    puppets.refuse = Unavailable("It is not there.")
    async with open_puppets(puppets, [group("gone")]) as pool:
        found, errors = await pool.offers()
        assert not found
        assert "not there" in str(errors["gone"])


async def test_a_server_that_was_up_keeps_its_offer_while_it_is_away() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group()]) as pool:
        await pool.offer("one")
        puppets.refuse = Unavailable("It is not there.")
        puppets.opened[0].lose()
        await until(lambda: "0/1 ready" in repr(pool))
        offer = await pool.offer("one")
        assert offer.is_stale
        assert [each.ref.tool for each in offer.tools] == ["read", "write"]
        known = pool.peek("one")
        assert known is not None
        assert known.is_stale
        puppets.refuse = None

        async def is_back() -> None:
            while (await pool.offer("one")).is_stale:
                await anyio.lowlevel.checkpoint()

        with anyio.fail_after(5):
            await is_back()


async def test_a_list_that_does_not_come_does_not_hold_back_what_is_known() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(start_timeout_seconds=0.2)]) as pool:
        await pool.offer("one")

        async def never(puppet: Puppet, method: str) -> None:
            await anyio.sleep_forever()

        puppets.list_gate = never  # type: ignore[method-assign] - what the test replaces
        puppets.opened[0].on_notice("notifications/prompts/list_changed", {})
        assert (await pool.offer("one")).is_stale


async def test_the_odd_replica_is_held_back_and_says_why() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(members=3)]) as pool:
        await pool.offer("one")
        await pool.status()
        odd = puppets.at(1)
        odd.lists["tools"] = [tool("read"), tool("grown")]
        odd.on_notice("notifications/tools/list_changed", {})
        assert [each.ref.tool for each in (await pool.offer("one")).tools] == ["read", "write"]
        line = (await pool.status())[1]
        assert line.state == "degraded"
        assert "other tools" in line.reason
        used = {(await pool.request("one", "ping", {}, principal=LOCAL)).replica for _ in range(10)}
        assert "one-1" not in used
        # As soon as most have them, the new tools are offered.
        other = puppets.at(2)
        other.lists["tools"] = odd.lists["tools"]
        other.on_notice("notifications/tools/list_changed", {})
        assert [each.ref.tool for each in (await pool.offer("one")).tools] == ["read", "grown"]
        assert [each.state for each in await pool.status()] == ["degraded", "healthy", "healthy"]


@pytest.mark.parametrize(
    ("versions", "present", "chosen"),
    [
        ([], None, None),
        ([], "a", "a"),
        (["a", "b"], None, "a"),
        (["a", "b"], "b", "b"),
        (["a", "b", "b"], "a", "b"),
        (["b", "c"], "a", "b"),
    ],
)
def test_most_replicas_decide_and_of_equally_many_those_before(
    versions: list[str], present: str | None, chosen: str | None
) -> None:
    assert common_version(versions, present=present) == chosen


async def test_a_listener_hears_and_after_a_loss_is_told_that_everything_may_have_changed() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(members=2)]) as pool:
        wanted = {"toolsListChanged": True, "resourceSubscriptions": ["x://1"]}
        async with pool.listen("one", filter=wanted, principal=LOCAL) as heard:
            await until(lambda: any(puppet.heard for puppet in puppets.opened))
            listener = next(puppet for puppet in puppets.opened if puppet.heard)
            assert listener.heard == [wanted]
            assert (await anext(heard))[0] == ACKNOWLEDGED
            listener.on_notice("notifications/resources/updated", {"uri": "x://1"})
            assert await anext(heard) == ("notifications/resources/updated", {"uri": "x://1"})
            listener.lose()
            assert await anext(heard) == ("notifications/tools/list_changed", {})
            assert await anext(heard) == ("notifications/resources/updated", {"uri": "x://1"})
            await until(lambda: sum(bool(puppet.heard) for puppet in puppets.opened) == 2)


async def test_a_list_that_is_malformed_costs_itself_alone() -> None:
    puppets = Puppets()
    puppets.lists["resources"] = [{"uri": "test://one", "name": "one"}]

    async def gate(puppet: Puppet, method: str) -> None:
        if method == "prompts/list":
            raise Fault("The server 'one' answered with something that is not valid MCP.")

    puppets.list_gate = gate  # type: ignore[method-assign] - that is what it is for
    async with open_puppets(puppets, [group()]) as pool:
        offers, errors = await pool.offers()
        assert not errors
        assert offers["one"].prompts == ()
        assert [each["name"] for each in offers["one"].resources] == ["one"]


async def test_a_listener_goes_on_with_what_another_configuration_puts_in_place_and_ends_with_the_server() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group()]) as pool:
        async with pool.listen("one", filter={"toolsListChanged": True}, principal=LOCAL) as heard:
            assert (await anext(heard))[0] == ACKNOWLEDGED
            await pool.reconfigure([group(trusted=False)])
            puppets.opened[0].lose()
            # What was missed meanwhile nobody knows.
            assert await anext(heard) == ("notifications/tools/list_changed", {})
            assert len(puppets.opened) == 2
            puppets.opened[1].on_notice("notifications/tools/list_changed", {})
            assert await anext(heard) == ("notifications/tools/list_changed", {})
            await pool.reconfigure([])
            puppets.opened[1].lose()
            assert [each async for each in heard] == []
        with pytest.raises(NotFound):
            pool.listen("one", filter={}, principal=LOCAL)
