"""Traces of callers: handed on when they are traces, otherwise dropped without a word."""

import pytest
from mcp import Client
from opentelemetry import trace

from tests.kit.example import Example
from tests.kit.wires import ERAS

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"

WRONG: list[dict[str, object]] = [
    {"traceparent": 5, "baggage": 5},
    {"traceparent": ["a"], "tracestate": {"a": "b"}, "baggage": [1]},
    {"traceparent": None, "baggage": None},
    {"traceparent": PARENT + "-more"},
    {"traceparent": "x" * 10_000},
    {"traceparent": "\u0660\u0660-" + PARENT[3:]},
    {"baggage": "no pair"},
    {"baggage": "a=b," * 200},
    {"baggage": "a=" + "b" * 9000},
    {"baggage": "a=" + "b" * 5000},
    {"baggage": "k\u00e4se=1"},
]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("wrong", WRONG)
async def test_what_is_no_trace_is_dropped_without_a_word(
    example: Example, caplog: pytest.LogCaptureFixture, era: str, wrong: dict[str, object]
) -> None:
    mode = "legacy" if era == "2025-11-25" else era
    async with Client(example.server.lowlevel, mode=mode) as client:
        caplog.clear()
        result = await client.call_tool("trace_id", meta=wrong)  # pyright: ignore[reportArgumentType]  # wrong on purpose
    assert result.content[0].model_dump()["text"] == "0" * 32
    assert not [record for record in caplog.records if record.levelno >= 30]


@pytest.mark.parametrize("state", [5, "x" * 600, "NO PAIR", "a=b," * 100 + "!", ["a=b"]])
async def test_a_trace_whose_state_is_none_is_handed_on_without_it(
    example: Example, caplog: pytest.LogCaptureFixture, state: object
) -> None:
    async with Client(example.server.lowlevel, mode="2026-07-28") as client:
        caplog.clear()
        result = await client.call_tool("trace_id", meta={"traceparent": PARENT, "tracestate": state})  # pyright: ignore[reportArgumentType]  # wrong on purpose
    assert result.content[0].model_dump()["text"] == TRACE
    assert not [record for record in caplog.records if record.levelno >= 30]


async def test_a_trace_is_handed_on_with_its_state(example: Example) -> None:
    seen: list[str] = []
    read = example.server.tool(title="Carried", scope="example:read", read_only=True, idempotent=True)

    @read
    async def carried() -> str:
        """What came along."""
        seen.append(trace.get_current_span().get_span_context().trace_state.to_header())
        return "seen"

    meta = {"traceparent": PARENT, "tracestate": "a=1, b@c=2", "baggage": "user=ann, day = friday;sure"}
    async with Client(example.server.lowlevel, mode="2026-07-28") as client:
        await client.call_tool("carried", meta=meta)  # pyright: ignore[reportArgumentType]  # an open dict there
    assert seen == ["a=1,b@c=2"]
