"""Many callers, one writer: what it takes at once, who waits, and what they hear when something goes wrong."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.lowlevel import checkpoint

from eventlog.database import Database
from eventlog.event import Appended, StreamId
from eventlog.group_commit import GroupCommit, Limits
from eventlog.store import Admitted, Outcome, Request
from stoa.errors import Fault, OutcomeUnknown, Unavailable


def request(name: str, events: int = 1, size: int = 10) -> Request:
    event = Admitted(bytes(16), "order.placed", 1, b"x" * size, b"{}", bytes(16), bytes(32), 0, None)
    return Request(StreamId("acme", name), [event] * events, None)


class SlowStore:
    """Commits when it is let; keeps the sizes of its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = anyio.Event()
        self.failure: Exception | None = None

    @property
    def database(self) -> Database:
        raise AssertionError("not asked for")

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        self.batches.append([each.stream.name for each in requests])
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return [Appended(each.stream, 1, 1, 1, ()) for each in requests]

    async def grown(self, position: int) -> None:
        raise AssertionError("not asked for")


@asynccontextmanager
async def writing(store: SlowStore, limits: Limits) -> AsyncGenerator[GroupCommit]:
    commits = GroupCommit(store, limits=limits)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commits.run)
            try:
                yield commits
            finally:
                store.gate.set()
                commits.close()


async def settle() -> None:
    for _ in range(20):
        await checkpoint()


async def test_what_gathers_during_a_commit_goes_into_the_next_one() -> None:
    store = SlowStore()
    async with writing(store, Limits()) as commits, anyio.create_task_group() as tasks:
        tasks.start_soon(commits.append, [request("first-0")])
        await settle()
        for n in range(5):
            tasks.start_soon(commits.append, [request(f"later-{n}")])
        await settle()
        assert store.batches == [["first-0"]]
        store.gate.set()
    assert store.batches == [["first-0"], [f"later-{n}" for n in range(5)]]


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        (Limits(batch_requests=4), [4, 4, 2]),
        (Limits(batch_events=6), [3, 3, 3, 1]),
        (Limits(batch_bytes=900), [2, 2, 2, 2, 2]),
        (Limits(batch_events=1), [1] * 10),
        (Limits(overlap_events=8), [5, 4, 1]),
    ],
    ids=str,
)
async def test_a_batch_has_its_bounds_and_always_takes_one(limits: Limits, sizes: list[int]) -> None:
    store = SlowStore()
    store.gate.set()
    async with writing(store, limits) as commits:
        await commits.append([request(f"order-{n}", events=2) for n in range(10)])
    assert [len(batch) for batch in store.batches] == sizes


async def test_a_full_queue_makes_callers_wait_in_their_order() -> None:
    store, done = SlowStore(), list[str]()
    async with writing(store, Limits(queued_requests=2, batch_requests=1)) as commits:

        async def append(name: str) -> None:
            await commits.append([request(name)])
            done.append(name)

        async with anyio.create_task_group() as tasks:
            for n in range(8):
                tasks.start_soon(append, f"order-{n}")
            await settle()
            assert "2 queued" in repr(commits)
            assert "5 outside" in repr(commits)
            store.gate.set()
    assert done == [f"order-{n}" for n in range(8)]


async def test_who_waits_too_long_hears_that_nothing_was_written() -> None:
    store = SlowStore()
    limits = Limits(queued_requests=1, wait_seconds=0.02)
    async with writing(store, limits) as commits, anyio.create_task_group() as tasks:
        tasks.start_soon(commits.append, [request("order-0")])
        await settle()
        tasks.start_soon(commits.append, [request("order-1")])
        await settle()
        (refused,) = await commits.append([request("order-2")])
        assert isinstance(refused, Unavailable)
        assert "overloaded" in refused.message
        assert refused.retry_after == 1.0
        store.gate.set()
    assert store.batches == [["order-0"], ["order-1"]]


async def test_who_has_gone_leaves_nothing_behind_where_a_store_hangs() -> None:
    store = SlowStore()
    limits = Limits(queued_requests=1, wait_seconds=1.0)
    async with writing(store, limits) as commits, anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(commits.append, [request(f"order-{number}")])
            await settle()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as hopeless:
                for number in range(50):
                    hopeless.start_soon(commits.append, [request(f"late-{number}")])
                await settle()
                assert "50 outside" in repr(commits)
            with anyio.move_on_after(0):
                await commits.append([request("gone")])
        assert "0 outside" in repr(commits)
        store.gate.set()


