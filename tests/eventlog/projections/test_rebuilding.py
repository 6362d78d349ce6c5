"""Built anew beside the old one, which serves until the new one is as far."""

import random

import pytest

from eventlog.database import Statement
from eventlog.log import EventLog
from eventlog.projections.decide import Build
from eventlog.projections.projector import Projector
from eventlog.projections.tables import load_shelf
from eventlog.projections.work import Means
from eventlog.projections.worker import Worker, build
from stoa.clock import ManualClock
from stoa.errors import Conflict
from tests.eventlog.projections.counting import (
    POLICY,
    SEEN,
    append,
    documents_of,
    folded,
    make_worker,
    settle,
    shelf_of,
    versioned,
)


async def rebuild(log: EventLog, worker: Worker, reason: str = "asked for") -> None:
    means: Means = worker._means  # pyright: ignore[reportPrivateUsage] - the tests' own worker
    await build(means, worker.projection, await shelf_of(log), Build(reason), await log.head())


async def spoil(log: EventLog, version: str) -> None:
    """What is served is not what a fold would make: so it is seen which generation answers."""
    sql = (
        "UPDATE projection_document SET document = $1"
        " WHERE generation = (SELECT MAX(pk) FROM projection_generation WHERE state = 'serving')"
    )
    await log.database.write(Statement(sql, [(f'{{"versions":["{version}"]}}'.encode(),)]))


async def test_the_old_one_serves_until_the_new_one_is_as_far(log: EventLog) -> None:
    worker = make_worker(log)
    await append(log, "order-1", 35)
    await settle(worker)
    await spoil(log, "old")
    await rebuild(log, worker)
    seen_building = 0
    for _ in range(100):
        turn = await worker.turn()
        shelf = await shelf_of(log)
        if shelf.building is not None:
            seen_building += 1
            assert await documents_of(log) == {("acme", "1"): ["old"]}
        elif turn.is_over:
            break
    assert seen_building > 2
    assert await documents_of(log) == {("acme", "1"): list(range(1, 36))}
    assert (await shelf_of(log)).retired == []


async def test_built_anew_while_events_come_in_it_equals_a_fresh_fold(log: EventLog) -> None:
    rng = random.Random(7)
    worker = make_worker(log)
    for _ in range(30):
        await append(log, f"order-{rng.randrange(5)}", rng.randrange(1, 4))
    await settle(worker)
    await rebuild(log, worker)
    swapped = False
    for _ in range(60):
        await append(log, f"order-{rng.randrange(5)}", rng.randrange(1, 4), is_poison=rng.random() < 0.02)
        before = await documents_of(log)
        await worker.turn()
        after = await documents_of(log)
        assert all(len(after[place]) >= len(versions) for place, versions in before.items()), "it went back"
        swapped |= (await shelf_of(log)).building is None
    assert swapped, "it is never as far while events come in"
    await settle(worker)
    assert await documents_of(log) == await folded(log)


async def test_of_the_old_one_nothing_is_left_but_its_reason(log: EventLog) -> None:
    worker = make_worker(log)
    for number in range(10):
        await append(log, f"order-{number}")
    await settle(worker)
    for reason in ("one", "two", "three"):
        await rebuild(log, worker, reason)
        await settle(worker)
    rows = await log.database.fetch("SELECT state, reason FROM projection_generation ORDER BY pk")
    assert [tuple(row) for row in rows] == [
        ("removed", "first"),
        ("removed", "one"),
        ("removed", "two"),
        ("serving", "three"),
    ]
    count = await log.database.fetch("SELECT COUNT(*) FROM projection_document")
    assert count[0][0] == 10


async def test_of_many_old_ones_the_last_twenty_are_remembered(log: EventLog) -> None:
    worker = make_worker(log)
    await append(log, "order-1")
    await settle(worker)
    for number in range(24):
        await rebuild(log, worker, str(number))
        await settle(worker)
    rows = await log.database.fetch("SELECT COUNT(*) FROM projection_generation WHERE state = 'removed'")
    assert rows[0][0] in (20, 21)


async def test_a_new_version_is_built_by_itself_while_the_old_one_serves(log: EventLog) -> None:
    await append(log, "order-1", 35)
    old = make_worker(log, versioned(1), owner="old")
    await settle(old)
    await old.release()
    await spoil(log, "old")
    new = make_worker(log, versioned(2), owner="new")
    await new.turn()
    assert await documents_of(log) == {("acme", "1"): ["old"]}
    await settle(new)
    serving = (await shelf_of(log)).serving
    assert serving is not None
    assert (serving.version, serving.reason) == (2, "version 2 instead of 1")
    assert await documents_of(log) == {("acme", "1"): list(range(1, 36))}


