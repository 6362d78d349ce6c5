"""Projections and their dead letters, as a client deals with them: one projection here reads some events badly."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from mcp import Client

from eventlog.event import Event
from eventlog.model import EventModel
from eventlog.projections.projection import Document, DocumentProjection
from eventlog.schemas import EventType
from tests.servers.events.stage import ADMIN, BOB, READER, call, event, fail, serving

MENDED: set[str] = set()
"""Streams whose poison has been taken out; a projection outside of tests is pure."""


def total(key: str, document: Document | None, event: Event) -> Document:
    if event.data.get("is_poison") and event.stream.name not in MENDED:
        raise ValueError("this is poison")
    return {"sum": (document or {"sum": 0})["sum"] + event.data.get("amount", 0)}


MODEL = EventModel(
    types=(
        EventType(
            "order.paid",
            "An order was paid.",
            schemas={1: {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}},
        ),
    ),
    projections=(
        DocumentProjection(
            name="totals",
            types=("order.*",),
            keys=lambda event: [event.stream.name],
            apply=total,
            description="What each order adds up to.",
        ),
    ),
)


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    MENDED.clear()
    async with serving(home, models=[MODEL]) as client:
        yield client


async def letters(client: Client, count: int, **arguments: object) -> list[dict[str, Any]]:
    """The dead letters of the admin's tenant, as soon as there are so many."""
    with anyio.fail_after(20):
        while True:
            found = (await call(client, "list_dead_letters", ADMIN, **arguments))["dead_letters"]
            if len(found) == count:
                return found
            await anyio.lowlevel.checkpoint()


async def poison(client: Client, stream: str, principal: Any = ADMIN) -> None:
    paid = [event("order.paid", data={"amount": amount}) for amount in (1, 2)]
    bad = event("order.spoilt", data={"is_poison": True, "amount": 10})
    await call(client, "append_events", principal, stream=stream, events=[paid[0], bad, paid[1]])


async def sums(client: Client) -> dict[str, int]:
    documents = (await call(client, "state_at", ADMIN, projection="totals"))["documents"]
    return {each["key"]: each["document"]["sum"] for each in documents}


async def test_a_described_type_is_checked_and_told(client: Client) -> None:
    said = await fail(
        client, "append_events", None, stream="order-1", events=[event("order.paid", data={"amount": "1"})]
    )
    assert (said["code"], "$.amount" in said["message"]) == ("bad_input", True)
    said = await fail(client, "append_events", None, stream="order-1", events=[event("order.paid", schema_version=2)])
    assert "no schema version 2" in said["message"]
    described = await call(client, "describe_event_type", type="order.paid")
    assert described["is_described"]
    assert not described["is_used"]
    assert described["schemas"]["1"]["required"] == ["amount"]
    assert described["read_by"] == ["streams", "totals"]


async def test_a_poison_event_holds_up_its_own_stream_alone_and_is_a_dead_letter(client: Client) -> None:
    await poison(client, "order-1")
    await poison(client, "order-1", BOB)
    await call(client, "append_events", ADMIN, stream="order-2", events=[event("order.paid", data={"amount": 5})])
    (letter,) = await letters(client, 1)
    assert (letter["projection"], letter["stream"], letter["version"]) == ("totals", "order-1", 2)
    assert "this is poison" in letter["reason"]
    assert letter["payload"] == {"is_poison": True, "amount": 10}
    assert letter["waiting"] == 1
    with anyio.fail_after(10):
        while await sums(client) != {"order-1": 1, "order-2": 5}:
            await anyio.lowlevel.checkpoint()
    shown = {each["name"]: each for each in (await call(client, "list_projections", READER))["projections"]}
    assert shown["totals"]["dead_letters"] == 1
    assert (await call(client, "list_dead_letters", READER, projection="streams"))["dead_letters"] == []
    assert (await fail(client, "list_dead_letters", READER, projection="none"))["code"] == "not_found"


async def test_a_dead_letter_is_retried_when_its_cause_is_gone(client: Client) -> None:
    await poison(client, "order-1")
    (letter,) = await letters(client, 1)
    again = await call(client, "retry_dead_letter", ADMIN, projection="totals", id=letter["id"])
    assert (again["is_mended"], "this is poison" in again["reason"]) == (False, True)
    MENDED.add("order-1")
    (letter,) = await letters(client, 1)
    mended = await call(client, "retry_dead_letter", ADMIN, projection="totals", id=letter["id"])
    assert (mended["is_mended"], mended["applied"]) == (True, 2)
    assert await sums(client) == {"order-1": 13}
    assert await letters(client, 0) == []


async def test_a_dead_letter_is_given_up_and_its_stream_goes_on(client: Client) -> None:
    for stream in ("order-1", "order-2", "order-3"):
        await poison(client, stream)
    found = await letters(client, 3)
    page = await call(client, "list_dead_letters", ADMIN, limit=2)
    rest = await call(client, "list_dead_letters", ADMIN, limit=2, cursor=page["next_cursor"])
    assert [each["id"] for each in (*page["dead_letters"], *rest["dead_letters"])] == [each["id"] for each in found]
    purged = await call(client, "purge_dead_letters", ADMIN, projection="totals", ids=[found[0]["id"]])
    assert [(each["stream"], each["applied"]) for each in purged["purged"]] == [(found[0]["stream"], 1)]
    await letters(client, 2)
    assert (await sums(client))[found[0]["stream"]] == 3


async def test_nobody_retries_or_purges_what_is_anothers(client: Client) -> None:
    await poison(client, "order-1")
    (letter,) = await letters(client, 1)
    bea = type(ADMIN)("bea", "tenant-b", scopes=frozenset({"events:*"}))
    assert (await call(client, "list_dead_letters", bea))["dead_letters"] == []
    for tool, arguments in (
        ("retry_dead_letter", {"id": letter["id"]}),
        ("purge_dead_letters", {"ids": [letter["id"]]}),
        ("retry_dead_letter", {"id": "1-1"}),
    ):
        assert (await fail(client, tool, bea, projection="totals", **arguments))["code"] == "not_found"
    assert (await call(client, "purge_dead_letters", bea, projection="totals"))["purged"] == []
    await letters(client, 1)


async def test_a_projection_is_built_anew_and_its_progress_is_told(client: Client) -> None:
    for number in range(3):
        await call(
            client,
            "append_events",
            ADMIN,
            stream=f"order-{number}",
            events=[event("order.paid", data={"amount": 1}) for _ in range(1000)],
        )
    told: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        assert message
        told.append(progress)

    before = {f"order-{number}": 1000 for number in range(3)}
    with anyio.fail_after(20):
        while await sums(client) != before:
            await anyio.lowlevel.checkpoint()
    result = await client.call_tool("rebuild_projection", {"name": "totals"}, progress_callback=hear)
    said: Any = result.structured_content
    assert said["is_done"]
    assert said["projection"]["state"] in ("live", "catching_up")
    assert told == sorted(told)
    assert await sums(client) == before


async def test_nothing_waits_for_a_rebuild_that_nobody_wants_to_wait_for(client: Client) -> None:
    await call(client, "append_events", ADMIN, stream="order-1", events=[event("order.paid", data={"amount": 1})])
    said = await call(client, "rebuild_projection", ADMIN, name="totals", wait_seconds=0)
    assert said["is_done"] in (False, True)
    assert (await fail(client, "rebuild_projection", ADMIN, name="none"))["code"] == "not_found"
