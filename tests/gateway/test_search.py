"""Too many tools to show: they are found, described and called by three others."""

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
from mcp import MCPError

from gateway.options import Options
from pool.spec import InProcessSpec
from stoa.settings import Settings
from tests.gateway.stage import ERAS, MODERN, Answers, client, gateway
from tests.gateway.upstream import Upstream
from tests.pool.stage import quick, until

FEW = Options(search_above=3, pinned=("up_who",))


@pytest.mark.parametrize("era", ERAS)
async def test_above_the_threshold_a_search_and_the_pinned_tools_are_listed(
    settings: Settings, upstream: Upstream, era: str
) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with gateway(settings, up, options=FEW) as (front, _), client(front, era) as it:
        tools = (await it.list_tools()).tools

    assert [tool.name for tool in tools] == ["search_tools", "describe_tool", "call_tool", "up_who"]
    hints = {tool.name: tool.annotations for tool in tools}
    assert hints["search_tools"] is not None
    assert hints["search_tools"].read_only_hint
    assert hints["call_tool"] is not None
    assert hints["call_tool"].destructive_hint


async def test_a_tool_is_found_described_and_called(settings: Settings, upstream: Upstream) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    answers = Answers()
    async with gateway(settings, up, options=FEW) as (front, _), client(front, MODERN, **answers.options()) as it:
        found = await it.call_tool("search_tools", {"query": "ask the user for a name", "limit": 2})
        described = await it.call_tool("describe_tool", {"name": "up_echo"})
        called = await it.call_tool("call_tool", {"name": "up_echo", "arguments": {"text": "x"}})
        asked = await it.call_tool("call_tool", {"name": "up_ask"})
        direct = await it.call_tool("up_echo", {"text": "y"})

    names = [tool["name"] for tool in _structured(found)["tools"]]
    assert len(names) == 2
    assert "up_ask" in names
    assert json.loads(found.content[0].text) == found.structured_content  # type: ignore[union-attr]  # it is text
    assert _structured(described)["inputSchema"]["required"] == ["text"]
    assert _structured(described)["server"] == "up"
    assert called.structured_content == {"text": "x"}
    assert asked.content[0].text == "accept Ada1"  # type: ignore[union-attr]
    assert direct.structured_content == {"text": "y"}


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("search_tools", {}, "'query' is missing"),
        ("search_tools", {"query": "x", "limit": 0}, "from 1 to 50"),
        ("search_tools", {"query": "x", "server": "nobody"}, "There are: up"),
        ("search_tools", {"query": "x", "server": ["up"]}, "There are: up"),
        ("search_tools", {"query": "x", "limit": True}, "from 1 to 50"),
        ("search_tools", {"query": "x", "limit": "5"}, "from 1 to 50"),
        ("search_tools", {"query": ["x"]}, "'query' is missing"),
        ("describe_tool", {}, "'name' is missing"),
        ("describe_tool", {"name": "search_tools"}, "Unknown tool"),
        ("describe_tool", {"name": "up_ecko"}, "Did you mean up_echo"),
        ("call_tool", {"arguments": {}}, "'name' is missing"),
        ("call_tool", {"name": "up_echo", "arguments": "text"}, "has to be an object"),
    ],
)
async def test_wrong_arguments_are_told_to_the_model(
    settings: Settings, upstream: Upstream, tool: str, arguments: dict[str, Any], said: str
) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with gateway(settings, up, options=FEW) as (front, _), client(front, MODERN) as it:
        await it.list_tools()
        result = await it.call_tool(tool, arguments)

    assert result.is_error
    assert said in result.content[0].text  # type: ignore[union-attr]  # it is text


@pytest.mark.parametrize("name", ["call_tool", "up_ecko", ""])
async def test_a_call_of_no_tool_is_told(settings: Settings, upstream: Upstream, name: str) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with gateway(settings, up, options=FEW) as (front, _), client(front, MODERN) as it:
        await it.list_tools()
        try:
            said = (await it.call_tool("call_tool", {"name": name, "arguments": {}})).content[0].text  # type: ignore[union-attr]
        except MCPError as error:
            said = error.error.message

    assert "Unknown tool" in said or "is missing" in said


async def test_below_the_threshold_there_is_no_search(settings: Settings, upstream: Upstream) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with gateway(settings, up) as (front, _), client(front, MODERN) as it:
        assert "search_tools" not in {tool.name for tool in (await it.list_tools()).tools}
        with pytest.raises(MCPError, match="Unknown tool: 'search_tools'"):
            await it.call_tool("search_tools", {"query": "x"})


async def test_with_list_all_everything_is_listed(settings: Settings, upstream: Upstream) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    options = Options(list_all=True, search_above=0)
    async with gateway(settings, up, options=options) as (front, _), client(front, MODERN) as it:
        names = {tool.name for tool in (await it.list_tools()).tools}

    assert "up_echo" in names
    assert "search_tools" not in names


def _structured(result: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", result.structured_content)


class Slow:
    """An embedder that knows two meanings; `made` is how many texts it was given."""

    name = "slow"
    dimension = 2

    def __init__(self) -> None:
        self.made = 0

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.made += len(texts)
        return [(1.0, 0.0) if "workplace" in text or "roots" in text else (0.0, 1.0) for text in texts]


async def test_meaning_helps_as_soon_as_there_are_vectors(settings: Settings, upstream: Upstream) -> None:
    pytest.importorskip("numpy")
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    embedder = Slow()
    async with gateway(settings, up, options=FEW, embedder=embedder) as (front, _), client(front, MODERN) as it:
        await it.call_tool("search_tools", {"query": "workplace"})
        await until(lambda: embedder.made >= 12)
        found = await it.call_tool("search_tools", {"query": "workplace", "limit": 1})

    assert _structured(found)["tools"][0]["name"] == "up_roots"


async def test_a_pinned_tool_that_there_is_not_is_told_to_whoever_started_the_gateway(
    settings: Settings, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    options = Options(pinned=("up_who", "up_ecko"))
    async with gateway(settings, up, options=options) as (front, _), client(front, MODERN):
        await until(lambda: "up_ecko" in caplog.text)
    assert "'up_ecko' is not among the tools. Did you mean 'up_echo'" in caplog.text
    assert "'up_who' is not" not in caplog.text
