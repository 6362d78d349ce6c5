"""Several servers behind one gateway: some of them away, foreign, or with the same things."""

import json
import sys
import time
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import MCPError

from gateway.options import Limits, Options
from pool.spec import HttpSpec, InProcessSpec, StdioSpec
from stoa.errors import BadInput, NotFound
from stoa.settings import Settings
from tests.gateway.stage import ERAS, HANDSHAKE, MODERN, Answers, behind, client, gateway
from tests.gateway.upstream import Upstream
from tests.pool.stage import quick, raw, until

SILENT = StdioSpec(sys.executable, ("-S", "-E", "-c", "import time; time.sleep(600)"))
GONE = StdioSpec("/no/such/command/anywhere")


def text(result: Any) -> str:
    return result.content[0].text


def state_of(result: Any, server: str) -> dict[str, Any]:
    about = json.loads(result.contents[0].text)
    return next(each for each in about["servers"] if each["server"] == server)


@pytest.mark.parametrize("era", ERAS)
async def test_tools_of_all_servers_are_listed_in_the_order_of_the_configuration(
    settings: Settings, upstream: Upstream, era: str
) -> None:
    other = Upstream(settings, "other")
    groups = (quick("z", InProcessSpec(upstream.server.lowlevel)), quick("a", InProcessSpec(other.server.lowlevel)))
    async with gateway(settings, *groups) as (front, _), client(front, era) as it:
        once = [tool.name for tool in (await it.list_tools()).tools]
        again = [tool.name for tool in (await it.list_tools()).tools]
        await it.call_tool("a_echo", {"text": "x"})

    assert once == again
    assert [name for name in once if name.endswith("_echo")] == ["z_echo", "a_echo"]
    assert once == sorted(once[: len(once) // 2]) + sorted(once[len(once) // 2 :])
    assert (len(other.metas), len(upstream.metas)) == (1, 0)


async def test_of_two_servers_with_one_address_the_first_is_read(settings: Settings, upstream: Upstream) -> None:
    other = Upstream(settings, "other")
    groups = (quick("a", InProcessSpec(upstream.server.lowlevel)), quick("b", InProcessSpec(other.server.lowlevel)))
    async with gateway(settings, *groups) as (front, _), client(front, MODERN) as it:
        listed = [str(resource.uri) for resource in (await it.list_resources()).resources]
        await it.read_resource("note://first")
        conflicts = list(front.offers.view.conflicts())

    assert listed.count("note://first") == 1
    assert conflicts[0] == "note://first of 'b' is hidden: 'a' comes first and has it, too"


async def test_a_tool_that_may_be_one_of_a_server_that_is_away_is_not_called_unknown(
    settings: Settings, upstream: Upstream
) -> None:
    groups = (quick("a", GONE), quick("a_b", InProcessSpec(upstream.server.lowlevel)))
    async with gateway(settings, *groups) as (front, _), client(front, MODERN) as it:
        await it.list_tools()
        result = await it.call_tool("a_b_tool_12345678", {})
        with pytest.raises(MCPError, match="Unknown tool") as caught:
            await it.call_tool("nobody_" + "x" * 100_000, {})

    assert result.is_error
    assert "'a'" in text(result)
    assert len(str(caught.value.error)) < 2000


@pytest.mark.parametrize("dead", [SILENT, GONE], ids=["silent", "gone"])
async def test_a_dead_server_stalls_no_listing_and_is_told_of(
    settings: Settings, upstream: Upstream, dead: StdioSpec
) -> None:
    groups = (quick("dead", dead), quick("up", InProcessSpec(upstream.server.lowlevel)))
    async with (
        gateway(settings, *groups, limits=Limits(listing_seconds=0.5)) as (front, _),
        client(front, MODERN) as it,
    ):
        started = time.monotonic()
        tools = {tool.name for tool in (await it.list_tools()).tools}
        first = time.monotonic() - started
        await it.list_tools()
        await it.list_resources()
        second = time.monotonic() - started - first
        about = await it.read_resource("stoa://servers")
        result = await it.call_tool("dead_something", {})

    assert "up_echo" in tools
    assert first < 2
    assert second < 0.5
    assert state_of(about, "up")["state"] == "healthy"
    assert state_of(about, "dead")["state"] in ("starting", "stopped")
    assert result.is_error
    assert result.structured_content is not None
    assert (result.structured_content["code"], "stoa://servers" in text(result)) == ("unavailable", True)


async def test_a_server_that_answers_late_is_told_as_a_changed_list(settings: Settings, upstream: Upstream) -> None:
    groups = (quick("late", raw("modern")), quick("up", InProcessSpec(upstream.server.lowlevel)))
    every = Options(list_all=True)
    async with (
        gateway(settings, *groups, options=every, limits=Limits(listing_seconds=0)) as (front, _),
        client(front, MODERN) as it,
    ):
        with anyio.fail_after(30):
            async with it.listen(tools_list_changed=True) as news:
                names: set[str] = {tool.name for tool in (await it.list_tools()).tools}
                while not any(name.startswith("late_") for name in names):
                    await anext(aiter(news))
                    names = {tool.name for tool in (await it.list_tools()).tools}


async def test_tools_of_a_server_that_goes_away_stay_listed_and_say_so(settings: Settings) -> None:
    async with gateway(settings, quick("up", raw("modern"))) as (front, pool), client(front, MODERN) as it:
        before = [tool.name for tool in (await it.list_tools()).tools]
        with anyio.fail_after(30):
            await pool.reconfigure([quick("up", GONE)])
            after = [tool.name for tool in (await it.list_tools()).tools]
            result = await it.call_tool(before[0], {})
            about = state_of(await it.read_resource("stoa://servers"), "up")

    assert before == after
    assert result.is_error
    assert "no/such/command" in text(result)
    assert about["state"] != "healthy"
    assert "no/such/command" in about["reason"]
    assert about["replicas"][0]["since"].endswith("+00:00")


async def test_another_configuration_is_told_and_takes_effect(settings: Settings, upstream: Upstream) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    other = quick("new", InProcessSpec(Upstream(settings, "other").server.lowlevel))
    async with gateway(settings, up) as (front, pool), client(front, MODERN) as it:
        await it.list_tools()
        with anyio.fail_after(20):
            async with it.listen(tools_list_changed=True) as news:
                await pool.reconfigure([up, other])
                await anext(aiter(news))
                names = {tool.name for tool in (await it.list_tools()).tools}
                assert {"up_echo", "new_echo"} <= names
                await pool.reconfigure([other])
                while any(name.startswith("up_") for name in names):
                    await anext(aiter(news))
                    names = {tool.name for tool in (await it.list_tools()).tools}
            with pytest.raises(MCPError, match="Unknown tool"):
                await it.call_tool("up_echo", {"text": "x"})


async def test_a_client_of_the_handshake_era_is_told_of_another_configuration(
    settings: Settings, upstream: Upstream
) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    answers = Answers()
    async with gateway(settings, up) as (front, pool), client(front, HANDSHAKE, **answers.options()) as it:
        await it.list_tools()
        params = types.SubscribeRequestParams(uri="stoa://servers")
        await it.session.send_request(types.SubscribeRequest(params=params), types.EmptyResult)
        await pool.reconfigure([up, quick("new", InProcessSpec(Upstream(settings, "other").server.lowlevel))])
        for kind in (types.ToolListChangedNotification, types.ResourceUpdatedNotification):
            await until(lambda: any(isinstance(each, kind) for each in answers.news))  # noqa: B023  # used at once
        names = {tool.name for tool in (await it.list_tools()).tools}

    assert "new_echo" in names


@pytest.mark.parametrize("first", ERAS)
@pytest.mark.parametrize("era", ERAS)
async def test_a_group_may_have_members_of_both_eras(
    settings: Settings, upstream: Upstream, era: str, first: str
) -> None:
    old = Upstream(settings, "old")
    asked: list[str] = []
    used: list[int] = []
    async with behind(old.server, HANDSHAKE, settings) as theirs:
        members = [InProcessSpec(upstream.server.lowlevel), theirs]
        members = members if first == MODERN else members[::-1]
        async with (
            gateway(settings, quick("up", *members, max_in_flight=1)) as (front, pool),
            client(front, era, **Answers().options()) as it,
            anyio.create_task_group() as tasks,
        ):
            with anyio.fail_after(20):
                asked.append(text(await it.call_tool("up_ask_twice", {})))
                tasks.start_soon(it.call_tool, "up_wait")
                await until(lambda: upstream.waiting.is_set() or old.waiting.is_set())
                asked.append(text(await it.call_tool("up_ask_twice", {})))
            used = [each.calls for each in pool.stats().groups[0].replicas]
            tasks.cancel_scope.cancel()

    assert asked == ["Ada1 and Ada2", "Ada3 and Ada4"]
    assert all(used)


async def test_the_servers_resource_can_be_subscribed_to(settings: Settings, upstream: Upstream) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with gateway(settings, up) as (front, pool), client(front, MODERN) as it:
        await it.list_tools()
        with anyio.fail_after(20):
            async with it.listen(resource_subscriptions=["stoa://servers"]) as news:
                await pool.reconfigure([up, quick("new", GONE)])
                assert "stoa://servers" in str(await anext(aiter(news)))


async def test_one_server_alone_keeps_its_names(settings: Settings, upstream: Upstream) -> None:
    options = Options(servers=("up",), no_prefix=True, list_all=True)
    groups = (quick("up", InProcessSpec(upstream.server.lowlevel)), quick("other", GONE))
    async with gateway(settings, *groups, options=options) as (front, _), client(front, MODERN) as it:
        tools = {tool.name for tool in (await it.list_tools()).tools}
        prompts = [prompt.name for prompt in (await it.list_prompts()).prompts]
        result = await it.call_tool("echo", {"text": "x"})

    assert {"echo", "ask", "count"} <= tools
    assert prompts == ["greet"]
    assert result.structured_content == {"text": "x"}


async def test_one_server_alone_stays_alone_whatever_comes_beside_it(settings: Settings, upstream: Upstream) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    other = quick("new", InProcessSpec(Upstream(settings, "other").server.lowlevel))
    async with (
        gateway(settings, up, options=Options(no_prefix=True, list_all=True)) as (front, pool),
        client(front, MODERN) as it,
    ):
        before = [tool.name for tool in (await it.list_tools()).tools]
        await pool.reconfigure([other, up])
        await until(lambda: "new" in pool.servers)
        after = [tool.name for tool in (await it.list_tools()).tools]
        await it.call_tool("echo", {"text": "x"})

    assert before == after
    assert len(upstream.metas) == 1


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInput, match="--no-prefix is for one server"):
        Options(no_prefix=True).check(["a", "b"])
    with pytest.raises(NotFound, match=r"'contnt'.*'content'"):
        Options(servers=("contnt",)).check(["content"])
    Options(no_prefix=True).check(["a"])
    assert Options(servers=("c", "a")).chosen(["a", "b", "c"]) == ("a", "c")


async def test_a_result_that_fails_in_the_gateway_does_not_break_a_foreign_tools_schema(
    settings: Settings, upstream: Upstream
) -> None:
    foreign = quick("far", HttpSpec("http://127.0.0.1:9/mcp"), trusted=False)
    async with gateway(settings, foreign) as (front, pool), client(front, MODERN) as it:
        await pool.reconfigure([quick("far", InProcessSpec(upstream.server.lowlevel), trusted=False)])
        with anyio.fail_after(20):
            await until(lambda: front.offers.view.servers == ("far",))
            assert (await it.call_tool("far_echo", {"text": "x"})).structured_content == {"text": "x"}
            await pool.reconfigure([quick("far", GONE, trusted=False)])
            result = await it.call_tool("far_echo", {"text": "x"})

    assert result.is_error
    assert result.structured_content is None
    assert isinstance(result, types.CallToolResult)


async def test_a_gateway_can_stand_behind_a_gateway_and_no_circle_is_endless(
    settings: Settings, upstream: Upstream
) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with (
        gateway(settings, up) as (inner, _),
        gateway(settings, quick("in", InProcessSpec(inner.lowlevel))) as (outer, pool),
        client(outer, MODERN) as it,
    ):
        names = {tool.name for tool in (await it.list_tools()).tools}
        result = await it.call_tool("in_up_who", {})
        read = await it.read_resource("note://first")
        await pool.reconfigure([quick("in", InProcessSpec(outer.lowlevel))])
        with anyio.fail_after(20), pytest.raises(MCPError, match="passed through 5 servers"):
            await it.read_resource("note://first")

    assert "in_up_who" in names
    assert text(result) == "local of default, 1 hops"
    assert read.contents[0].text == "first of default"  # type: ignore[union-attr]  # it is text
