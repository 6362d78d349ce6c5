"""A poison event parks its own stream: the others go on, and nothing of it is lost."""

from typing import Any

import pytest

from eventlog.event import Event, NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.log import EventLog
from eventlog.projections.letters import letters, purge, retry
from eventlog.projections.projection import Document, DocumentProjection
from eventlog.projections.status import DeadLetter
from eventlog.projections.tables import load_parked
from eventlog.projections.work import Means
from eventlog.projections.worker import Worker
from eventlog.schemas import EventType, TypeRegistry
from stoa.clock import ManualClock
from stoa.errors import BadInput, NotFound
from tests.eventlog.conftest import OpenLog
from tests.eventlog.projections.counting import POLICY, SEEN, append, documents_of, make_worker, settle, shelf_of


def moody(poison: set[str]) -> DocumentProjection:
    """Fails at events whose `mark` is in the set, as long as it is in there."""

    def apply(key: str, document: Document | None, event: Event) -> Document | None:
        if event.data.get("mark") in poison:
            raise RuntimeError(f"not {event.data['mark']}")
        return SEEN.apply(key, document, event)

    return DocumentProjection(name="seen", types=("order.*",), keys=SEEN.keys, apply=apply)


def means_of(worker: Worker) -> Means:
    return worker._means  # pyright: ignore[reportPrivateUsage] - the tests' own worker


async def all_letters(worker: Worker, *, tenant: str | None = None, with_retrying: bool = False) -> list[DeadLetter]:
    return list(
        await letters(
            means_of(worker), [worker.projection], tenant=tenant, after="", limit=100, with_retrying=with_retrying
        )
    )


async def until_dead(worker: Worker, clock: ManualClock) -> None:
    for _ in range(POLICY.max_attempts):
        await settle(worker)
        clock.advance(60)
    await settle(worker)


async def test_its_later_events_wait_while_other_streams_go_on(log: EventLog) -> None:
    await append(log, "order-1", 2)
    await append(log, "order-1", is_poison=True)
    for _ in range(20):
        await append(log, "order-1")
        await append(log, "order-2")
    await settle(make_worker(log))
    assert await documents_of(log) == {("acme", "1"): [1, 2], ("acme", "2"): list(range(1, 21))}


async def test_a_stream_of_the_same_name_of_another_tenant_goes_on(log: EventLog) -> None:
    await append(log, StreamId("acme", "order-1"), is_poison=True)
    await append(log, StreamId("other", "order-1"), 3)
    await settle(make_worker(log))
    assert await documents_of(log) == {("other", "1"): [1, 2, 3]}


async def test_it_is_tried_again_and_goes_on_in_order(log: EventLog) -> None:
    clock, poison = ManualClock(), {"x"}
    worker = make_worker(log, moody(poison), clock=clock)
    await append(log, "order-1", 2)
    await append(log, "order-1", mark="x")
    await append(log, "order-1", 25)
    turn = await settle(worker)
    assert 0 < turn.wait_seconds <= 1
    poison.clear()
    await settle(worker)  # it is not due yet
    assert await documents_of(log) == {("acme", "1"): [1, 2]}
    clock.advance(2)
    await settle(worker)
    assert await documents_of(log) == {("acme", "1"): list(range(1, 29))}
    assert await all_letters(worker, with_retrying=True) == []


async def test_after_the_last_attempt_it_waits_for_a_person_with_reason_attempts_and_payload(log: EventLog) -> None:
    clock = ManualClock()
    worker = make_worker(log, moody({"x"}), clock=clock)
    await append(log, "order-1", 2)
    position = await append(log, "order-1", mark="x")
    await append(log, "order-1", 4)
    await settle(worker)
    assert await all_letters(worker) == []
    (retrying,) = await all_letters(worker, with_retrying=True)
    assert (retrying.attempts, retrying.retry_at is None) == (1, False)
    await until_dead(worker, clock)
    (letter,) = await all_letters(worker)
    assert (letter.projection, letter.tenant, letter.stream, letter.version) == ("seen", "acme", "order-1", 3)
    assert (letter.position, letter.event_type, letter.attempts, letter.waiting) == (position, "order.placed", 3, 4)
    assert (letter.reason, letter.payload, letter.retry_at) == ("RuntimeError: not x", {"mark": "x"}, None)
    assert letter.first_failed_at < letter.last_failed_at
    clock.advance(1_000)
    await settle(worker)
    assert (await all_letters(worker))[0].attempts == 3


