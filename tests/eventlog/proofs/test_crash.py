"""Processes die in the middle of appending: what was acknowledged is there, and what is there is whole.

A process that is killed and a server that is shut down at once (`immediate`: no goodbye, recovery from its log at the
next start) lose nothing that was acknowledged. That a disk keeps what it says it has kept is believed.
"""

import subprocess
from uuid import UUID

import anyio
import pytest

from eventlog.event import NewEvent, StreamId
from eventlog.keeping.verify import verify
from tests.eventlog.proofs.conftest import Place
from tests.eventlog.proofs.test_writers import all_events

SHORT, LONG = 2_000, 50_000
lengths = pytest.mark.parametrize("wanted", [SHORT, pytest.param(LONG, marks=[pytest.mark.slow])])


async def acknowledged(place: Place, process: subprocess.Popen[bytes], wanted: int) -> None:
    """Until so many were told."""
    with anyio.fail_after(100):
        while place.count(process) < wanted:
            assert process.poll() is None, place.finish(process)
            await anyio.sleep(0.01)


async def check(place: Place, process: subprocess.Popen[bytes], wanted: int) -> None:
    told = place.told(process)
    assert len(told) >= wanted
    async with place.open() as log:
        stored = await all_events(log)
        lost = set(told) - set(stored)
        assert lost == set()
        assert [position for _, position in stored] == list(range(1, len(stored) + 1))
        report = await verify(log)
        assert report.problems == ()
        # Whoever was acknowledged and does not believe it, sends the same again: nothing is appended.
        again = {event.event_id: event for event in await log.read_all(0, limit=200)}
        for id, position in told[:20]:
            event = again.get(str(UUID(bytes=id)))
            if event is None:
                continue
            repeat = await log.append_to(event.stream, [NewEvent(event.type, event.data, event_id=event.event_id)])
            assert (repeat.is_repeat, repeat.position) == (True, position)
        assert (await log.head()).position == len(stored)
        await log.append_to(StreamId("acme", "order-later"), [NewEvent("order.placed", {})])
        assert (await log.head()).position == len(stored) + 1


@lengths
async def test_a_killed_writer_loses_nothing_that_was_acknowledged(place: Place, wanted: int) -> None:
    writer = place.start("flood", "64")
    await acknowledged(place, writer, wanted)
    writer.kill()
    assert place.finish(writer) == ""
    await check(place, writer, wanted)


@lengths
async def test_a_postgresql_that_is_shut_down_at_once_loses_nothing_that_was_acknowledged(
    fragile_place: Place, wanted: int
) -> None:
    cluster = fragile_place.cluster
    assert cluster is not None
    writer = fragile_place.start("flood", "64")
    await acknowledged(fragile_place, writer, wanted)
    await anyio.to_thread.run_sync(cluster.crash)
    await anyio.to_thread.run_sync(cluster.start)
    # The writer was not told: it finds out what became of its batch, and goes on.
    await acknowledged(fragile_place, writer, fragile_place.count(writer) + SHORT)
    writer.kill()
    assert fragile_place.finish(writer) == ""
    await check(fragile_place, writer, wanted + SHORT)
