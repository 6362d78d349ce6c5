"""Erasing removes what was said, keeps that it was said, and tells of it once."""

import pytest

from eventlog.aggregates.repository import Repository
from eventlog.event import Filter, Metadata, StreamId
from eventlog.keeping.erase import ERASED, erase, erasures_of
from eventlog.keeping.verify import verify
from eventlog.log import EventLog
from stoa.errors import BadInput, NotFound
from tests.eventlog.keeping.scenes import ORDER, ORDERS, OTHER, change, fill, placed, rows, truncate


async def test_an_erased_event_keeps_its_place_and_loses_what_it_said(log: EventLog) -> None:
    await fill(log, ORDER)
    before = await log.read_stream(ORDER)
    done = await erase(log, ORDER, [2, 3])
    assert (done.events, done.already) == (2, 0)
    after = await log.read_stream(ORDER)
    assert [each.is_erased for each in after] == [False, True, True, False, False]
    for old, new in zip(before, after, strict=True):
        assert (old.position, old.version, old.type, old.event_id, old.occurred_us, old.recorded_us, old.checksum) == (
            new.position,
            new.version,
            new.type,
            new.event_id,
            new.occurred_us,
            new.recorded_us,
            new.checksum,
        )
    assert after[1].data == {}
    assert after[1].metadata == Metadata()
    assert (await verify(log)).is_sound


async def test_nothing_of_it_is_left_in_the_row(log: EventLog) -> None:
    await log.append_to(ORDER, [placed(1)])
    await erase(log, ORDER)
    found = await rows(
        log, "SELECT salt, data, metadata, correlation_id, subject FROM event WHERE version = 1 AND stream = 1"
    )
    assert found == [(None,) * 5]
    assert await log.read_all(filter=Filter(correlation_id="c-1")) == []


async def test_without_versions_the_whole_stream_is_erased(log: EventLog) -> None:
    await fill(log, ORDER, 700)
    assert (await erase(log, ORDER)).events == 700
    assert all(each.is_erased for each in await log.read_stream(ORDER))


async def test_it_is_told_of_once_however_often_it_is_run(log: EventLog) -> None:
    await fill(log, ORDER)
    await erase(log, ORDER, [1, 2, 5], metadata=Metadata(principal="ann"))
    again = await erase(log, ORDER, [5, 2, 1])
    assert (again.events, again.already) == (0, 3)
    (told,) = await log.read_stream(erasures_of("acme"))
    assert told.type == ERASED
    assert told.data == {"stream": "order-1", "versions": [[1, 2], [5, 5]]}
    assert told.metadata.principal == "ann"
    assert (await erase(log, ORDER)).events == 2
    assert len(await log.read_stream(erasures_of("acme"))) == 2


async def test_snapshots_of_the_stream_go_too(log: EventLog) -> None:
    await fill(log, ORDER)
    await fill(log, OTHER)
    for stream in (ORDER, OTHER):
        await Repository(log, ORDERS).take_snapshot(stream)
    assert (await erase(log, ORDER, [5])).snapshots == 1
    assert await rows(log, "SELECT COUNT(*) FROM snapshot") == [(1,)]
    assert (await Repository(log, ORDERS).load(ORDER)).state == {"number": 3}


async def test_another_tenants_stream_of_the_same_name_is_not_touched(log: EventLog) -> None:
    await fill(log, ORDER)
    await fill(log, OTHER)
    await erase(log, ORDER)
    assert not any(each.is_erased for each in await log.read_stream(OTHER))
    with pytest.raises(NotFound):
        await log.read_stream(erasures_of("other"))


async def test_truncated_events_count_as_gone(log: EventLog) -> None:
    await fill(log, ORDER)
    await truncate(log, ORDER, 4)
    done = await erase(log, ORDER)
    assert (done.events, done.already, done.snapshots) == (2, 3, 1)
    assert (await verify(log)).is_sound


async def test_an_erased_event_that_was_changed_before_is_still_blamed(log: EventLog) -> None:

    await fill(log, ORDER)
    await change(log, "UPDATE event SET data = $1 WHERE position = 2", b"{}")
    await erase(log, ORDER)
    assert [each.position for each in (await verify(log)).problems] == [2]


@pytest.mark.parametrize(
    ("stream", "versions", "error"),
    [
        (StreamId("acme", "order-9"), None, NotFound),
        (StreamId("nobody", "order-1"), None, NotFound),
        (ORDER, [0], NotFound),
        (ORDER, [6], NotFound),
        (ORDER, [], BadInput),
        (erasures_of("acme"), None, BadInput),
    ],
)
async def test_what_cannot_be_erased_is_refused(
    log: EventLog, stream: StreamId, versions: list[int] | None, error: type[Exception]
) -> None:
    await fill(log, ORDER)
    await erase(log, ORDER, [1])
    with pytest.raises(error):
        await erase(log, stream, versions)
    assert sum(each.is_erased for each in await log.read_stream(ORDER)) == 1