async def test_a_retry_applies_the_event_and_those_that_wait_in_order(log: EventLog) -> None:
    clock, poison = ManualClock(), {"x"}
    worker = make_worker(log, moody(poison), clock=clock)
    await append(log, "order-1", mark="x")
    await append(log, "order-1", 30)
    await until_dead(worker, clock)
    (letter,) = await all_letters(worker)
    failed = await retry(means_of(worker), worker.projection, letter.id, tenant=None)
    assert (failed.applied, failed.is_mended, failed.reason) == (0, False, "RuntimeError: not x")
    poison.clear()
    mended = await retry(means_of(worker), worker.projection, letter.id, tenant="acme")
    assert (mended.applied, mended.is_mended) == (31, True)
    assert await documents_of(log) == {("acme", "1"): list(range(1, 32))}
    with pytest.raises(NotFound):
        await retry(means_of(worker), worker.projection, letter.id, tenant=None)
    await append(log, "order-1")
    await settle(worker)
    assert await documents_of(log) == {("acme", "1"): list(range(1, 33))}


async def test_a_retry_stops_at_the_next_event_that_fails(log: EventLog) -> None:
    clock, poison = ManualClock(), {"x", "y"}
    worker = make_worker(log, moody(poison), clock=clock)
    await append(log, "order-1", mark="x")
    await append(log, "order-1", 2)
    await append(log, "order-1", mark="y")
    await append(log, "order-1", 2)
    await until_dead(worker, clock)
    (letter,) = await all_letters(worker)
    poison.remove("x")
    retried = await retry(means_of(worker), worker.projection, letter.id, tenant=None)
    assert (retried.applied, retried.reason) == (3, "RuntimeError: not y")
    (next_one,) = await all_letters(worker, with_retrying=True)
    assert (next_one.version, next_one.attempts, next_one.retry_at is None) == (4, 1, False)
    assert await documents_of(log) == {("acme", "1"): [1, 2, 3]}


async def test_a_purge_gives_the_event_up_and_its_stream_goes_on_behind_it(log: EventLog) -> None:
    clock = ManualClock()
    worker = make_worker(log, clock=clock)
    await append(log, "order-1", 2)
    await append(log, "order-1", is_poison=True)
    await append(log, "order-1", 30)
    await until_dead(worker, clock)
    (letter,) = await all_letters(worker)
    purged = await purge(means_of(worker), worker.projection, letter.id, tenant=None)
    assert (purged.stream, purged.version, purged.event_type) == ("order-1", 3, "order.placed")
    assert (purged.applied, purged.reason) == (30, None)
    await append(log, "order-1")
    await settle(worker)
    assert await documents_of(log) == {("acme", "1"): [1, 2, *range(4, 35)]}


async def test_a_tenant_neither_sees_nor_mends_what_is_anothers(log: EventLog) -> None:
    clock = ManualClock()
    worker = make_worker(log, clock=clock)
    await append(log, StreamId("acme", "order-1"), is_poison=True)
    await append(log, StreamId("other", "order-1"), is_poison=True)
    await until_dead(worker, clock)
    (mine,) = await all_letters(worker, tenant="acme")
    (theirs,) = await all_letters(worker, tenant="other")
    assert (mine.tenant, theirs.tenant) == ("acme", "other")
    for touch in (retry, purge):
        with pytest.raises(NotFound):
            await touch(means_of(worker), worker.projection, theirs.id, tenant="acme")
    with pytest.raises(BadInput, match="no id of a dead letter"):
        await retry(means_of(worker), worker.projection, "1-x", tenant="acme")


async def test_of_an_erased_poison_event_nothing_is_told_and_its_stream_goes_on(log: EventLog) -> None:
    clock, stream = ManualClock(), StreamId("acme", "order-1")
    worker = make_worker(log, clock=clock)
    await append(log, stream, is_poison=True, secret="hush")
    await append(log, stream, 2)
    await until_dead(worker, clock)
    assert "hush" in (await all_letters(worker))[0].reason
    await erase(log, stream, [1])
    (letter,) = await all_letters(worker)
    assert letter.payload is None
    assert "hush" not in repr(letter)
    await settle(worker)
    assert await documents_of(log) == {("acme", "1"): [2, 3]}


