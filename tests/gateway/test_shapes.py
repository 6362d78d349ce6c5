"""Results on their way from one era to the other."""

from typing import Any

from gateway.shapes import for_client, listed_tool

STAMP = {"name": "stoa", "version": "1"}


def passed(result: dict[str, Any], method: str = "tools/call", *, is_modern: bool) -> dict[str, Any]:
    return for_client(result, method, is_modern=is_modern, stamp=STAMP)


def test_a_result_of_the_handshake_era_gets_what_the_new_one_needs() -> None:
    result = passed({"contents": [], "_meta": {"a": 1}}, "resources/read", is_modern=True)

    assert result == {
        "contents": [],
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"a": 1, "io.modelcontextprotocol/serverInfo": STAMP},
    }


def test_what_a_server_says_of_its_cache_is_kept() -> None:
    result = passed({"contents": [], "ttlMs": 60000, "cacheScope": "public"}, "resources/read", is_modern=True)

    assert (result["ttlMs"], result["cacheScope"]) == (60000, "public")


def test_a_new_result_loses_what_the_handshake_era_does_not_know() -> None:
    modern = {
        "content": [],
        "structuredContent": [1],
        "resultType": "complete",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "up"}},
    }

    assert passed(modern, is_modern=False) == {"content": []}


def test_the_gateway_stands_for_the_server_that_it_hides() -> None:
    result = passed({"content": [], "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "up"}}}, is_modern=True)

    assert result["_meta"] == {"io.modelcontextprotocol/serverInfo": STAMP}


def test_a_listed_tool_is_as_its_server_wrote_it_under_another_name() -> None:
    wire = {"name": "x", "inputSchema": {"type": "object", "x-own": 1}, "outputSchema": {"type": "array"}, "extra": 1}

    modern = listed_tool({**wire, "execution": {"taskSupport": "optional"}}, name="up_x", is_modern=True)
    handshake = listed_tool(wire, name="up_x", is_modern=False)

    assert modern == {**wire, "name": "up_x"}
    assert handshake == {"name": "up_x", "inputSchema": {"type": "object", "x-own": 1}, "extra": 1}
