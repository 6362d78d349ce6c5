"""Many processes append at once, with conflicts and rollbacks, while another one follows: nothing is missed, nothing
comes twice, and the order is that of the positions."""

from uuid import UUID

import anyio
import pytest

from eventlog.event import NewEvent, StreamId
from eventlog.keeping.verify import verify
from eventlog.log import EventLog
from tests.eventlog.proofs.conftest import Place
from tests.eventlog.proofs.worker import LAST


async def all_events(log: EventLog) -> list[tuple[bytes, int]]:
    found: list[tuple[bytes, int]] = []
    while page := await log.read_all(found[-1][1] if found else 0, limit=5_000):
        found += [(UUID(event.event_id).bytes, event.position) for event in page]
    return found


@pytest.mark.parametrize(
    ("writers", "appends"), [(3, 25), pytest.param(8, 150, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]
)
async def test_a_follower_misses_nothing_of_many_writers(place: Place, writers: int, appends: int) -> None:
    async with place.open() as log:
        follower = place.start("follow")
        processes = [place.start("contend", str(number), str(appends)) for number in range(writers)]
        with anyio.fail_after(250):
            for process in processes:
                assert await anyio.to_thread.run_sync(place.finish, process) == ""
            await log.append_to(StreamId("acme", "log-end"), [NewEvent(LAST, {})])
            assert await anyio.to_thread.run_sync(place.finish, follower) == ""
        stored = await all_events(log)
        report = await verify(log)
    assert [position for _, position in stored] == list(range(1, len(stored) + 1))
    assert len({id for id, _ in stored}) == len(stored)
    assert place.told(follower) == stored
    acknowledged = [record for process in processes for record in place.told(process)]
    assert set(acknowledged) == set(stored[:-1])
    assert len(acknowledged) > len(stored)  # repeats were told what the first ones were
    assert report.problems == ()
    assert report.events == len(stored)
