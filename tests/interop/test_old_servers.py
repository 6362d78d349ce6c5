"""The pool uses servers written with the SDK before 2.0, over every transport that they have."""

import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import JsonValue

from pool.pool import Pool
from pool.spec import GroupSpec, HttpSpec, MemberSpec, SseSpec, StdioSpec
from pool.wire.asker import Asker
from stoa.errors import StoaError
from stoa.principal import LOCAL
from stoa.tools import ToolCall, ToolRef, ToolResult
from tests.conformance.process import free_port, server_environment, serving

pytestmark = pytest.mark.slow

SERVER = Path(__file__).parent / "old" / "server.py"
WAYS = ("stdio", "http", "stateless", "sse")
WITH_A_WAY_BACK = ("stdio", "http", "sse")
"""A server without sessions cannot tell which call an answer belongs to, and waits for it in vain; so the call does."""


@asynccontextmanager
async def pool_of(way: str, python: str, folder: Path) -> AsyncGenerator[Pool]:
    """A pool with one old server, which is started beside it unless the pool starts it."""
    if way == "stdio":
        async with _pool(StdioSpec(python, (str(SERVER), "stdio"))) as pool:
            yield pool
        return
    port = free_port()
    command = (python, str(SERVER), way, str(port))
    environment = server_environment(folder / "home")
    async with serving(command, port=port, environment=environment, log=folder / "old.log"):
        address = f"http://127.0.0.1:{port}"
        member = SseSpec(f"{address}/sse") if way == "sse" else HttpSpec(f"{address}/mcp")
        async with _pool(member) as pool:
            yield pool


@asynccontextmanager
async def _pool(member: MemberSpec) -> AsyncGenerator[Pool]:
    with anyio.fail_after(60):
        async with Pool([GroupSpec("old", (member,))], internal_key=None) as pool:
            yield pool


async def call(pool: Pool, tool: str, /, **arguments: JsonValue) -> ToolResult:
    return (await pool.call(ToolCall(ToolRef("old", tool), arguments), principal=LOCAL)).result


async def ask(pool: Pool, tool: str, asker: Asker) -> Mapping[str, Any]:
    params: dict[str, JsonValue] = {"name": tool, "arguments": {}}
    return (await pool.request("old", "tools/call", params, principal=LOCAL, asker=asker)).result


async def answer(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    match method:
        case "elicitation/create":
            return {"action": "accept", "content": dict.fromkeys(params["requestedSchema"]["properties"], "Zeno")}
        case "sampling/createMessage":
            return {"role": "assistant", "model": "none", "content": {"type": "text", "text": "of a porch"}}
        case _:
            return {"roots": [{"uri": "file:///work"}]}


async def there(path: Path) -> bool:
    seen = anyio.Path(path)
    with anyio.move_on_after(10):
        while not await seen.exists():  # noqa: ASYNC110 - another process sets no event
            await anyio.sleep(0.02)
    return await seen.exists()


@pytest.mark.parametrize("way", WAYS)
async def test_tools_are_listed_and_called_and_tell_their_failures(old_python: str, tmp_path: Path, way: str) -> None:
    async with pool_of(way, old_python, tmp_path) as pool:
        found = await pool.tools("old")
        assert not found.unreachable
        assert "add" in {tool.ref.tool for tool in found.tools}
        added = await call(pool, "add", a=2, b=3)
        assert (added.text, added.structured) == ("5", {"result": 5})
        failed = await call(pool, "fail")
        assert failed.is_error
        assert "on purpose" in failed.text


@pytest.mark.parametrize("way", WAYS)
async def test_many_calls_at_once_do_not_mix(old_python: str, tmp_path: Path, way: str) -> None:
    sums: dict[int, str] = {}
    async with pool_of(way, old_python, tmp_path) as pool:

        async def add(number: int) -> None:
            sums[number] = (await call(pool, "add", a=number, b=1000)).text

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(add, number)
    assert sums == {number: str(number + 1000) for number in range(50)}


@pytest.mark.parametrize("way", WAYS)
async def test_progress_arrives(old_python: str, tmp_path: Path, way: str) -> None:
    steps: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        steps.append((done, total, message))

    async with pool_of(way, old_python, tmp_path) as pool:
        served = await pool.call(ToolCall(ToolRef("old", "count"), {}), principal=LOCAL, progress=progress)
    assert served.result.text == "counted"
    assert steps == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]


