"""Lists as hostile servers write them."""

import logging
import time
from typing import Any

import pytest

from pool.wire.failures import Lost, Refusal, read_error
from pool.wire.lists import without_malformed


def tools(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"name": f"tool{n}", "inputSchema": {"type": "object", "properties": {}}, **more} for n in range(count)]


def test_a_long_list_with_much_that_is_malformed_is_read_in_time(caplog: pytest.LogCaptureFixture) -> None:
    good = tools(5000)
    items: list[object] = [thing for tool in good for thing in (tool, {"name": 5, "inputSchema": {"type": "object"}})]
    started = time.thread_time()
    with caplog.at_level(logging.WARNING):
        found = without_malformed("tools/list", "tools", items, server="s", is_modern=True)
    assert found == good
    assert time.thread_time() - started < 3
    assert len(caplog.records) < 20


def test_a_code_that_other_programs_could_not_read_is_not_handed_on() -> None:
    for code in (10**300, True, "x", None, 1.5):
        assert read_error({"code": code, "message": 5}).code == -32603
    assert read_error({"code": -32602, "message": "no"}).code == -32602


def test_what_a_server_says_is_masked_and_cut() -> None:
    refusal, lost = Refusal(-32000, "your key is hunter22 " + "x" * 2**20), Lost("hunter22")
    for failure in (refusal, lost):
        failure.clean(("hunter22",))
        assert "hunter22" not in str(failure)
        assert "hunter22" not in repr(failure)
    assert len(refusal.message) == 4000
    assert refusal.message.startswith("your key is ***")
