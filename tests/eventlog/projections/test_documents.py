"""Events become documents: each once, of each tenant its own, whatever the pages."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pytest

from eventlog.database import Database, Row, Statement, Value
from eventlog.event import Event, NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.log import EventLog
from eventlog.projections.documents import Documents
from eventlog.projections.projection import Document, DocumentProjection, SinkProjection
from eventlog.store import Outcome, Request
from stoa.clock import ManualClock
from stoa.errors import BadInput
from tests.eventlog.projections.counting import (
    POLICY,
    SEEN,
    append,
    documents_of,
    folded,
    make_worker,
    settle,
    shelf_of,
)


async def test_each_event_is_applied_once_in_the_order_of_its_stream(log: EventLog) -> None:
    for number in range(37):
        await append(log, f"order-{number % 3}", 2)
    worker = make_worker(log)
    turn = await settle(worker)
    assert turn.state == "live"
    assert await documents_of(log) == await folded(log)
    serving = (await shelf_of(log)).serving
    assert serving is not None
    assert (serving.position, serving.applied) == (74, 74)


async def test_what_comes_later_is_added_to_what_is_there(log: EventLog) -> None:
    worker = make_worker(log)
    for _ in range(3):
        await append(log, "order-1", 4)
        await settle(worker)
    assert await documents_of(log) == {("acme", "1"): list(range(1, 13))}


async def test_another_process_goes_on_where_the_last_one_was(log: EventLog) -> None:
    await append(log, "order-1", 5)
    first = make_worker(log, owner="a")
    await settle(first)
    await first.release()
    await append(log, "order-1", 5)
    await settle(make_worker(log, owner="b"))
    assert await documents_of(log) == {("acme", "1"): list(range(1, 11))}


async def test_events_of_other_types_are_passed_over_and_the_position_follows(log: EventLog) -> None:
    clock = ManualClock()
    worker = make_worker(log, clock=clock)
    await settle(worker)
    await log.append_to(StreamId("acme", "invoice-1"), [NewEvent("invoice.sent", {}) for _ in range(30)])
    clock.advance(2)
    turn = await settle(worker)
    serving = (await shelf_of(log)).serving
    assert serving is not None
    assert (turn.position, serving.position, serving.applied) == (30, 30, 0)


async def test_a_tenant_has_its_own_document_of_the_same_key(log: EventLog) -> None:
    await append(log, StreamId("acme", "order-1"), 2)
    await append(log, StreamId("other", "order-1"), 3)
    await settle(make_worker(log))
    documents = Documents(log.database)
    mine = await documents.get("seen", "acme", "1")
    theirs = await documents.get("seen", "other", "1")
    assert mine is not None
    assert theirs is not None
    assert (mine.document, theirs.document) == ({"versions": [1, 2]}, {"versions": [1, 2, 3]})
    assert await documents.get("seen", "third", "1") is None
    assert await documents.list("seen", "third") == []


async def test_a_document_that_ends_is_removed_and_may_begin_again(log: EventLog) -> None:
    stream = StreamId("acme", "order-1")
    worker = make_worker(log)
    await append(log, stream, 2)
    await settle(worker)
    await log.append_to(stream, [NewEvent("order.removed", {})])
    await settle(worker)
    assert await documents_of(log) == {}
    await append(log, stream)
    await settle(worker)
    assert await documents_of(log) == {("acme", "1"): [4]}


async def test_documents_are_listed_in_the_order_of_their_keys_page_by_page(log: EventLog) -> None:
    for name in ("b", "a", "a-1", "a-2", "ä", "Z", "a\U0001f600"):
        await append(log, f"order-{name}")
    await settle(make_worker(log))
    documents = Documents(log.database)

    async def keys(**options: object) -> list[str]:
        return [found.key for found in await documents.list("seen", "acme", **options)]  # pyright: ignore[reportArgumentType] - options of one test

    ordered = ["Z", "a", "a-1", "a-2", "a\U0001f600", "b", "ä"]
    assert await keys() == ordered
    assert await keys(backwards=True) == ordered[::-1]
    assert await keys(limit=3) == ordered[:3]
    assert await keys(after=ordered[2], limit=2) == ordered[3:5]
    assert await keys(after="a-2", backwards=True) == ["a-1", "a", "Z"]
    assert await keys(prefix="a-") == ["a-1", "a-2"]
    assert await keys(prefix="a", after="a-1") == ["a-2", "a\U0001f600"]
    with pytest.raises(BadInput):
        await keys(limit=0)


async def test_one_event_may_touch_several_documents(log: EventLog) -> None:
    def keys(event: Event) -> list[str]:
        return ["all", event.stream.aggregate_id, "all"]

    def count(key: str, document: Document | None, event: Event) -> Document:
        return {"count": (document or {"count": 0})["count"] + 1}

    projection = DocumentProjection(name="counts", types=(), keys=keys, apply=count)
    await append(log, "order-1", 3)
    await append(log, "order-2", 2)
    await settle(make_worker(log, projection))
    found = {one.key: one.document["count"] for one in await Documents(log.database).list("counts", "acme")}
    assert found == {"1": 3, "2": 2, "all": 5}


async def test_erased_events_are_left_out(log: EventLog) -> None:
    stream = StreamId("acme", "order-1")
    await append(log, stream, 5)
    await erase(log, stream, [2, 3])
    await settle(make_worker(log))
    assert await documents_of(log) == {("acme", "1"): [1, 4, 5]}


async def test_what_was_erased_after_it_was_applied_is_forgotten(log: EventLog) -> None:
    stream = StreamId("acme", "order-1")
    await append(log, stream, 5)
    await append(log, "order-2", 5)
    worker = make_worker(log)
    await settle(worker)
    await erase(log, stream, [2, 3])
    await settle(worker)
    shelf = await shelf_of(log)
    assert shelf.serving is not None
    assert shelf.building is None
    assert shelf.serving.reason == "events of stream order-1 were erased"
    assert await documents_of(log) == {("acme", "1"): [1, 4, 5], ("acme", "2"): [1, 2, 3, 4, 5]}


async def test_erasing_what_a_projection_never_wanted_builds_nothing_anew(log: EventLog) -> None:
    stream = StreamId("acme", "invoice-1")
    await log.append_to(stream, [NewEvent("invoice.sent", {})])
    await append(log, "order-1", 5)
    worker = make_worker(log)
    await settle(worker)
    await erase(log, stream)
    await settle(worker)
    assert (await shelf_of(log)).serving == (await shelf_of(log)).live[0]
    assert [one.reason for one in (await shelf_of(log)).live] == ["first"]


async def test_a_false_notice_of_an_erasure_builds_nothing_anew(log: EventLog) -> None:
    await append(log, "order-1", 5)
    worker = make_worker(log)
    await settle(worker)
    for data in ({}, {"stream": 7}, {"stream": "nonsense"}, {"stream": "order-1", "versions": [[1, 5]]}):
        await log.append_to(StreamId("acme", "log-erasures"), [NewEvent("log.erased", data)])
    await settle(worker)
    assert [one.reason for one in (await shelf_of(log)).live] == ["first"]


async def test_a_projection_of_envelopes_counts_erased_events_as_any_other(log: EventLog) -> None:
    def count(key: str, document: Document | None, event: Event) -> Document:
        return {"count": (document or {"count": 0})["count"] + 1}

    projection = DocumentProjection(
        name="counts", types=(), keys=lambda event: [event.tenant], apply=count, only_envelopes=True
    )
    await append(log, "order-1", 5)
    worker = make_worker(log, projection)
    await settle(worker)
    await erase(log, StreamId("acme", "order-1"))
    await settle(worker)
    found = await Documents(log.database).get("counts", "acme", "acme")
    assert found is not None
    assert found.document == {"count": 6}
    assert [one.reason for one in (await shelf_of(log, "counts")).live] == ["first"]


def test_names_versions_and_types_that_cannot_be_used_are_refused() -> None:
    def make(name: str = "seen", version: int = 1, types: tuple[str, ...] = ()) -> DocumentProjection:
        return DocumentProjection(name=name, version=version, types=types, keys=SEEN.keys, apply=SEEN.apply)

    for name in ("", "Seen", "a b", "x" * 101, "é"):
        with pytest.raises(BadInput, match="cannot be the name"):
            make(name)
    with pytest.raises(BadInput, match="version 0"):
        make(version=0)
    with pytest.raises(BadInput, match="type"):
        make(types=("Order.*",))


def test_a_sink_that_keeps_its_position_has_to_be_able_to_forget_it() -> None:
    async def handle(event: Event) -> None: ...

    async def position() -> None: ...

    with pytest.raises(BadInput, match="could never be built anew"):
        SinkProjection(name="sink", types=(), handle=handle, position=position)


async def test_pages_that_touch_very_many_documents_are_cut(log: EventLog) -> None:
    """Also where a parked stream is mended."""
    is_poisoned = True

    def keys(event: Event) -> list[str]:
        return [f"{event.version}-{number}" for number in range(100)]

    def apply(key: str, document: Document | None, event: Event) -> Document:
        if is_poisoned and event.stream.aggregate_id == "1":
            raise RuntimeError("not yet")
        return {"versions": [*(document or {"versions": []})["versions"], event.version]}

    projection = DocumentProjection(name="wide", types=("order.*",), keys=keys, apply=apply)
    clock = ManualClock()
    policy = replace(POLICY, batch=100)
    worker = make_worker(log, projection, clock=clock, policy=policy)
    await append(log, "order-1", 45)
    await append(log, "order-2", 45)
    await settle(worker)
    is_poisoned = False
    assert {tuple(versions) for versions in (await documents_of(log, "wide")).values()} == {
        (version,) for version in range(1, 46)
    }
    clock.advance(100)
    await settle(worker)
    assert await documents_of(log, "wide") == await folded(log, projection)
    serving = (await shelf_of(log, "wide")).serving
    assert serving is not None
    assert (serving.applied, serving.position) == (90, 90)


async def test_while_nothing_happens_a_turn_asks_two_questions_and_writes_nothing(log: EventLog) -> None:
    asked: list[str] = []

    class Counting:
        @property
        def dialect(self) -> Literal["sqlite", "postgres"]:
            return log.database.dialect

        async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
            asked.append(sql)
            return await log.database.fetch(sql, *values)

        async def write(self, *statements: Statement) -> None:
            asked.extend(statement.sql for statement in statements)
            await log.database.write(*statements)

    class Counted:
        @property
        def database(self) -> Database:
            return Counting()

        async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
            raise NotImplementedError

        async def grown(self, position: int) -> None:
            raise NotImplementedError

    clock = ManualClock()
    worker = make_worker(EventLog(Counted()), clock=clock)
    await append(log, "order-1", 45)
    await settle(worker)
    for _ in range(3):
        await settle(worker)
        clock.advance(1)
    asked.clear()
    for _ in range(10):
        assert (await settle(worker)).state == "live"
        clock.advance(1)
    assert len(asked) == 20
    await append(log, "order-1")
    await settle(worker)
    assert await documents_of(log) == await folded(log)
