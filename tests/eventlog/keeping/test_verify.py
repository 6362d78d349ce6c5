"""Whatever is changed behind the log's back is found, and named."""

from collections.abc import Sequence

import anyio
import pytest

from eventlog.database import Statement
from eventlog.event import NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.keeping.verify import Report, verify
from eventlog.log import EventLog
from stoa.errors import NotFound
from tests.eventlog.keeping.scenes import ORDER, OTHER, PERSON, change, everything, fill, placed, truncate


async def test_a_log_that_nobody_touched_is_sound(log: EventLog) -> None:
    await everything(log)
    report = await verify(log)
    assert report.problems == ()
    assert (report.events, report.erased, report.truncated, report.streams) == (10, 1, 2, 4)
    assert report.position == (await log.head()).position == 13


async def test_an_empty_log_is_sound(log: EventLog) -> None:
    assert await verify(log) == Report(0, 0, 0, 0, 0, ())


async def test_progress_is_told_page_by_page(log: EventLog) -> None:
    for _ in range(5):
        await log.append_to(ORDER, [placed(number) for number in range(1_000)])
    told: list[tuple[int, int]] = []
    report = await verify(log, on_progress=lambda done, of: told.append((done, of)))
    assert report.is_sound
    assert told == [(2_000, 5_000), (4_000, 5_000), (5_000, 5_000), (5_000, 5_000)]


async def test_large_events_make_small_pages(log: EventLog) -> None:
    for _ in range(20):
        await log.append_to(ORDER, [NewEvent("order.noted", {"text": "x" * 1_000_000})])
    told: list[int] = []
    assert (await verify(log, on_progress=lambda done, of: told.append(done))).is_sound
    assert len(told) > 2
    assert max(after - before for before, after in zip([0, *told], told, strict=False)) <= 16


CHANGES: list[tuple[str, Sequence[bytes], int]] = [
    ("UPDATE event SET data = $1 WHERE position = 7", [b'{"number":7}'], 7),
    ("UPDATE event SET metadata = $1 WHERE position = 7", [b'{"principal":"eve"}'], 7),
    ("UPDATE event SET salt = $1 WHERE position = 7", [bytes(16)], 7),
    ("UPDATE event SET checksum = $1 WHERE position = 7", [bytes(32)], 7),
    ("UPDATE event SET event_id = $1 WHERE position = 7", [bytes(16)], 7),
    ("UPDATE event SET occurred_us = occurred_us + 1 WHERE position = 7", [], 7),
    ("UPDATE event SET recorded_us = recorded_us - 1 WHERE position = 7", [], 7),
    ("UPDATE event SET schema_version = 2 WHERE position = 7", [], 7),
    ("UPDATE event SET version = 9 WHERE position = 7", [], 7),
    ("UPDATE event SET tenant = 2 WHERE position = 7", [], 7),
    ("UPDATE event SET stream = 99 WHERE position = 7", [], 7),
    ("UPDATE event SET type = 99 WHERE position = 7", [], 7),
    ("UPDATE event SET correlation_id = 'c-1' WHERE position = 7", [], 7),
    ("UPDATE event SET correlation_id = NULL WHERE position = 10", [], 10),
    ("UPDATE event SET subject = NULL WHERE position = 9", [], 9),
    ("UPDATE event SET subject = $1 WHERE position = 9", [bytes(16)], 9),
    ("UPDATE event SET subject = $1 WHERE position = 7", [bytes(16)], 7),
    ("UPDATE event SET data = NULL WHERE position = 7", [], 7),
    ("UPDATE event SET salt = NULL, data = NULL, metadata = NULL WHERE position = 7", [], 7),
    ("UPDATE event SET data = $1 WHERE position = 5", [b"{}"], 5),  # it is erased
    ("UPDATE event SET digest = $1 WHERE position = 5", [bytes(32)], 5),
    ("DELETE FROM event WHERE position = 7", [], 7),
    ("DELETE FROM event WHERE position = 13", [], 13),
    ("UPDATE event SET position = 70 WHERE position = 13", [], 13),
    ("UPDATE truncated SET checksum = $1 WHERE position = 1", [bytes(32)], 1),
    ("UPDATE truncated SET digest = $1 WHERE position = 4", [bytes(32)], 4),
    ("DELETE FROM truncated WHERE position = 4", [], 4),
]


@pytest.mark.parametrize(("sql", "values", "position"), CHANGES, ids=[sql for sql, _, _ in CHANGES])
async def test_a_changed_row_is_named(log: EventLog, sql: str, values: Sequence[bytes], position: int) -> None:
    await everything(log)
    await change(log, sql, *values)
    report = await verify(log)
    assert report.problems
    assert report.problems[0].position == position or sql.startswith("UPDATE event SET position")
    assert position in {each.position for each in report.problems}


