"""Following: what is there, then what comes; nothing missed, nothing twice."""

from collections.abc import Sequence
from contextlib import aclosing

import anyio
import anyio.lowlevel

from eventlog.event import EVERYTHING, Append, Event, Filter, NewEvent, StreamId
from eventlog.log import EventLog


async def take(
    log: EventLog, count: int, after: int = 0, filter: Filter = EVERYTHING, batch: int = 1000
) -> list[Event]:
    taken: list[Event] = []
    with anyio.fail_after(20):
        async with aclosing(log.follow(after, filter=filter, batch=batch)) as pages:
            async for page in pages:
                assert 0 < len(page) <= batch
                taken.extend(page)
                if len(taken) >= count:
                    return taken
    raise AssertionError("the log has ended")


def positions(events: Sequence[Event]) -> list[int]:
    return [event.position for event in events]


async def append(log: EventLog, count: int, type: str = "order.placed", tenant: str = "acme") -> None:
    for n in range(count):
        await log.append_to(StreamId(tenant, f"order-{n % 7}"), [NewEvent(type, {"n": n})])


async def test_a_follower_gets_what_is_there_and_then_what_comes(log: EventLog) -> None:
    await append(log, 30)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append, log, 30)
            assert positions(await take(log, 60, batch=7)) == list(range(1, 61))
    assert positions(await take(log, 10, after=50)) == list(range(51, 61))


async def test_a_follower_that_waits_is_woken_by_the_next_append(log: EventLog) -> None:
    seen: list[Event] = []
    waiting = anyio.Event()

    async def follow() -> None:
        waiting.set()
        seen.extend(await take(log, 1))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await waiting.wait()
            await anyio.wait_all_tasks_blocked()
            await append(log, 1)
    assert positions(seen) == [1]


async def test_many_followers_and_many_writers_nothing_missed_nothing_twice(log: EventLog) -> None:
    found: list[list[int]] = []

    async def follow(after: int) -> None:
        found.append(positions(await take(log, 200 - after, after=after, batch=13)))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for after in (0, 0, 10, 50, 199):
                tasks.start_soon(follow, after)
            for _ in range(10):
                tasks.start_soon(append, log, 20)
    assert sorted(found, key=len) == sorted([list(range(after + 1, 201)) for after in (0, 0, 10, 50, 199)], key=len)


async def test_a_filter_follows_only_what_it_lets_through(log: EventLog) -> None:
    async def write() -> None:
        for _ in range(5):
            await append(log, 3, "order.placed")
            await append(log, 1, "order.paid")
            await append(log, 2, "order.paid", "other")

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            seen = await take(log, 5, filter=Filter(tenant="acme", types=("order.paid",)))
            assert positions(seen) == [4, 10, 16, 22, 28]


async def test_a_follower_of_a_type_that_is_new_notices_it(log: EventLog) -> None:
    await append(log, 3)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append, log, 1, "invoice.sent", "newcomer")
            seen = await take(log, 1, filter=Filter(tenant="newcomer", types=("invoice.*",)))
            assert positions(seen) == [4]


async def test_waiting_ends_once_the_log_has_grown(log: EventLog) -> None:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for position in range(5):
                tasks.start_soon(log.grown, position)
            await log.append([Append(StreamId("acme", f"order-{n}"), [NewEvent("order.placed", {})]) for n in range(5)])
        await log.grown(4)


async def test_who_stops_waiting_leaves_the_others_waiting_well(log: EventLog) -> None:
    """Of those who wait on a file, one looks for all; when it is cancelled, another one goes on."""
    woken = 0

    async def wait() -> None:
        nonlocal woken
        await log.grown(0)
        woken += 1

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            scopes: list[anyio.CancelScope] = []

            async def give_up() -> None:
                with anyio.CancelScope() as scope:
                    scopes.append(scope)
                    await log.grown(0)

            tasks.start_soon(give_up)
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            scopes[0].cancel()
            await anyio.lowlevel.checkpoint()
            await append(log, 1)
    assert woken == 2