@pytest.mark.parametrize("way", WAYS)
async def test_resources_prompts_and_completion(old_python: str, tmp_path: Path, way: str) -> None:
    async with pool_of(way, old_python, tmp_path) as pool:
        (text,) = await pool.read_resource("old", "old://text", principal=LOCAL)
        (item,) = await pool.read_resource("old", "old://item/7", principal=LOCAL)
        assert (text.text, item.text) == ("an old text", "item 7")
        words = await pool.complete("old", "old://item/{number}", "number", "sto", principal=LOCAL)
        assert words == ("stoa", "stone")
        prompt = {"name": "ask_about", "arguments": {"topic": "porches"}}
        passed = await pool.request("old", "prompts/get", prompt, principal=LOCAL)
        assert passed.result["messages"][0]["content"]["text"] == "What about porches?"
        offer = await pool.offer("old")
        assert [each["name"] for each in offer.prompts] == ["ask_about"]
        assert [each["uriTemplate"] for each in offer.templates] == ["old://item/{number}"]


@pytest.mark.parametrize("way", WITH_A_WAY_BACK)
async def test_a_tool_asks_the_client_back(old_python: str, tmp_path: Path, way: str) -> None:
    logged: list[Any] = []

    async def notice(method: str, params: Mapping[str, Any]) -> None:
        if method == "notifications/message":
            logged.append(params["data"])

    capabilities: dict[str, JsonValue] = {"elicitation": {}, "sampling": {}, "roots": {}}
    asker = Asker(key="user", capabilities=capabilities, answer=answer, notice=notice)
    async with pool_of(way, old_python, tmp_path) as pool:
        assert (await ask(pool, "greet", asker))["content"][0]["text"] == "Hello Zeno"
        assert (await ask(pool, "think", asker))["content"][0]["text"] == "thought: of a porch"
        assert (await ask(pool, "roots", asker))["content"][0]["text"] == "file:///work"
        await ask(pool, "count", asker)
    assert logged == ["counted"]


@pytest.mark.parametrize("way", WITH_A_WAY_BACK)
async def test_a_tool_that_cannot_ask_fails_and_does_not_hang(old_python: str, tmp_path: Path, way: str) -> None:
    async with pool_of(way, old_python, tmp_path) as pool:
        with anyio.fail_after(20):
            assert (await call(pool, "greet")).is_error
        assert (await call(pool, "add", a=1, b=1)).text == "2"


@pytest.mark.parametrize("way", WITH_A_WAY_BACK)
async def test_a_call_given_up_is_cancelled_at_the_server(old_python: str, tmp_path: Path, way: str) -> None:
    mark = tmp_path / "mark"
    async with pool_of(way, old_python, tmp_path) as pool:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: call(pool, "wait", mark=str(mark)))
            assert await there(mark.with_name("mark.begun"))
            tasks.cancel_scope.cancel()
        assert await there(mark)
        assert (await call(pool, "add", a=1, b=1)).text == "2"


@pytest.mark.parametrize("way", WITH_A_WAY_BACK)
async def test_a_new_tool_is_seen(old_python: str, tmp_path: Path, way: str) -> None:
    async with pool_of(way, old_python, tmp_path) as pool:
        assert len((await pool.tools("old")).tools) == 8
        await call(pool, "grow")
        with anyio.move_on_after(10):
            while len((await pool.tools("old")).tools) == 8:  # noqa: ASYNC110 - told by a notification on its way
                await anyio.sleep(0.05)
        assert (await call(pool, "grown")).text == "new"


async def test_a_session_that_the_server_has_forgotten_is_opened_anew(old_python: str, tmp_path: Path) -> None:
    """The server is started again on the same port: it no longer knows the session, and says 404."""
    port = free_port()
    command = (old_python, str(SERVER), "http", str(port))
    environment = server_environment(tmp_path / "home")
    with anyio.fail_after(60):
        async with Pool([GroupSpec("old", (HttpSpec(f"http://127.0.0.1:{port}/mcp"),))], internal_key=None) as pool:
            for _ in range(2):
                async with serving(command, port=port, environment=environment, log=tmp_path / "old.log"):
                    assert await _added(pool) == "5"


async def _added(pool: Pool) -> str:
    """The first call after the server was gone may find it still ejected; it is told when to come back."""
    give_up_at = anyio.current_time() + 20
    wait = 0.05
    while True:
        try:
            return (await call(pool, "add", a=2, b=3)).text
        except StoaError as error:
            if anyio.current_time() > give_up_at:
                raise
            await anyio.sleep(min(wait, 1, getattr(error, "retry_after", None) or math.inf))
