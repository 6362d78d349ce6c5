"""Which answer belongs to which request, when a server is careless or malicious with ids."""

import sys

import anyio
import pytest

from pool.spec import StdioSpec
from pool.wire.failures import Lost
from tests.pool.stage import SERVERS
from tests.pool.wire.lab import connected


@pytest.mark.parametrize("kind", ["number", "float", "text"])
async def test_the_first_answer_that_names_the_request_counts(kind: str) -> None:
    async with connected(StdioSpec(sys.executable, ("-S", "-E", str(SERVERS / "ids.py")))) as one:
        for _ in range(3):
            result = await one.request("tools/call", {"name": kind})
            assert result["content"][0]["text"] == "right"


async def test_an_answer_that_is_none_is_told_at_once_and_costs_its_own_call_only() -> None:
    async with connected(StdioSpec(sys.executable, ("-S", "-E", str(SERVERS / "ids.py")))) as one:
        with anyio.fail_after(2), pytest.raises(Lost, match="neither a result nor an error") as caught:
            await one.request("tools/call", {"name": "neither"})
        assert (caught.value.sent, caught.value.is_final) == (True, False)
        assert (await one.request("tools/call", {"name": "number"}))["content"]
