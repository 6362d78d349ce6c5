"""One process works on a projection; who is overtaken leaves nothing behind."""

import anyio
import pytest

from eventlog.event import Event
from eventlog.log import EventLog
from eventlog.projections.into_documents import apply_to_documents
from eventlog.projections.tables import Generation, renew
from eventlog.projections.work import Means
from eventlog.projections.worker import Worker
from stoa.clock import ManualClock
from stoa.errors import Conflict
from tests.eventlog.projections.counting import POLICY, SEEN, append, documents_of, make_worker, settle, shelf_of


def means_of(worker: Worker) -> Means:
    return worker._means  # pyright: ignore[reportPrivateUsage] - the tests' own worker


async def serving(log: EventLog) -> Generation:
    generation = (await shelf_of(log)).serving
    assert generation is not None
    return generation


async def test_while_one_holds_the_lease_the_other_waits(log: EventLog) -> None:
    clock = ManualClock()
    first, second = make_worker(log, clock=clock, owner="a"), make_worker(log, clock=clock, owner="b")
    await settle(first)
    await append(log, "order-1", 3)
    turn = await settle(second)
    assert turn.state == "waiting"
    assert await documents_of(log) == {}
    await settle(first)
    assert await documents_of(log) == {("acme", "1"): [1, 2, 3]}
    assert (await serving(log)).owner == "a"


async def test_the_lease_of_one_that_is_gone_is_taken_over_when_it_is_over(log: EventLog) -> None:
    clock = ManualClock()
    first, second = make_worker(log, clock=clock, owner="a"), make_worker(log, clock=clock, owner="b")
    await settle(first)
    await append(log, "order-1", 3)
    clock.advance(POLICY.lease_seconds - 1)
    assert (await settle(second)).state == "waiting"
    clock.advance(2)
    assert (await settle(second)).state == "live"
    assert (await serving(log)).owner == "b"
    assert await documents_of(log) == {("acme", "1"): [1, 2, 3]}
    await append(log, "order-1", 3)
    assert (await settle(first)).state == "waiting"


async def test_a_lease_that_is_renewed_goes_on(log: EventLog) -> None:
    clock = ManualClock()
    first, second = make_worker(log, clock=clock, owner="a"), make_worker(log, clock=clock, owner="b")
    await settle(first)
    clock.advance(POLICY.lease_seconds - 1)
    await log.database.write(renew(first.held, *means_of(first).lease()))
    clock.advance(2)
    assert (await settle(second)).state == "waiting"


async def test_a_lease_that_is_given_back_is_free_at_once(log: EventLog) -> None:
    first, second = make_worker(log, owner="a"), make_worker(log, owner="b")
    await settle(first)
    await first.release()
    assert first.held == set()
    assert (await settle(second)).state == "live"
    await first.release()  # it holds nothing: the other one's is left alone
    assert (await serving(log)).owner == "b"


async def test_who_was_overtaken_has_written_nothing(log: EventLog) -> None:
    clock = ManualClock()
    slow, quick = make_worker(log, clock=clock, owner="slow"), make_worker(log, clock=clock, owner="quick")
    await settle(slow)
    await append(log, "order-1", 3)
    await append(log, "order-2", is_poison=True)
    as_read = await serving(log)
    events = await log.read_all(0)
    clock.advance(100)
    await settle(quick)
    before = await _everything(log)
    with pytest.raises(Conflict):
        await apply_to_documents(means_of(slow), SEEN, as_read, {}, events, epoch=as_read.epoch)
    assert await _everything(log) == before
    assert await documents_of(log) == {("acme", "1"): [1, 2, 3]}


async def test_of_two_that_go_on_from_the_same_place_one_does(log: EventLog) -> None:
    worker = make_worker(log)
    await settle(worker)
    await append(log, "order-1", 3)
    as_read = await serving(log)
    events = await log.read_all(0)
    await apply_to_documents(means_of(worker), SEEN, as_read, {}, events, epoch=as_read.epoch)
    with pytest.raises(Conflict):
        await apply_to_documents(means_of(worker), SEEN, as_read, {}, events, epoch=as_read.epoch)
    assert await documents_of(log) == {("acme", "1"): [1, 2, 3]}


async def test_both_begin_a_projection_at_the_same_time_and_there_is_one(log: EventLog) -> None:
    workers = [make_worker(log, owner=name) for name in "abcd"]
    async with anyio.create_task_group() as tasks:
        for worker in workers:
            tasks.start_soon(worker.turn)
    await append(log, "order-1", 3)
    for worker in workers:
        await settle(worker)
    assert len((await shelf_of(log)).live) == 1
    assert await documents_of(log) == {("acme", "1"): [1, 2, 3]}


async def test_a_turn_that_fails_at_the_write_is_done_again(log: EventLog) -> None:
    """Nothing is kept in memory that a write which did not happen would have made wrong."""
    tries: list[int] = []

    def apply(key: str, document: dict[str, object] | None, event: Event) -> dict[str, object] | None:
        tries.append(event.version)
        return SEEN.apply(key, document, event)

    worker = make_worker(log, type(SEEN)(name="seen", types=("order.*",), keys=SEEN.keys, apply=apply))
    await append(log, "order-1", 3)
    await settle(worker)
    await append(log, "order-1", 3)
    row = await serving(log)
    await log.database.write(renew(worker.held, "a", 0))  # it runs out now: somebody may have taken it
    await settle(worker)
    assert (await serving(log)).revision > row.revision
    assert await documents_of(log) == {("acme", "1"): [1, 2, 3, 4, 5, 6]}


async def _everything(log: EventLog) -> list[object]:
    generations = await log.database.fetch("SELECT * FROM projection_generation ORDER BY pk")
    documents = await log.database.fetch("SELECT * FROM projection_document ORDER BY tenant, key")
    parked = await log.database.fetch("SELECT * FROM projection_parked ORDER BY tenant, stream")
    return [[tuple(row) for row in rows] for rows in (generations, documents, parked)]
