"""The trace of a call goes on to the server, and nothing is made up where there is none."""

from typing import Any

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from stoa.principal import LOCAL
from tests.pool.puppets import Puppet, Puppets, group, open_puppets

SPAN = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
PARENT = f"00-{0xABC:032x}-{0xDEF:016x}-01"
OF_THE_CLIENT = f"00-{0x1:032x}-{0x2:016x}-00"


def metas(puppet: Puppet) -> list[Any]:
    return [params["_meta"] for method, params in puppet.asked if method == "tools/call"]


async def test_the_server_sees_the_present_span_as_its_parent() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group()]) as pool:
        with trace.use_span(NonRecordingSpan(SPAN)):
            given: dict[str, Any] = {"traceparent": OF_THE_CLIENT, "other": 1}
            params = {"name": "read", "_meta": given}
            await pool.request("one", "tools/call", params, principal=LOCAL)
        (meta,) = metas(puppets.at(0))
        assert (meta["traceparent"], meta["other"]) == (PARENT, 1)
        assert given["traceparent"] == OF_THE_CLIENT


async def test_without_a_span_what_the_client_sent_goes_on_and_nothing_is_made_up() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group()]) as pool:
        await pool.request("one", "tools/call", {"name": "read"}, principal=LOCAL)
        given = {"name": "read", "_meta": {"traceparent": OF_THE_CLIENT}}
        await pool.request("one", "tools/call", given, principal=LOCAL)
        first, second = metas(puppets.at(0))
        assert "traceparent" not in first
        assert second["traceparent"] == OF_THE_CLIENT
