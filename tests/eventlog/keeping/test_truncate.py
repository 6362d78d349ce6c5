"""Events are left behind only below a snapshot that was just found to be what they add up to."""

from dataclasses import replace
from typing import cast

import pytest

from eventlog.aggregates import loading
from eventlog.aggregates.loading import advance, load
from eventlog.aggregates.repository import Repository
from eventlog.event import Append, Event, NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.keeping.truncate import truncate_before
from eventlog.keeping.verify import verify
from eventlog.log import EventLog
from stoa.errors import BadInput, Conflict, NotFound
from tests.eventlog.keeping.scenes import ORDER, ORDERS, OTHER, change, fill, known, placed, rows

ID = "0193a5b0-0000-7000-8000-000000000001"


async def test_truncated_events_are_gone_and_the_state_stays(log: EventLog) -> None:
    await fill(log, ORDER, 700)
    repository = Repository(log, ORDERS)
    before = (await repository.load(ORDER)).state
    await repository.take_snapshot(ORDER)
    told: list[tuple[int, int]] = []
    done = await truncate_before(
        log, ORDER, 651, aggregate=ORDERS, on_progress=lambda done, of: told.append((done, of))
    )
    assert (done.events, done.first_version, done.snapshot_version) == (650, 651, 700)
    assert told == [(500, 650), (650, 650)]
    assert [each.version for each in await log.read_stream(ORDER)] == list(range(651, 701))
    info = await log.stream_info(ORDER)
    assert (info.first_version, info.version) == (651, 700)
    assert (await repository.load(ORDER)).state == before
    report = await verify(log)
    assert report.is_sound
    assert report.truncated == 650


async def test_the_stream_goes_on_after_a_truncation_of_everything(log: EventLog) -> None:
    await fill(log, ORDER)
    await Repository(log, ORDERS).take_snapshot(ORDER)
    await truncate_before(log, ORDER, 6, aggregate=ORDERS)
    assert await log.read_stream(ORDER) == []
    appended = await log.append_to(ORDER, [placed(6)], expected=5)
    assert appended.version == 6
    assert (await Repository(log, ORDERS).load(ORDER)).version == 6
    assert (await verify(log)).is_sound


async def test_a_stream_too_long_to_be_loaded_gets_a_snapshot_and_is_truncated(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(log, ORDER, 9)
    for bounded in (load, advance):
        monkeypatch.setitem(cast("dict[str, object]", bounded.__kwdefaults__), "max_events", 3)
    monkeypatch.setattr(loading, "PAGE", 2)
    with pytest.raises(BadInput, match="more than 3 events"):
        await Repository(log, ORDERS).load(ORDER)
    assert await Repository(log, ORDERS).take_snapshot(ORDER) == 9
    assert (await truncate_before(log, ORDER, 9, aggregate=ORDERS)).events == 8
    assert (await Repository(log, ORDERS).load(ORDER)).version == 9


async def test_it_goes_on_from_an_earlier_truncation(log: EventLog) -> None:
    repository = Repository(log, ORDERS)
    await fill(log, ORDER)
    await repository.take_snapshot(ORDER)
    await truncate_before(log, ORDER, 4, aggregate=ORDERS)
    await fill(log, ORDER)
    await repository.take_snapshot(ORDER)
    assert (await truncate_before(log, ORDER, 9, aggregate=ORDERS)).events == 5
    assert (await truncate_before(log, ORDER, 9, aggregate=ORDERS)).events == 0
    assert (await truncate_before(log, ORDER, 2, aggregate=ORDERS)).first_version == 9
    assert (await verify(log)).is_sound


async def test_a_truncated_event_that_is_sent_again_is_a_repeat(log: EventLog) -> None:
    event = placed(1)._replace(event_id=ID)
    first = await log.append_to(ORDER, [event])
    await fill(log, ORDER)
    await Repository(log, ORDERS).take_snapshot(ORDER)
    await truncate_before(log, ORDER, 3, aggregate=ORDERS)
    (again,) = await log.append([Append(ORDER, [event], 0)])
    assert again == first._replace(is_repeat=True)


async def test_erased_events_can_be_truncated(log: EventLog) -> None:
    await fill(log, ORDER)
    await erase(log, ORDER, [2])
    await Repository(log, ORDERS).take_snapshot(ORDER)
    assert (await truncate_before(log, ORDER, 4, aggregate=ORDERS)).events == 3
    assert (await verify(log)).is_sound


async def test_without_a_snapshot_nothing_is_removed(log: EventLog) -> None:
    await fill(log, ORDER)
    with pytest.raises(Conflict, match="there is none"):
        await truncate_before(log, ORDER, 4, aggregate=ORDERS)
    await Repository(log, ORDERS).take_snapshot(ORDER)
    await fill(log, ORDER)
    with pytest.raises(Conflict, match="is of version 5"):
        await truncate_before(log, ORDER, 7, aggregate=ORDERS)
    assert len(await log.read_stream(ORDER)) == 10
    assert (await truncate_before(log, ORDER, 6, aggregate=ORDERS)).events == 5


async def test_a_snapshot_that_is_not_what_the_events_add_up_to_is_no_ground(log: EventLog) -> None:
    """The fold was changed, and its version was not."""
    await fill(log, ORDER)
    await Repository(log, ORDERS).take_snapshot(ORDER)

    def counted(state: dict[str, object], event: Event) -> dict[str, object]:
        return {**state, "count": event.version}

    other = replace(ORDERS, apply=counted)
    with pytest.raises(Conflict, match="not what its events add up to"):
        await truncate_before(log, ORDER, 4, aggregate=other)
    assert len(await log.read_stream(ORDER)) == 5


async def test_a_snapshot_that_was_changed_is_no_ground(log: EventLog) -> None:
    await fill(log, ORDER)
    await Repository(log, ORDERS).take_snapshot(ORDER)

    await change(log, "UPDATE snapshot SET digest = $1", bytes(32))
    with pytest.raises(Conflict, match="there is none"):
        await truncate_before(log, ORDER, 4, aggregate=ORDERS)


async def test_a_stream_about_a_person_has_no_snapshot_and_stays(log: EventLog) -> None:
    await log.append_to(ORDER, [known(1), known(2)])
    with pytest.raises(Conflict):
        await Repository(log, ORDERS).take_snapshot(ORDER)
    with pytest.raises(Conflict):
        await truncate_before(log, ORDER, 2, aggregate=ORDERS)


async def test_another_tenants_stream_of_the_same_name_stays(log: EventLog) -> None:
    await fill(log, OTHER)
    await fill(log, ORDER)
    for stream in (ORDER, OTHER):
        await Repository(log, ORDERS).take_snapshot(stream)
    await truncate_before(log, ORDER, 6, aggregate=ORDERS)
    assert len(await log.read_stream(OTHER)) == 5
    assert await rows(log, "SELECT COUNT(*) FROM truncated") == [(5,)]


@pytest.mark.parametrize(
    ("stream", "version", "error"),
    [(ORDER, 0, BadInput), (ORDER, 7, BadInput), (StreamId("acme", "order-9"), 1, NotFound)],
)
async def test_what_cannot_be_truncated_is_refused(
    log: EventLog, stream: StreamId, version: int, error: type[Exception]
) -> None:
    await log.append_to(ORDER, [NewEvent("order.placed", {})] * 5)
    with pytest.raises(error):
        await truncate_before(log, stream, version, aggregate=ORDERS)
