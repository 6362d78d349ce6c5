"""Every feature in each of the four pairs of eras: the table of `docs/gateway.md`, a cell a test."""

from functools import partial
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import MCPError

from stoa.settings import Settings
from tests.gateway.stage import MODERN, Answers, passed
from tests.gateway.upstream import Upstream
from tests.pool.stage import until


def text(result: Any) -> str:
    return result.content[0].text


async def test_tools_are_listed_and_called(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings) as (client, _):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        result = await client.call_tool("up_echo", {"text": "hello"})

    assert "up_echo" in tools
    assert tools["up_echo"].output_schema is not None
    assert result.structured_content == {"text": "hello"}


async def test_a_tools_own_failure_comes_back_as_it_is(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings) as (client, _):
        result = await client.call_tool("up_fail", {})

    assert result.is_error
    assert "12345" not in text(result)


async def test_an_unknown_tool_is_told_with_what_is_near(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings) as (client, _):
        with pytest.raises(MCPError, match="up_echo") as caught:
            await client.call_tool("up_ecko", {})

    assert caught.value.error.code == types.INVALID_PARAMS


async def test_prompts_are_listed_and_got(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings) as (client, _):
        prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
        got = await client.get_prompt("up_greet", {"name": "Ada"})

    assert prompts == ["up_greet"]
    assert got.messages[0].content.text == "Say hello to Ada."  # type: ignore[union-attr]  # it is text


async def test_resources_keep_their_addresses(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings) as (client, _):
        listed = [str(resource.uri) for resource in (await client.list_resources()).resources]
        templates = [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
        first = await client.read_resource("note://first")
        ninth = await client.read_resource("note://9")

    assert listed == ["stoa://servers", "note://first"]
    assert templates == ["note://{id}"]
    assert first.contents[0].text == "first of default"  # type: ignore[union-attr]  # it is text
    assert ninth.contents[0].text == "note 9"  # type: ignore[union-attr]


async def test_an_unknown_resource_is_told(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings) as (client, _):
        with pytest.raises(MCPError) as caught:
            await client.read_resource("note://a/b/c")

    assert caught.value.error.code == types.INVALID_PARAMS


async def test_arguments_are_completed(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings) as (client, _):
        template = types.ResourceTemplateReference(type="ref/resource", uri="note://{id}")
        prompt = types.PromptReference(type="ref/prompt", name="up_greet")
        of_template = await client.complete(template, {"name": "id", "value": "s"})
        of_prompt = await client.complete(prompt, {"name": "name", "value": "f"})
        of_nothing = await client.complete(
            types.PromptReference(type="ref/prompt", name="nothing"), {"name": "name", "value": "f"}
        )

    assert of_template.completion.values == ["second"]
    assert of_prompt.completion.values == ["first"]
    assert of_nothing.completion.values == []


async def test_progress_is_told_to_whoever_asked(upstream: Upstream, settings: Settings, pair: str) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with passed(upstream.server, pair, settings) as (client, _):
        result = await client.call_tool("up_count", {"to": 3}, progress_callback=tell)

    assert text(result) == "counted"
    assert heard == [(1.0, 3.0, "step 1"), (2.0, 3.0, "step 2"), (3.0, 3.0, "step 3")]


async def test_cancelling_reaches_the_server(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings, **Answers().options()) as (client, _):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(client.call_tool, "up_wait"))
            with anyio.fail_after(10):
                await upstream.waiting.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(10):
            await upstream.cancelled.wait()


async def test_the_user_is_asked(upstream: Upstream, settings: Settings, pair: str) -> None:
    answers = Answers()
    async with passed(upstream.server, pair, settings, **answers.options()) as (client, front):
        result = await client.call_tool("up_ask", {})
        assert len(front.suspended) == 0

    assert text(result) == "accept Ada1"
    assert [asked.message for asked in answers.asked] == ["Who are you?"]


async def test_the_user_is_asked_several_times(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings, **Answers().options()) as (client, _):
        result = await client.call_tool("up_ask_twice", {})

    assert text(result) == "Ada1 and Ada2"


async def test_the_clients_model_is_asked(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings, **Answers().options()) as (client, _):
        result = await client.call_tool("up_sample", {})

    assert text(result) == "Ada: written"


