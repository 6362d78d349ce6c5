"""Earlier moments: states, what has changed, replays, snapshots."""

from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from mcp import Client

from tests.servers.events.stage import ADA, ADMIN, BOB, call, event, fail, serving


async def place_order(client: Client) -> list[dict[str, Any]]:
    """Three versions of order-1 with a moment between each; the events as they are read."""
    for type, data in (
        ("order.placed", {"amount": 10, "lines": ["a"]}),
        ("order.changed", {"amount": 12, "lines": ["a", "b"]}),
        ("order.paid", {"by": "card", "lines": None}),
    ):
        await call(client, "append_events", ADMIN, stream="order-1", events=[event(type, data=data)])
        await anyio.sleep(0.002)
    return (await call(client, "read_stream", ADMIN, stream="order-1"))["events"]


async def test_the_state_of_a_stream_is_told_as_of_a_version_a_time_or_a_position(client: Client) -> None:
    events = await place_order(client)
    now = await call(client, "state_at", ADMIN, stream="order-1")
    assert (now["version"], now["state"]) == (3, {"amount": 12, "by": "card"})
    for moment in (
        {"at_version": 2},
        {"at_time": events[1]["recorded_at"]},
        {"at_position": events[1]["position"]},
    ):
        then = await call(client, "state_at", ADMIN, stream="order-1", **moment)
        assert (then["version"], then["state"]) == (2, {"amount": 12, "lines": ["a", "b"]}), moment
    before = await call(client, "state_at", ADMIN, stream="order-1", at_version=0)
    assert (before["version"], before["state"]) == (0, None)


async def test_what_has_changed_between_two_moments_is_listed(client: Client) -> None:
    events = await place_order(client)
    expected = [
        {"path": "/amount", "op": "replace", "before": 10, "after": 12},
        {"path": "/by", "op": "add", "before": None, "after": "card"},
        {"path": "/lines", "op": "remove", "before": ["a"], "after": None},
    ]
    for earlier in ({"compare_version": 1}, {"compare_time": events[0]["recorded_at"]}):
        said = await call(client, "state_at", ADMIN, stream="order-1", **earlier)
        assert said["changes"] == expected
        assert not said["changes_cut"]


async def test_many_and_long_changes_are_cut_and_said_to_be(client: Client) -> None:
    many = {f"field_{number:03}": "x" * 3_000 for number in range(150)}
    await call(client, "append_events", stream="order-1", events=[event(), event(data=many)])
    said = await call(client, "state_at", stream="order-1", compare_version=1)
    assert len(said["changes"]) == 100
    assert said["changes_cut"]
    assert said["changes"][0]["after"].endswith("…")
    assert said["state"] is None
    assert said["state_preview"].endswith("…")
    assert (await call(client, "state_at", stream="order-1", detail="full"))["state"] == many


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ({}, "bad_input", "a stream or a projection"),
        ({"stream": "order-1", "projection": "streams"}, "bad_input", "a stream or a projection"),
        ({"stream": "order-1", "at_version": 4}, "bad_input", "no version 4"),
        ({"stream": "order-1", "at_version": 1, "at_time": "2026-05-01T00:00:00Z"}, "bad_input", "not several"),
        ({"stream": "order-1", "at_time": "2026-05-01T00:00:00"}, "bad_input", "'at_time'"),
        ({"stream": "order-1", "cursor": "x"}, "bad_input", "no pages"),
        ({"stream": "order-9"}, "not_found", "'order-9'"),
        ({"projection": "none"}, "not_found", "'none'"),
        ({"projection": "streams", "at_version": 1}, "bad_input", "version"),
        ({"projection": "streams", "cursor": "x"}, "bad_input", "cursor"),
    ],
)
async def test_a_moment_that_there_is_not_is_refused(
    client: Client, arguments: dict[str, object], code: str, named: str
) -> None:
    await place_order(client)
    said = await fail(client, "state_at", ADMIN, **arguments)
    assert said["code"] == code
    assert named in said["message"]


async def counts(client: Client, tool: str, **arguments: object) -> dict[str, int]:
    said = await call(client, tool, ADMIN, **arguments)
    return {each["key"]: each["document"]["events"] for each in said["documents"]}


