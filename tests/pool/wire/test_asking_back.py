"""What servers of the handshake era ask back and tell comes to the client whose call it belongs to, or to nobody."""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from pool.spec import HttpSpec, MemberSpec, SseSpec, StdioSpec
from pool.wire.asker import Asker
from pool.wire.connection import ACKNOWLEDGED, Connection
from pool.wire.failures import Lost, Refusal
from pool.wire.question import OnNotice
from tests.pool.stage import SERVERS, load, served, until
from tests.pool.wire.lab import connected


@pytest.fixture(params=["stdio", "http", "sse"])
async def member(request: pytest.FixtureRequest) -> AsyncGenerator[MemberSpec]:
    async with AsyncExitStack() as stack:
        if request.param == "stdio":
            yield StdioSpec(sys.executable, (str(SERVERS / "asking.py"),))
        elif request.param == "http":
            app = load("legacy_http").only_legacy(load("asking").build().streamable_http_app())
            yield HttpSpec(f"http://{await stack.enter_async_context(served(app))}/mcp")
        else:
            app = load("asking").sse_app()
            yield SseSpec(f"http://{await stack.enter_async_context(served(app))}/sse")


class Client:
    """One that says who it is, and hears what is told."""

    def __init__(self, key: str) -> None:
        self.asked: list[str] = []
        self.told: list[Any] = []
        self.asker = Asker(key=key, answer=self.answer, notice=self.notice)

    async def answer(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(method)
        if params.get("message") != "Who is it?":
            raise Refusal(-32602, "nobody asked that")
        return {"action": "accept", "content": {"name": self.asker.key}}

    async def notice(self, method: str, params: Mapping[str, Any]) -> None:
        self.told.append((method, params.get("data")))


async def say(connection: Connection, tool: str, asker: Asker | None = None) -> str:
    params: dict[str, Any] = {"name": tool, "arguments": {}}
    result = await connection.request("tools/call", params, asker=asker or Asker(key=""))
    return result["content"][0]["text"]


async def test_a_question_is_answered_by_the_client_behind_the_call(member: MemberSpec) -> None:
    ann, bob = Client("ann"), Client("bob")
    async with connected(member) as one:
        assert not one.is_modern
        assert await say(one, "ask_name", ann.asker) == "accept {'name': 'ann'}"
        assert await say(one, "ask_name", bob.asker) == "accept {'name': 'bob'}"
    assert ann.asked == bob.asked == ["elicitation/create"]


async def test_a_question_that_nobody_can_answer_is_refused_with_the_reason(member: MemberSpec) -> None:
    async with connected(member) as one:
        assert "nobody behind the call" in await say(one, "ask_name")


async def test_a_log_message_comes_to_the_client_behind_the_call(member: MemberSpec) -> None:
    ann = Client("ann")
    async with connected(member) as one:
        assert await say(one, "log", ann.asker) == "log"
    assert ann.told == [("notifications/message", "hello")]


async def test_with_calls_of_two_clients_only_a_stream_of_its_own_tells_whose_question_it_is(
    member: MemberSpec,
) -> None:
    ann, bob = Client("ann"), Client("bob")
    async with connected(member) as one, anyio.create_task_group() as tasks:
        tasks.start_soon(say, one, "wait", bob.asker)
        said = await say(one, "ask_name", ann.asker)
        await say(one, "log", ann.asker)
        if isinstance(member, HttpSpec):
            assert said == "accept {'name': 'ann'}"
            assert ann.told == [("notifications/message", "hello")]
        else:
            assert "cannot be told whose call" in said
            assert ann.told == []
        tasks.cancel_scope.cancel()
    assert bob.asked == bob.told == []


async def test_resources_are_subscribed_to_for_as_long_as_anybody_listens(member: MemberSpec) -> None:
    heard: list[tuple[str, str]] = []
    begun: list[tuple[str, str]] = []

    def listener(name: str) -> OnNotice:
        def hear(method: str, params: Mapping[str, Any]) -> None:
            (begun if method == ACKNOWLEDGED else heard).append((name, str(params.get("uri", method))))

        return hear

    async with connected(member) as one, anyio.create_task_group() as tasks:

        async def listen(name: str, scope: anyio.CancelScope, *uris: str) -> None:
            with scope:
                await one.listen(
                    filter={"resourceSubscriptions": uris and list(uris)}, meta={}, on_notice=listener(name)
                )

        scopes = [anyio.CancelScope() for _ in range(3)]
        tasks.start_soon(listen, "a", scopes[0], "test://one")
        tasks.start_soon(listen, "b", scopes[1], "test://one", "test://two")
        tasks.start_soon(listen, "c", scopes[2], "test://two")
        for _ in range(100):
            if await say(one, "subscribed") == "test://one,test://two":
                break
        await until(lambda: len(one._subscribed) == 2)  # pyright: ignore[reportPrivateUsage]
        await say(one, "touch")
        await until(lambda: len(heard) == 2)
        assert sorted(heard) == [("a", "test://one"), ("b", "test://one")]
        assert sorted(name for name, _ in begun) == ["a", "b", "c"]
        scopes[0].cancel()
        assert await say(one, "subscribed") == "test://one,test://two"
        scopes[1].cancel()
        await until(lambda: "test://one" not in one._subscribed)  # pyright: ignore[reportPrivateUsage]
        assert await say(one, "subscribed") == "test://two"
        tasks.cancel_scope.cancel()


async def test_a_listener_is_told_when_the_connection_is_lost() -> None:
    spec = StdioSpec(sys.executable, (str(SERVERS / "asking.py"),))
    async with connected(spec) as one, anyio.create_task_group() as tasks:
        assert one.pid is not None
        tasks.start_soon(_kill, one.pid)
        with pytest.raises(Lost, match="ended by signal 9"):
            await one.listen(filter={"toolsListChanged": True}, meta={}, on_notice=lambda method, params: None)


async def _kill(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)
