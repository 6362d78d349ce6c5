"""Calls that wait in a server of the handshake era while their 2026-07-28 client is away."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError

from gateway.options import Limits
from gateway.patience import Patience
from gateway.server import Gateway
from gateway.suspended import Held, Owner, Suspended
from pool.wire.failures import Refusal
from stoa.settings import Settings
from tests.gateway.stage import HANDSHAKE, MODERN, Answers, behind, client, gateway, passed
from tests.gateway.upstream import Upstream
from tests.pool.stage import quick, until

PAIR = f"{MODERN} client, {HANDSHAKE} server"


@asynccontextmanager
async def asking(
    upstream: Upstream, settings: Settings, limits: Limits | None = None
) -> AsyncGenerator[tuple[Client, Gateway]]:
    async with passed(upstream.server, PAIR, settings, limits=limits, **Answers().options()) as found:
        yield found


async def ask(client: Client, state: str | None = None, **responses: Any) -> Any:
    return await client.session.call_tool(
        "up_ask",
        {},
        input_responses=responses or None,
        request_state=state,
        allow_input_required=True,
    )


def yes(name: str) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": name})


async def test_the_question_comes_as_the_new_era_writes_it(upstream: Upstream, settings: Settings) -> None:
    async with asking(upstream, settings) as (client, front):
        result = await ask(client)
        assert len(front.suspended) == 1
        ((key, request),) = result.input_requests.items()
        done = await ask(client, result.request_state, **{key: yes("Eve")})

    assert request.method == "elicitation/create"
    assert request.params.message == "Who are you?"
    assert done.content[0].text == "accept Eve"


async def test_a_handle_is_good_once(upstream: Upstream, settings: Settings) -> None:
    async with asking(upstream, settings) as (client, _):
        result = await ask(client)
        (key,) = result.input_requests
        await ask(client, result.request_state, **{key: yes("Eve")})
        again = await ask(client, result.request_state, **{key: yes("Eve")})

    assert again.is_error
    assert "no longer open" in again.content[0].text


async def test_a_handle_is_good_for_its_own_request_only(upstream: Upstream, settings: Settings) -> None:
    async with asking(upstream, settings) as (client, _):
        result = await ask(client)
        other = await client.session.call_tool("up_echo", {"text": "x"}, request_state=result.request_state)
        (key,) = result.input_requests
        mine = await ask(client, result.request_state, **{key: yes("Eve")})

    assert other.is_error
    assert mine.content[0].text == "accept Eve"


async def test_who_brings_no_answer_is_asked_again(upstream: Upstream, settings: Settings) -> None:
    async with asking(upstream, settings) as (client, _):
        first = await ask(client)
        second = await ask(client, first.request_state, other=yes("Eve"))
        (key,) = second.input_requests
        done = await ask(client, second.request_state, **{key: yes("Eve")})

    assert first.request_state != second.request_state
    assert done.content[0].text == "accept Eve"


async def test_a_question_that_nobody_answers_ends_the_call(upstream: Upstream, settings: Settings) -> None:
    async with asking(upstream, settings, Limits(answer_seconds=0.1)) as (client, front):
        result = await ask(client)
        await until(lambda: len(front.suspended) == 0)
        (key,) = result.input_requests
        late = await ask(client, result.request_state, **{key: yes("Eve")})

    assert "no longer open" in late.content[0].text


async def test_only_so_many_calls_wait_for_one_caller(upstream: Upstream, settings: Settings) -> None:
    async with asking(upstream, settings, Limits(max_held_each=2)) as (client, front):
        first = await ask(client)
        await ask(client)
        with pytest.raises(MCPError, match="Too many calls wait"):
            await ask(client)
        assert len(front.suspended) == 2
        (key,) = first.input_requests
        done = await ask(client, first.request_state, **{key: yes("Eve")})

    assert done.content[0].text == "accept Eve"


async def test_of_many_that_ask_at_the_same_moment_no_more_wait() -> None:
    def check(method: str, params: object) -> None:
        """It can be asked anything."""

    asker: Any = SimpleNamespace(check=check)
    owner = Owner("acme", "ann", "tools/call", "up.ask")
    refused: list[str] = []

    async def run(held: Held) -> dict[str, Any]:
        return await held.answer("roots/list", {})

    async with anyio.create_task_group() as calls:
        suspended = Suspended(lambda: calls, Limits(max_held_each=3))

        async def one() -> None:
            try:
                await suspended.begin(owner, asker, run, patience=Patience(60, answer_seconds=60))
            except Refusal as refusal:
                refused.append(refusal.message)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(one)
        assert len(suspended) == 3
        assert refused == ["Too many calls wait for their clients already."] * 7
        calls.cancel_scope.cancel()


async def test_a_client_that_leaves_for_good_ends_the_call(upstream: Upstream, settings: Settings) -> None:
    async with asking(upstream, settings) as (client, front):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(client.call_tool, "up_wait"))
            with anyio.fail_after(10):
                await upstream.waiting.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(10):
            await upstream.cancelled.wait()
        assert len(front.suspended) == 0


async def test_calls_end_with_the_gateway(upstream: Upstream, settings: Settings) -> None:
    async with behind(upstream.server, HANDSHAKE, settings) as member, gateway(settings, quick("up", member)) as found:
        async with client(found[0], MODERN, **Answers().options()) as it:
            await ask(it)
            assert len(found[0].suspended) == 1
        assert len(found[0].suspended) == 0