async def test_one_changed_event_is_one_problem(log: EventLog) -> None:
    """What follows it in the stream is not blamed, whether its data was changed or its checksum."""
    await fill(log, ORDER)
    await change(log, "UPDATE event SET data = $1 WHERE position = 3", b"{}")
    await change(log, "UPDATE event SET checksum = $1 WHERE position = 4", bytes(32))
    found = (await verify(log)).problems
    assert [(each.position, each.stream, each.version) for each in found] == [(3, "order-1", 3), (4, "order-1", 4)]


async def test_two_events_that_changed_places_are_found(log: EventLog) -> None:
    await fill(log, ORDER)
    for old, new in ((2, -2), (3, 2), (-2, 3)):
        await change(log, "UPDATE event SET version = $1 WHERE version = $2", new, old)
    assert {each.position for each in (await verify(log)).problems} >= {2, 3}


STREAM_CHANGES = [
    "UPDATE stream SET version = version + 1 WHERE name = 'person-7'",
    "UPDATE stream SET version = version - 1 WHERE name = 'person-7'",
    "UPDATE stream SET first_version = 2 WHERE name = 'person-7'",
    "UPDATE stream SET last_position = 1 WHERE name = 'person-7'",
    "UPDATE stream SET created_us = 1 WHERE name = 'person-7'",
    "UPDATE stream SET updated_us = 1 WHERE name = 'person-7'",
    "UPDATE stream SET checksum = digest FROM event WHERE name = 'person-7' AND position = 5",
    "UPDATE stream SET name = 'person-8' WHERE name = 'person-7'",
]


@pytest.mark.parametrize("sql", STREAM_CHANGES)
async def test_a_wrong_end_of_a_stream_is_named(log: EventLog, sql: str) -> None:
    await everything(log)
    await change(log, sql)
    assert {each.stream for each in (await verify(log)).problems} & {"person-7", "person-8"}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE log SET position = position + 1",
        "UPDATE log SET position = position - 1",
        "UPDATE log SET recorded_us = recorded_us + 1",
        "UPDATE log SET streams = streams + 1",
    ],
)
async def test_a_wrong_end_of_the_log_is_found(log: EventLog, sql: str) -> None:
    await everything(log)
    await change(log, sql)
    assert not (await verify(log)).is_sound


async def test_a_tenant_hears_of_its_own_streams_only(log: EventLog) -> None:
    await everything(log)
    await change(log, "UPDATE event SET data = $1 WHERE position = 2", b"{}")  # the other tenant's
    assert (await verify(log, tenant="acme")).problems == ()
    theirs = await verify(log, tenant="other")
    assert [(each.position, each.stream) for each in theirs.problems] == [(2, OTHER.name)]
    assert (theirs.events, theirs.erased, theirs.truncated, theirs.streams) == (4, 1, 0, 2)
    with pytest.raises(NotFound):
        await verify(log, tenant="nobody")


async def test_a_tenants_missing_event_is_found_by_its_neighbours(log: EventLog) -> None:
    await everything(log)
    await change(log, "DELETE FROM event WHERE position = 6")
    assert [(each.stream, each.version) for each in (await verify(log, tenant="acme")).problems] == [(PERSON.name, 3)]
    await change(log, "DELETE FROM event WHERE position = 12")
    assert len((await verify(log, tenant="acme")).problems) == 2


async def test_it_begins_where_it_is_told_to(log: EventLog) -> None:
    await everything(log)
    await change(log, "UPDATE event SET data = $1 WHERE position = 3", b"\x01")
    report = await verify(log, after=6)
    assert report.problems == ()
    assert (report.events, report.erased, report.truncated) == (7, 0, 0)
    await change(log, "UPDATE event SET data = $1 WHERE position = 9", b"\x01")
    assert [each.position for each in (await verify(log, after=6)).problems] == [9]


async def test_many_problems_are_cut(log: EventLog) -> None:
    for count in (1_000, 500):
        await log.append_to(ORDER, [placed(number) for number in range(count)])
    await log.database.write(Statement("UPDATE event SET data = $1", [(b"{}",)]))
    report = await verify(log)
    assert len(report.problems) == 1_000
    assert report.is_cut


async def test_a_log_that_is_written_erased_and_truncated_meanwhile_stays_sound(log: EventLog) -> None:
    for number in range(4):
        await fill(log, StreamId("acme", f"order-{number}"), 600)
    reports: list[Report] = []
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def look() -> None:
                reports.extend([await verify(log) for _ in range(6)])
                tasks.cancel_scope.cancel()

            async def write() -> None:
                while True:
                    await fill(log, StreamId("acme", "order-0"), 10)
                    await fill(log, OTHER, 10)

            async def keep() -> None:
                for version in range(2, 600, 20):
                    await erase(log, StreamId("acme", "order-1"), [version, version + 1])
                    await truncate(log, StreamId("acme", "order-2"), version)
                await anyio.sleep_forever()

            tasks.start_soon(look)
            tasks.start_soon(write)
            tasks.start_soon(keep)
    assert [each.problems for each in reports] == [()] * 6
