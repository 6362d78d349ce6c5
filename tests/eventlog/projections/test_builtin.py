"""The read models that every Stoa has, fed by events as the host writes them."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.event import Event, NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.log import EventLog
from eventlog.projections.builtin import AI_USAGE, BUILTIN, RUNS, STREAMS, TOOLS
from eventlog.projections.documents import Documents
from eventlog.projections.fold import Sandbox
from eventlog.projections.projection import DocumentProjection
from tests.eventlog.projections.counting import make_worker, settle


def answer(number: int, *, tokens: tuple[int, int], cost_usd: str) -> dict[str, Any]:
    used = {"input_tokens": tokens[0], "output_tokens": tokens[1], "cost_usd": cost_usd}
    return {"answer": number, "model": "opus", "text": "", "tool_calls": [], "latency_seconds": 1.5, **used}


def call(step: int, *, seconds: float, is_error: bool) -> dict[str, Any]:
    what: dict[str, Any] = {
        "server": "content",
        "tool": "search",
        "arguments": {},
        "replica": "content-0",
        "summary": "",
    }
    return {"step": step, "latency_seconds": seconds, "is_error": is_error, **what}


RUN: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("run.started", {"run_id": "r1", "task": "find it", "model": "opus", "servers": ["content"]}),
    ("run.model_answered", answer(1, tokens=(100, 20), cost_usd="0.0030")),
    ("run.tool_called", call(1, seconds=0.2, is_error=False)),
    ("run.tool_called", call(2, seconds=0.4, is_error=True)),
    ("run.model_answered", answer(2, tokens=(300, 50), cost_usd="0.0071")),
    ("run.finished", {"text": "It is here.", "found": True, "citations": [{}, {}], "note": "", "usage": None}),
)


def event(position: int, stream: str, version: int, type: str, data: Mapping[str, Any]) -> Event:
    return Event(
        position,
        StreamId("acme", stream),
        version,
        type,
        1,
        f"id-{position}",
        orjson.dumps(data),
        None,
        1_000_000,
        2_000_000,
        bytes(32),
    )


def fold(projection: DocumentProjection, events: Sequence[Event]) -> dict[str, dict[str, Any]]:
    sandbox = Sandbox(projection)
    for one in events:
        sandbox.apply(one)
    assert sandbox.failed == []
    return sandbox.documents("acme")


def run_events(stream: str = "run-r1") -> list[Event]:
    return [event(number, stream, number, type, data) for number, (type, data) in enumerate(RUN, 1)]


def test_a_run_is_told_in_one_document() -> None:
    assert fold(RUNS, run_events())["r1"] == {
        "run_id": "r1",
        "state": "finished",
        "task": "find it",
        "model": "opus",
        "servers": ["content"],
        "started_at": "1970-01-01T00:00:01+00:00",
        "ended_at": "1970-01-01T00:00:01+00:00",
        "tool_calls": 2,
        "tool_errors": 1,
        "requests": 2,
        "input_tokens": 400,
        "output_tokens": 70,
        "cost_usd": "0.0101",
        "found": True,
        "text": "It is here.",
        "citations": 2,
        "code": None,
        "message": None,
    }


def test_a_run_without_its_end_is_running_and_a_failed_one_says_why() -> None:
    assert fold(RUNS, run_events()[:2])["r1"]["state"] == "running"
    failed = event(9, "run-r1", 3, "run.failed", {"code": "unavailable", "message": "No model.", "steps": 0})
    document = fold(RUNS, [*run_events()[:2], failed])["r1"]
    assert (document["state"], document["code"], document["message"]) == ("failed", "unavailable", "No model.")


def test_a_tool_has_calls_errors_and_times() -> None:
    document = fold(TOOLS, run_events())["content/search"]
    assert (document["calls"], document["errors"]) == (2, 1)
    assert document["latency_seconds"]["mean"] == pytest.approx(0.3)
    assert document["latency_seconds"]["max"] == 0.4
    assert document["latency_seconds"]["p50"] == pytest.approx(0.2, rel=0.2)


def test_quantiles_are_right_within_a_fifth_and_the_document_stays_small() -> None:
    rng = random.Random(3)
    times = sorted(rng.lognormvariate(-2, 1.5) for _ in range(2_000))
    events = [
        event(number, "run-r1", number, "run.tool_called", {"server": "s", "tool": "t", "latency_seconds": seconds})
        for number, seconds in enumerate(times, 1)
    ]
    told = fold(TOOLS, events)["s/t"]
    assert len(told["buckets"]) <= 101
    for share in (50, 95, 99):
        right = times[int(len(times) * share / 100) - 1]
        assert right <= told["latency_seconds"][f"p{share}"] * 1.001 <= right * 1.25


def test_what_models_used_adds_up_exactly() -> None:
    answers = [
        event(
            n, "run-r1", n, "run.model_answered", {"model": "m", "input_tokens": 1, "output_tokens": 2, "cost_usd": c}
        )
        for n, c in enumerate(["0.1", "0.2", "1E-7", None], 1)
    ]
    assert fold(AI_USAGE, answers)["m"] == {
        "model": "m",
        "requests": 4,
        "input_tokens": 4,
        "output_tokens": 8,
        "cost_usd": "0.3000001",
        "without_price": 1,
    }


def test_nothing_that_was_written_at_length_makes_the_document_long() -> None:
    answer = event(1, "run-r1", 1, "run.model_answered", {"model": "m", "cost_usd": "0E-999999"})
    assert fold(AI_USAGE, [answer])["m"]["cost_usd"] == "0"


async def test_the_catalogue_counts_streams_and_events_also_erased_ones(log: EventLog) -> None:
    for name, count in (("order-1", 3), ("order-2", 2), ("invoice-1", 1)):
        await log.append_to(StreamId("acme", name), [NewEvent("thing.happened", {}) for _ in range(count)])
    await log.append_to(StreamId("other", "order-1"), [NewEvent("thing.happened", {})])
    await erase(log, StreamId("acme", "order-1"))
    await settle(make_worker(log, STREAMS))
    documents = Documents(log.database)
    orders = await documents.get("streams", "acme", "order")
    theirs = await documents.get("streams", "other", "order")
    assert orders is not None
    assert theirs is not None
    assert {"streams": 2, "events": 5, "last_stream": "order-2", "last_position": 5}.items() <= orders.document.items()
    assert {"streams": 1, "events": 1}.items() <= theirs.document.items()


@given(st.randoms(use_true_random=False))
def test_it_does_not_matter_in_which_order_streams_come(rng: random.Random) -> None:
    """A parked stream comes later than the others."""
    streams = [
        [event(10 * which + number, f"run-r{which}", number, type, data) for number, (type, data) in enumerate(RUN, 1)]
        for which in range(4)
    ]
    plain = sorted((one for stream in streams for one in stream), key=lambda one: one.position)
    mixed: list[Event] = []
    left = [list(stream) for stream in streams]
    while any(left):
        mixed.append(rng.choice([stream for stream in left if stream]).pop(0))
    for projection in BUILTIN:
        assert fold(projection, mixed) == fold(projection, plain)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    *("task", "model", "servers", "server", "tool", "latency_seconds", "is_error", "input_tokens", "output_tokens"),
    *("cost_usd", "requests", "citations", "text", "code", "message", "found"),
]


@given(
    st.sampled_from(["run.started", "run.tool_called", "run.model_answered", "run.finished", "run.failed", "run.new"]),
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING | st.sampled_from(["NaN", "1E9999", "-1", "Infinity", "\u0661"])),
)
def test_an_event_that_looks_otherwise_parks_nothing(type: str, data: dict[str, Any]) -> None:
    def sane(value: Any) -> Any:
        if isinstance(value, int):
            return max(min(value, 2**63 - 1), -(2**63))
        if isinstance(value, list):
            return [sane(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - any JSON
        if isinstance(value, dict):
            return {key: sane(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType] - any JSON
        return value

    for projection in BUILTIN:
        fold(projection, [event(1, "run-r1", 1, type, sane(data)), *run_events()[1:]])