async def test_documents_of_a_projection_are_told_as_they_were(client: Client) -> None:
    events = await place_order(client)
    await call(client, "append_events", BOB, stream="order-1", events=[event()])
    await call(client, "append_events", ADMIN, stream="invoice-1", events=[event("invoice.sent")])
    then = {"at_time": events[1]["recorded_at"]}
    assert await counts(client, "state_at", projection="streams", **then) == {"order": 2}
    with anyio.fail_after(10):
        while await counts(client, "state_at", projection="streams") != {"invoice": 1, "order": 3}:
            await anyio.lowlevel.checkpoint()
    assert await counts(client, "state_at", projection="streams", prefix="inv") == {"invoice": 1}
    said = await call(client, "state_at", ADA, projection="streams", compare_time=events[1]["recorded_at"])
    changed = {each["path"] for each in said["changes"]}
    assert {"/invoice", "/order/events"} <= changed
    assert not any(path.endswith("position") for path in changed)


async def test_documents_are_paged(client: Client) -> None:
    for kind in ("order", "invoice", "basket", "parcel"):
        await call(client, "append_events", stream=f"{kind}-1", events=[event(f"{kind}.made")])
    seen: list[str] = []
    cursor: str | None = None
    moment = {"projection": "streams", "at_time": "2999-01-01T00:00:00Z"}
    while cursor is not None or not seen:
        page = await call(client, "state_at", limit=3, cursor=cursor, **moment)
        seen += [each["key"] for each in page["documents"]]
        cursor = page["next_cursor"] or None
        if cursor is not None:
            said = await fail(client, "state_at", None, **{**moment, "prefix": "o"}, cursor=cursor)
            assert said["message"] == "The cursor belongs to another question."
    assert seen == ["basket", "invoice", "order", "parcel"]


async def test_a_replay_adds_up_what_it_is_asked_to_in_a_sandbox(client: Client) -> None:
    events = await place_order(client)
    await call(client, "append_events", BOB, stream="order-1", events=[event()])
    assert await counts(client, "replay", projection="streams") == {"order": 3}
    assert await counts(client, "replay", projection="streams", types=["order.paid"]) == {"order": 1}
    assert await counts(client, "replay", projection="streams", since=events[1]["recorded_at"]) == {"order": 2}
    assert await counts(client, "replay", projection="streams", until=events[0]["recorded_at"]) == {"order": 1}
    for first in ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"):
        assert await counts(client, "replay", projection="streams", since=first) == {"order": 3}
    assert await counts(client, "replay", projection="streams", after_position=events[0]["position"]) == {"order": 2}
    cut = await call(client, "replay", ADMIN, projection="streams", max_events=2)
    assert (cut["events"], cut["is_complete"], cut["position"]) == (2, False, events[1]["position"])
    for arguments, named in (
        ({"since": events[0]["recorded_at"], "after_position": 1}, "since and after_position"),
        ({"since": events[2]["recorded_at"], "until": events[0]["recorded_at"]}, "time range is empty"),
        ({"types": ["Order"]}, "'Order'"),
        ({"max_events": 0}, "'max_events'"),
    ):
        said = await fail(client, "replay", ADMIN, projection="streams", **arguments)
        assert (said["code"], named in said["message"]) == ("bad_input", True), said


async def test_a_replay_tells_how_far_it_is_and_no_positions(client: Client) -> None:
    for _ in range(3):
        await call(client, "append_events", stream="order-1", events=[event() for _ in range(1000)])
    told: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        assert message
        told.append((progress, total))

    await client.call_tool("replay", {"projection": "streams"}, progress_callback=hear)
    assert told
    assert told[-1] == (100, 100)


async def test_a_snapshot_changes_no_state(home: Path) -> None:
    async with serving(home) as client:
        await place_order(client)
        taken = await call(client, "create_snapshot", ADMIN, stream="order-1")
        assert (taken["stream"], taken["version"]) == ("order-1", 3)
        assert await call(client, "create_snapshot", ADMIN, stream="order-1") == taken
    async with serving(home) as client:
        for version, amount in ((1, 10), (2, 12), (3, 12)):
            said = await call(client, "state_at", ADMIN, stream="order-1", at_version=version)
            assert said["state"]["amount"] == amount
        assert (await fail(client, "create_snapshot", ADMIN, stream="order-404"))["code"] == "not_found"
