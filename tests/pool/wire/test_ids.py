"""Which answer belongs to which request, when a server is careless or malicious with ids."""

import sys

import pytest

from pool.spec import StdioSpec
from tests.pool.stage import SERVERS
from tests.pool.wire.lab import connected


@pytest.mark.parametrize("kind", ["number", "float", "text"])
async def test_the_first_answer_that_names_the_request_counts(kind: str) -> None:
    async with connected(StdioSpec(sys.executable, ("-S", "-E", str(SERVERS / "ids.py")))) as one:
        for _ in range(3):
            result = await one.request("tools/call", {"name": kind})
            assert result["content"][0]["text"] == "right"