async def test_with_too_many_streams_parked_the_projection_halts_until_some_are_mended(log: EventLog) -> None:
    clock = ManualClock()
    poison = {"x"}
    policy = POLICY.__class__(batch=2, max_attempts=1, max_parked=3, backoff=POLICY.backoff)
    worker = make_worker(log, moody(poison), clock=clock, policy=policy)
    for number in range(8):
        await append(log, StreamId(f"tenant {number}", f"order-{number}"), mark="x")
    turn = await settle(worker)
    assert turn.state == "halted"
    serving = (await shelf_of(log)).serving
    assert serving is not None
    assert len(await load_parked(log.database, serving.pk)) in (3, 4)
    poison.clear()
    while stuck := await all_letters(worker):
        for letter in stuck:
            await retry(means_of(worker), worker.projection, letter.id, tenant=None)
        await settle(worker)
    assert await documents_of(log) == {(f"tenant {number}", str(number)): [1] for number in range(8)}


async def test_the_parked_streams_of_one_tenant_halt_nothing_for_the_others(log: EventLog) -> None:
    policy = POLICY.__class__(batch=2, max_attempts=1, max_parked=3, backoff=POLICY.backoff)
    worker = make_worker(log, moody({"x"}), clock=ManualClock(), policy=policy)
    for number in range(8):
        await append(log, f"order-{number}", mark="x")
    await append(log, StreamId("other", "order-1"))
    assert (await settle(worker)).state == "live"
    assert await documents_of(log) == {("other", "1"): [1]}


@pytest.mark.parametrize(
    ("keys", "document", "reason"),
    [
        (["k" * 201], {}, "has 201 characters"),
        ([""], {}, "has 0 characters"),
        ([str(number) for number in range(101)], {}, "more than 100 documents"),
        (["k"], {"text": "x" * 2**20}, "would have 1048587 bytes"),
        (["k"], ["no object"], "would be no object"),
        (["k"], {"set": {1}}, "not JSON serializable"),
        (["k"], {"number": 2**64}, "Integer exceeds 64-bit range"),
        (["\ud800"], {}, "surrogates not allowed"),
    ],
)
async def test_documents_and_keys_over_the_limits_are_failures_of_the_event(
    log: EventLog, keys: list[str], document: Document, reason: str
) -> None:
    def answer(key: str, before: Document | None, event: Event) -> Document | None:
        return document if event.data.get("is_bad") else {"ok": True}

    projection = DocumentProjection(
        name="seen",
        types=(),
        keys=lambda event: keys if event.data.get("is_bad") else ["fine"],
        apply=answer,
    )
    await append(log, "order-1", is_bad=True)
    await append(log, "order-2")
    worker = make_worker(log, projection)
    await settle(worker)
    (letter,) = await all_letters(worker, with_retrying=True)
    assert reason in letter.reason
    rows = await log.database.fetch("SELECT key FROM projection_document")
    assert [row[0] for row in rows] == [b"fine"]


async def test_what_a_failing_event_changed_in_one_document_is_gone_in_all(log: EventLog) -> None:
    def apply(key: str, document: Document | None, event: Event) -> Document | None:
        document = document or {"count": 0}
        document["count"] += 1
        if key == "second" and event.version == 2:
            raise RuntimeError("half way")
        return document

    projection = DocumentProjection(name="seen", types=(), keys=lambda event: ["first", "second"], apply=apply)
    await log.append_to(StreamId("acme", "order-1"), [NewEvent("order.placed", {}) for _ in range(2)])
    await settle(make_worker(log, projection))
    rows = await log.database.fetch("SELECT document FROM projection_document")
    assert [row[0] for row in rows] == [b'{"count":1}', b'{"count":1}']


async def test_of_an_event_that_no_upcaster_brings_up_the_letter_shows_what_was_written(open_a_log: OpenLog) -> None:
    def bring_up(data: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("amount")

    types = TypeRegistry([EventType("order.placed", version=2, upcasters={1: bring_up})])
    async with open_a_log(types, None) as log:
        old = NewEvent("order.placed", {"mark": "x"}, schema_version=1)
        await log.append_to(StreamId("acme", "order-1"), [old])
        worker = make_worker(log)
        await settle(worker)
        (letter,) = await all_letters(worker, with_retrying=True)
        assert (letter.payload, "KeyError" in letter.reason) == ({"mark": "x"}, True)