@pytest.mark.parametrize("limits", [Limits(queued_events=5, wait_seconds=5), Limits(queued_bytes=1300, wait_seconds=5)])
async def test_events_and_bytes_bound_the_queue_too_but_one_large_request_gets_in(limits: Limits) -> None:
    store = SlowStore()
    async with writing(store, limits) as commits, anyio.create_task_group() as tasks:
        for n in range(3):
            tasks.start_soon(commits.append, [request(f"order-{n}", events=4, size=100)])
        tasks.start_soon(commits.append, [request("large-1", events=100, size=100)])
        await settle()
        assert "1 queued" in repr(commits)
        store.gate.set()
    assert sorted(name for batch in store.batches for name in batch) == ["large-1", "order-0", "order-1", "order-2"]


async def test_a_caller_that_has_gone_before_its_turn_is_left_out() -> None:
    store = SlowStore()
    async with writing(store, Limits()) as commits, anyio.create_task_group() as tasks:
        tasks.start_soon(commits.append, [request("order-0")])
        await settle()
        with anyio.move_on_after(0.01):
            await commits.append([request("gone-1")])
        tasks.start_soon(commits.append, [request("order-2")])
        await settle()
        store.gate.set()
    assert store.batches == [["order-0"], ["order-2"]]


async def test_a_caller_that_has_gone_while_it_waited_for_room_is_left_out() -> None:
    store = SlowStore()
    async with writing(store, Limits(queued_requests=1)) as commits, anyio.create_task_group() as tasks:
        for n in range(2):
            tasks.start_soon(commits.append, [request(f"order-{n}")])
            await settle()
        with anyio.move_on_after(0.01):
            await commits.append([request("gone-1")])
        store.gate.set()
    assert store.batches == [["order-0"], ["order-1"]]


async def test_a_store_that_is_away_is_told_to_each_caller_and_the_next_may_succeed() -> None:
    store = SlowStore()
    store.gate.set()
    store.failure = Unavailable("The disk is full.", hint="Free some.", retry_after=60)
    async with writing(store, Limits()) as commits:
        first, second = await commits.append([request("order-0"), request("order-1")])
        assert isinstance(first, Unavailable)
        assert isinstance(second, Unavailable)
        assert first is not second
        assert (first.message, first.hint, first.retry_after) == ("The disk is full.", "Free some.", 60)
        store.failure = None
        assert isinstance((await commits.append([request("order-0")]))[0], Appended)


async def test_a_mistake_of_ours_is_a_fault_without_internals(caplog: pytest.LogCaptureFixture) -> None:
    store = SlowStore()
    store.gate.set()
    store.failure = KeyError("secret")
    async with writing(store, Limits()) as commits:
        (outcome,) = await commits.append([request("order-0")])
    assert isinstance(outcome, Fault)
    assert "secret" not in str(outcome)
    assert "KeyError" in caplog.text


async def test_closing_writes_what_was_taken_and_takes_no_more() -> None:
    store, outcomes = SlowStore(), list[Outcome]()
    async with writing(store, Limits(queued_requests=1)) as commits:

        async def append(name: str) -> None:
            outcomes.extend(await commits.append([request(name)]))

        async with anyio.create_task_group() as tasks:
            for n in range(3):
                tasks.start_soon(append, f"order-{n}")
                await settle()
            commits.close()
            outcomes.extend(await commits.append([request("late-1")]))
            store.gate.set()
    assert [isinstance(each, Appended) for each in outcomes] == [False, False, True, True]
    assert "closing" in str(outcomes[0])
    assert store.batches == [["order-0"], ["order-1"]]


async def test_a_commit_that_has_begun_is_seen_through_when_its_owner_is_cancelled() -> None:
    store = SlowStore()
    commits = GroupCommit(store)
    answers: list[Sequence[Outcome]] = []

    async def append() -> None:
        answers.append(await commits.append([request("order-0")]))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as callers, anyio.create_task_group() as owner:
            owner.start_soon(commits.run)
            callers.start_soon(append)
            await settle()
            owner.cancel_scope.cancel()
            store.gate.set()
        assert isinstance(answers[0][0], Appended)
        assert isinstance((await commits.append([request("order-1")]))[0], Unavailable)


async def test_a_task_that_is_torn_down_says_that_it_does_not_know() -> None:
    store = SlowStore()
    commits = GroupCommit(store)
    with anyio.fail_after(10):
        running = asyncio.ensure_future(commits._write_on())  # pyright: ignore[reportPrivateUsage] - a task of asyncio alone can be torn down so
        appending = asyncio.ensure_future(commits.append([request("order-0")]))
        await settle()
        running.cancel()
        (outcome,) = await appending
        assert isinstance(outcome, OutcomeUnknown)
        with pytest.raises(asyncio.CancelledError):
            await running