async def test_the_clients_roots_are_asked_for(upstream: Upstream, settings: Settings, pair: str) -> None:
    async with passed(upstream.server, pair, settings, **Answers().options()) as (client, _):
        result = await client.call_tool("up_roots", {})

    assert text(result) == "file:///Ada"


async def test_for_a_client_that_cannot_be_asked_the_call_fails_with_the_reason(
    upstream: Upstream, settings: Settings, pair: str
) -> None:
    said = ""
    async with passed(upstream.server, pair, settings) as (client, _):
        try:
            result = await client.session.call_tool("up_ask", {}, allow_input_required=True)
            if pair == f"{MODERN} client, {MODERN} server":
                # What a client cannot do is between it and its server.
                assert isinstance(result, types.InputRequiredResult)
                return
            assert isinstance(result, types.CallToolResult)
            assert result.is_error
            said = text(result)
        except MCPError as error:  # a server of the handshake era that is refused fails as it likes
            said = error.error.message
    assert "not declared the capability 'elicitation'" in said


async def test_log_messages_come_at_the_level_that_the_client_wants(
    upstream: Upstream, settings: Settings, pair: str
) -> None:
    answers = Answers()
    modern: dict[str, Any] = {"log_level": "warning"} if pair.startswith(MODERN) else {}
    async with passed(upstream.server, pair, settings, **answers.options(), **modern) as (client, _):
        if not modern:
            await client.session.send_request(
                types.SetLevelRequest(params=types.SetLevelRequestParams(level="warning")), types.EmptyResult
            )
        assert text(await client.call_tool("up_tell", {})) == "told"
        await until(lambda: bool(answers.heard))

    assert [message.level for message in answers.heard] == ["warning"]


async def test_a_modern_client_that_wants_no_log_gets_none(upstream: Upstream, settings: Settings, pair: str) -> None:
    answers = Answers()
    async with passed(upstream.server, pair, settings, **answers.options()) as (client, _):
        assert text(await client.call_tool("up_tell", {})) == "told"

    assert [message.level for message in answers.heard] == ([] if pair.startswith(MODERN) else ["warning"])


async def test_changed_lists_are_told(upstream: Upstream, settings: Settings, pair: str) -> None:
    answers = Answers()
    async with passed(upstream.server, pair, settings, **answers.options()) as (client, _):
        before = {tool.name for tool in (await client.list_tools()).tools}
        with anyio.fail_after(20):
            if pair.startswith(MODERN):
                async with client.listen(tools_list_changed=True) as news:
                    await client.call_tool("up_grow", {})
                    await anext(aiter(news))
            else:
                await client.call_tool("up_grow", {})
                await until(lambda: any(isinstance(n, types.ToolListChangedNotification) for n in answers.news))
            after = {tool.name for tool in (await client.list_tools()).tools}

    assert after - before == {"up_grown"}


async def test_changes_of_a_resource_are_told_to_whoever_subscribed(
    upstream: Upstream, settings: Settings, pair: str
) -> None:
    answers = Answers()
    async with passed(upstream.server, pair, settings, **answers.options()) as (client, _):
        with anyio.fail_after(20):
            if pair.startswith(MODERN):
                async with client.listen(resource_subscriptions=["note://first"]) as news:
                    await client.call_tool("up_change", {"id": "second"})
                    await client.call_tool("up_change", {"id": "first"})
                    assert "note://first" in str(await anext(aiter(news)))
            else:
                await client.session.send_request(
                    types.SubscribeRequest(params=types.SubscribeRequestParams(uri="note://first")), types.EmptyResult
                )
                await client.call_tool("up_change", {"id": "second"})
                await client.call_tool("up_change", {"id": "first"})
                await until(lambda: any(isinstance(n, types.ResourceUpdatedNotification) for n in answers.news))
                told = [n for n in answers.news if isinstance(n, types.ResourceUpdatedNotification)]
                assert [str(each.params.uri) for each in told] == ["note://first"]
                await client.session.send_request(
                    types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri="note://first")),
                    types.EmptyResult,
                )


async def test_what_the_client_says_in_meta_goes_on_and_our_own_keys_do_not(
    upstream: Upstream, settings: Settings, pair: str
) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with passed(upstream.server, pair, settings) as (client, _):
        await client.call_tool("up_echo", {"text": "x"}, meta={"example.org/key": 7, "traceparent": parent})

    (meta,) = upstream.metas
    assert meta["example.org/key"] == 7
    assert meta["traceparent"].split("-")[1] == parent.split("-")[1]
