"""Whatever is done in whatever order: the log agrees with a list and a few dictionaries."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from uuid import UUID

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from eventlog.conflict import IdTaken, WrongVersion
from eventlog.event import EVERYTHING, Append, Appended, Event, Filter, Metadata, NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.open import open_memory, open_sqlite, serve_log
from stoa.errors import NotFound, StoaError

STREAMS = st.builds(StreamId, st.sampled_from(["acme", "other"]), st.sampled_from(["order-1", "order-2", "invoice-1"]))
TYPES = st.sampled_from(["order.placed", "order.paid", "invoice.sent", "invoice.item.added"])
RUNS = st.sampled_from([None, "run-1", "run-2"])
IDS = st.integers(1, 30).map(lambda number: str(UUID(int=number)))
"""Few, so that repeats are frequent."""


def new_event(type: str, n: float | None, run: str | None, event_id: str | None) -> NewEvent:
    return NewEvent(type, {"n": n}, Metadata(correlation_id=run), event_id)


NUMBERS = st.integers(-5, 5) | st.none() | st.floats(allow_nan=False, allow_infinity=False)
EVENTS = st.builds(new_event, TYPES, NUMBERS, RUNS, st.none() | IDS)
BATCHES = st.lists(EVENTS, min_size=1, max_size=4, unique_by=lambda event: event.event_id or object())
EXPECTED = st.none() | st.integers(0, 6) | st.just("actual")
FILTERS = st.builds(
    Filter,
    tenant=st.none() | st.sampled_from(["acme", "other", "nobody"]),
    types=st.lists(TYPES | st.sampled_from(["order.*", "invoice.*", "invoice.item.*", "nothing.*"]), max_size=2).map(
        tuple
    ),
    stream_prefix=st.none() | st.sampled_from(["order-", "order-1", "inv", "z"]),
    correlation_id=RUNS,
)


class Kept(NamedTuple):
    """An event of the model; its position is its place in the list."""

    stream: StreamId
    version: int
    event: NewEvent
    event_id: str


def passes(filter: Filter, kept: Kept) -> bool:
    event, stream = kept.event, kept.stream
    return (
        filter.tenant in (None, stream.tenant)
        and (
            not filter.types
            or any(
                event.type == each or (each[-1] == "*" and event.type.startswith(each[:-1])) for each in filter.types
            )
        )
        and stream.name.startswith(filter.stream_prefix or "")
        and filter.correlation_id in (None, event.metadata.correlation_id)
    )


class Machine(RuleBasedStateMachine):
    """Subclasses say which log is opened."""

    followers = Bundle("followers")

    def open(self, folder: Path) -> AbstractAsyncContextManager[EventLog]:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.model: list[Kept] = []
        self.cleanup = contextlib.ExitStack()
        self.portal: BlockingPortal = self.cleanup.enter_context(start_blocking_portal())
        folder = Path(self.cleanup.enter_context(TemporaryDirectory()))
        self.log = self.cleanup.enter_context(self.portal.wrap_async_context_manager(self.open(folder)))

    def teardown(self) -> None:
        self.cleanup.close()

    def call(self, work: Callable[..., Any], *values: object, **options: object) -> Any:
        async def within() -> Any:
            with anyio.fail_after(20):
                return await work(*values, **options)

        return self.portal.call(within)

    def version(self, stream: StreamId) -> int:
        return sum(kept.stream == stream for kept in self.model)

    def expect(self, append: Append) -> tuple[str, int, int]:
        """What has to come of it, which the model does at once: a word, and the first and the last version."""
        places = {kept.event_id: (position, kept) for position, kept in enumerate(self.model, 1)}
        found = [places.get(event.event_id or "") for event in append.events]
        if any(found):
            first = found[0]
            for number, place in enumerate(found):
                if first is None or place is None or place[1].stream != append.stream:
                    return "taken", 0, 0
                if place[1].version != first[1].version + number:
                    return "taken", 0, 0
            assert first is not None
            return "repeat", first[1].version, first[1].version + len(found) - 1
        version = self.version(append.stream)
        if append.expected not in (None, version):
            return "wrong version", version, version
        return "appended", version + 1, version + len(append.events)

    @rule(asked=st.lists(st.tuples(STREAMS, BATCHES, EXPECTED), min_size=1, max_size=5))
    def append(self, asked: Sequence[tuple[StreamId, list[NewEvent], Any]]) -> None:
        appends = [
            Append(stream, events, self.version(stream) if expected == "actual" else expected)
            for stream, events, expected in asked
        ]
        outcomes: Sequence[Appended | StoaError] = self.call(self.log.append, appends)
        for append, outcome in zip(appends, outcomes, strict=True):
            word, first, last = self.expect(append)
            if word == "taken":
                assert isinstance(outcome, IdTaken)
            elif word == "wrong version":
                assert isinstance(outcome, WrongVersion)
                assert outcome.actual == first
            else:
                assert isinstance(outcome, Appended)
                assert outcome.is_repeat == (word == "repeat")
                assert (outcome.first_version, outcome.version) == (first, last)
                if word == "appended":
                    for number, (event, id) in enumerate(zip(append.events, outcome.event_ids, strict=True)):
                        self.model.append(Kept(append.stream, first + number, event, id))
                    assert outcome.position == len(self.model)
                assert self.model[outcome.position - 1].event_id == outcome.event_ids[-1]

    def compare(self, events: Sequence[Event], wanted: Sequence[int]) -> None:
        assert [event.position for event in events] == list(wanted)
        for event in events:
            kept = self.model[event.position - 1]
            assert (event.stream, event.version, event.event_id) == (kept.stream, kept.version, kept.event_id)
            assert (event.type, event.data, event.metadata) == (kept.event.type, kept.event.data, kept.event.metadata)

    @rule(
        filter=FILTERS,
        after=st.integers(0, 30),
        until=st.none() | st.integers(0, 40),
        backwards=st.booleans(),
        limit=st.integers(1, 12),
    )
    def read_all(self, filter: Filter, after: int, until: int | None, backwards: bool, limit: int) -> None:
        events = self.call(self.log.read_all, after, filter=filter, until=until, backwards=backwards, limit=limit)
        end = len(self.model) + 1 if until is None else until
        wanted = [n for n, kept in enumerate(self.model, 1) if after < n < end and passes(filter, kept)]
        self.compare(events, (wanted[::-1] if backwards else wanted)[:limit])

    @rule(
        stream=STREAMS,
        first=st.integers(0, 8),
        more=st.none() | st.integers(0, 8),
        backwards=st.booleans(),
        limit=st.integers(1, 6),
    )
    def read_stream(self, stream: StreamId, first: int, more: int | None, backwards: bool, limit: int) -> None:
        last = None if more is None else first + more
        if not self.version(stream):
            with pytest.raises(NotFound):
                self.call(self.log.read_stream, stream)
            return
        events = self.call(
            self.log.read_stream, stream, from_version=first, to_version=last, backwards=backwards, limit=limit
        )
        wanted = [
            n
            for n, kept in enumerate(self.model, 1)
            if kept.stream == stream and first <= kept.version and (last is None or kept.version <= last)
        ]
        self.compare(events, (wanted[::-1] if backwards else wanted)[:limit])

    @initialize(target=followers)
    def first_follower(self) -> tuple[int, Filter]:
        return 0, EVERYTHING

    @rule(target=followers, after=st.integers(0, 20), filter=FILTERS)
    def another_follower(self, after: int, filter: Filter) -> tuple[int, Filter]:
        return min(after, len(self.model)), filter

    @rule(target=followers, follower=consumes(followers), batch=st.integers(1, 5))
    def follow(self, follower: tuple[int, Filter], batch: int) -> Any:
        """From where it was up to all that is there: exactly what was appended since."""
        after, filter = follower
        wanted = [n for n, kept in enumerate(self.model, 1) if n > after and passes(filter, kept)]
        if not wanted:
            return follower

        async def read() -> list[Event]:
            seen: list[Event] = []
            async with aclosing(self.log.follow(after, filter=filter, batch=batch)) as pages:  # pyright: ignore[reportArgumentType, reportUnknownVariableType] - it is a generator
                async for page in pages:
                    seen.extend(page)
                    if len(seen) >= len(wanted):
                        return seen
            raise AssertionError("the log has ended")

        self.compare(self.call(read), wanted)
        return multiple((wanted[-1], filter))

    @invariant()
    def the_end_and_the_streams_agree(self) -> None:
        assert self.call(self.log.head).position == len(self.model)
        listed = {info.stream: info.version for info in self.call(self.log.list_streams, "acme")}
        assert listed == {
            stream: self.version(stream)
            for stream in {kept.stream for kept in self.model if kept.stream.tenant == "acme"}
        }


class InMemory(Machine):
    def open(self, folder: Path) -> AbstractAsyncContextManager[EventLog]:
        return open_memory()


class InAFile(Machine):
    def open(self, folder: Path) -> AbstractAsyncContextManager[EventLog]:
        return open_file(folder / "events.db")


@contextlib.asynccontextmanager
async def open_file(path: Path) -> AsyncGenerator[EventLog]:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_sqlite(path))
        yield await stack.enter_async_context(serve_log(store))


InMemory.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
InAFile.TestCase.settings = settings(max_examples=15, stateful_step_count=25)
TestInMemory = InMemory.TestCase
TestInAFile = InAFile.TestCase
