"""Arguments that a tool's schema marks go as headers, too: known before the first call, and mended when refused."""

from typing import Any

import pytest

from pool.wire.failures import Refusal
from stoa.principal import LOCAL
from tests.pool.puppets import Puppet, Puppets, group, open_puppets, tool

HEADER_MISMATCH = -32020


def regional(name: str, header: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": header}}}
    return tool(name, inputSchema=schema)


CALL = {"name": "read", "arguments": {"region": "Tōkyō", "other": 1}}


async def test_the_first_call_of_a_pool_has_them_already() -> None:
    puppets = Puppets()
    puppets.lists["tools"] = [regional("read", "Region")]
    async with open_puppets(puppets, [group()]) as pool:
        await pool.request("one", "tools/call", dict(CALL), principal=LOCAL)
    assert puppets.opened[0].headers == [{"Mcp-Param-Region": "=?base64?VMWNa3nFjQ==?="}]


async def test_a_server_that_wants_other_headers_is_asked_for_them_and_called_again() -> None:
    puppets = Puppets()
    puppets.lists["tools"] = [regional("read", "Region")]

    async def refuse_the_old(puppet: Puppet, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if puppet.headers[-1] != {"Mcp-Param-Area": "x"}:
            puppets.lists["tools"] = [regional("read", "Area")]
            raise Refusal(HEADER_MISMATCH, "another header, please")
        return {"content": []}

    puppets.answer = refuse_the_old
    async with open_puppets(puppets, [group()]) as pool:
        call = {"name": "read", "arguments": {"region": "x"}}
        passed = await pool.request("one", "tools/call", call, principal=LOCAL)
    assert passed.result == {"content": []}
    assert puppets.opened[0].headers == [{"Mcp-Param-Region": "x"}, {"Mcp-Param-Area": "x"}]


async def test_a_server_that_refuses_whatever_comes_is_asked_twice() -> None:
    puppets = Puppets()

    async def refuse(puppet: Puppet, method: str, params: dict[str, Any]) -> dict[str, Any]:
        raise Refusal(HEADER_MISMATCH, "never")

    puppets.answer = refuse
    async with open_puppets(puppets, [group()]) as pool:
        with pytest.raises(Refusal, match="never"):
            await pool.request("one", "tools/call", {"name": "read", "arguments": {}}, principal=LOCAL)
    assert len(puppets.opened[0].asked) == 2


async def test_a_tool_that_is_not_listed_is_passed_on_all_the_same() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group()]) as pool:
        await pool.request("one", "tools/call", {"name": "hidden", "arguments": {}}, principal=LOCAL)
    assert puppets.opened[0].headers == [None]