async def test_while_a_new_version_is_rolled_out_the_old_one_goes_on_and_then_lets_be(log: EventLog) -> None:
    await append(log, "order-1", 35)
    old, new = make_worker(log, versioned(1), owner="old"), make_worker(log, versioned(2), owner="new")
    await settle(old)
    await new.turn()
    await append(log, "order-1", 2)
    await settle(old)
    assert await documents_of(log) == {("acme", "1"): list(range(1, 38))}
    await settle(new)
    assert (await settle(old)).state == "superseded"
    serving = (await shelf_of(log)).serving
    assert serving is not None
    assert serving.version == 2
    assert old.held == set()


async def test_a_still_newer_version_replaces_what_is_being_built(log: EventLog) -> None:
    await append(log, "order-1", 35)
    await settle(make_worker(log, versioned(1), owner="a"))
    await make_worker(log, versioned(2), owner="b").turn()
    newest = make_worker(log, versioned(3), owner="c")
    await settle(newest)
    shelf = await shelf_of(log)
    assert shelf.serving is not None
    assert (shelf.serving.version, shelf.building, shelf.retired) == (3, None, [])
    assert await documents_of(log) == await folded(log)


async def test_a_generation_with_streams_that_are_tried_again_waits_for_them(log: EventLog) -> None:
    clock = ManualClock()
    worker = make_worker(log, clock=clock)
    await append(log, "order-1", 3)
    await append(log, "order-2", is_poison=True)
    await settle(worker)
    for _ in range(3):
        clock.advance(20)
        await settle(worker)
    await rebuild(log, worker)
    await settle(worker)
    assert (await shelf_of(log)).building is not None
    for _ in range(3):
        clock.advance(20)
        await settle(worker)
    shelf = await shelf_of(log)
    assert shelf.building is None
    assert await documents_of(log) == {("acme", "1"): [1, 2, 3]}


@pytest.mark.parametrize("column", ["checksum", "epoch", "position"])
async def test_a_checkpoint_that_does_not_fit_the_log_is_noticed_and_said(
    log: EventLog, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    await append(log, "order-1", 15)
    first = make_worker(log, owner="a")
    await settle(first)
    await first.release()
    other = {"checksum": bytes(range(32)), "epoch": "another", "position": 99}[column]
    await log.database.write(Statement(f"UPDATE projection_generation SET {column} = $1", [(other,)]))
    await spoil(log, "of another log")
    projector = Projector(log, [SEEN], clock=ManualClock(), policy=POLICY)
    second = make_worker(log, owner="b")
    while (await shelf_of(log)).building is None:
        await second.turn()
    status = await projector.status("seen")
    assert status.state == "rebuilding"
    assert "log" in (status.rebuild_reason or "")
    assert await documents_of(log) == {("acme", "1"): ["of another log"]}
    await settle(second)
    assert await documents_of(log) == await folded(log)
    assert [record.levelname for record in caplog.records if "built anew" in record.message] == ["WARNING"]
    status = await projector.status("seen")
    assert status.state == "live"
    assert "log" in (status.built_because or "")


async def test_a_new_generation_whose_checkpoint_does_not_fit_is_given_up_for_another(log: EventLog) -> None:
    await append(log, "order-1", 35)
    worker = make_worker(log, owner="a")
    await settle(worker)
    await rebuild(log, worker)
    await worker.turn()
    await worker.release()
    await log.database.write(Statement("UPDATE projection_generation SET epoch = 'another' WHERE state = 'building'"))
    await settle(make_worker(log, owner="b"))
    shelf = await shelf_of(log)
    assert shelf.serving is not None
    assert (shelf.serving.pk, shelf.building) == (3, None)
    assert await documents_of(log) == await folded(log)


async def test_asked_twice_it_is_built_once(log: EventLog) -> None:
    await append(log, "order-1", 35)
    worker = make_worker(log)
    await settle(worker)
    projector = Projector(log, [SEEN], clock=ManualClock(), policy=POLICY)
    await projector.rebuild("seen")
    await projector.rebuild("seen")
    with pytest.raises(Conflict):
        await rebuild(log, worker)
    await settle(worker)
    shelf = await load_shelf(log.database, "seen")
    assert shelf is not None
    assert shelf.serving is not None
    assert shelf.serving.pk == 2


async def test_who_has_an_older_version_cannot_build_it_anew(log: EventLog) -> None:
    await append(log, "order-1")
    await settle(make_worker(log, versioned(2)))
    with pytest.raises(Conflict, match="Version 2 of projection 'seen' serves"):
        await Projector(log, [versioned(1)]).rebuild("seen")
    assert (await Projector(log, [versioned(1)]).status("seen")).state == "superseded"
