"""Appends of many callers in one transaction: a bounded queue, and one writer that empties it into the store.

A commit costs about the same for one event as for hundreds. So the writer takes what has gathered while it was writing,
writes it at once, and each caller gets its own answer after the commit. A full queue makes callers wait, in their
order; whoever waits too long is told that nothing was written.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, final

import anyio

from eventlog.store import Outcome, Request, Store
from stoa.errors import Fault, OutcomeUnknown, StoaError, Unavailable

__all__ = ["GroupCommit", "Limits"]

_SEND_AGAIN: Final = "Send the same events with the same ids again: they are appended only once."

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """`queued_*` bound what waits, `batch_*` what one transaction takes; `wait_seconds` is the longest wait for room.

    Of more than `overlap_events` the writer takes half, so that callers get their answers and send anew while it
    writes the other half. `commits_at_once` is for stores whose commit may be called by several tasks: the next batch
    waits at the door of the database while one is being written. Appends with `answered_at_once` events are answered in
    one turn of the event loop."""

    queued_requests: int = 10_000
    queued_events: int = 100_000
    queued_bytes: int = 64 * 2**20
    batch_requests: int = 2_000
    batch_events: int = 20_000
    batch_bytes: int = 16 * 2**20
    overlap_events: int = 1_000
    commits_at_once: int = 1
    answered_at_once: int = 32
    wait_seconds: float = 10.0


@final
class _Waiting:
    """A request on its way. Plain asyncio futures: a lock or event of anyio for each append would cost several times
    as much, and this is the busiest path of the log."""

    __slots__ = ("answer", "bytes", "events", "request")

    def __init__(self, request: Request, answer: asyncio.Future[Outcome]) -> None:
        self.request = request
        self.answer = answer
        self.events = len(request.events)
        # About what a request holds in memory; rows have some hundred bytes besides their data.
        self.bytes = sum([len(event.data) + len(event.metadata) + 200 for event in request.events])


class GroupCommit:
    """`run` writes until `close`; `append` may be called by any number of tasks of the same event loop."""

    def __init__(self, store: Store, *, limits: Limits | None = None) -> None:
        self._store = store
        self._limits = limits or Limits()
        self._queue: deque[_Waiting] = deque()
        self._for_room: deque[tuple[_Waiting, asyncio.Future[None]]] = deque()
        self._events = 0
        self._bytes = 0
        self._writing = 0
        self._wakened = asyncio.Event()
        self._is_closed = False
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return (
            f"<GroupCommit {state}, {len(self._queue)} queued ({self._events} events), {len(self._for_room)} outside>"
        )

    async def append(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """An outcome for each, after their commit. What could not be written, and why, is an outcome too.

        A caller that is cancelled here does not know: what was taken by the writer already is written all the same.
        """
        if len(requests) == 1:
            return [await (self._hand_in(requests[0]) or await self._hand_in_later(requests[0]))]
        answers = [self._hand_in(request) or await self._hand_in_later(request) for request in requests]
        return [await answer for answer in answers]

    async def run(self) -> None:
        """Write until `close` was called and everything is answered."""
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(self._limits.commits_at_once):
                    tasks.start_soon(self._write_on)
        finally:
            self.close()
            _answer_all(self._queue, _closed())
            self._queue.clear()

    async def _write_on(self) -> None:
        """Take and write. While another batch is being written, only where more than `overlap_events` have gathered:
        few callers are served best all at once, by the one who has time."""
        while True:
            if not self._queue or (self._writing and self._events <= self._limits.overlap_events):
                if self._is_closed and not self._queue:
                    self._wakened.set()  # for one who waits for room beside this one
                    return
                self._wakened.clear()
                await self._wakened.wait()
            elif batch := self._take():
                self._writing += 1
                try:
                    await self._write(batch)
                finally:
                    self._writing -= 1

    def close(self) -> None:
        """Take nothing more. What is queued is still written by `run`."""
        self._is_closed = True
        self._wakened.set()
        while self._for_room:
            waiting, room = self._for_room.popleft()
            if not waiting.answer.done():
                waiting.answer.set_result(_closed())
            if not room.done():
                room.set_result(None)

    def _hand_in(self, request: Request) -> "asyncio.Future[Outcome] | None":
        """Where its answer will be; None when it has to wait for room."""
        waiting = _Waiting(request, self._loop.create_future())
        if self._for_room or self._is_closed or not self._has_room(waiting):
            return None
        self._enqueue(waiting)
        return waiting.answer

    async def _hand_in_later(self, request: Request) -> "asyncio.Future[Outcome]":
        waiting = _Waiting(request, self._loop.create_future())
        if self._is_closed:
            waiting.answer.set_result(_closed())
        else:
            await self._wait_for_room(waiting)
        return waiting.answer

    def _has_room(self, waiting: _Waiting) -> bool:
        limits = self._limits
        return not self._queue or (
            len(self._queue) < limits.queued_requests
            and self._events + waiting.events <= limits.queued_events
            and self._bytes + waiting.bytes <= limits.queued_bytes
        )

    def _enqueue(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        self._events += waiting.events
        self._bytes += waiting.bytes
        if len(self._queue) == 1 or self._events > self._limits.overlap_events:
            self._wakened.set()

    async def _wait_for_room(self, waiting: _Waiting) -> None:
        """Returns when the request is queued, or answered."""
        room: asyncio.Future[None] = self._loop.create_future()
        place = (waiting, room)
        self._for_room.append(place)
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                await room
        except TimeoutError:
            # Between the deadline and this line the request may have been let in all the same.
            if not room.done() or room.cancelled():
                waiting.answer.set_result(self._overloaded())
        except asyncio.CancelledError:
            waiting.answer.cancel()
            raise
        finally:
            # Who has gone takes the events along: a store that hangs would gather them all in memory.
            if room.cancelled():
                with suppress(ValueError):
                    self._for_room.remove(place)

    def _let_in(self) -> None:
        while self._for_room and (self._for_room[0][1].done() or self._has_room(self._for_room[0][0])):
            waiting, room = self._for_room.popleft()
            if not room.done():
                self._enqueue(waiting)
                room.set_result(None)

    def _take(self) -> Sequence[_Waiting]:
        """The next batch, without those whose callers have gone."""
        limits, queue = self._limits, self._queue
        most_events = limits.batch_events
        if self._events > limits.overlap_events:
            most_events = min(most_events, max(limits.overlap_events, self._events // 2))
        batch: list[_Waiting] = []
        events = size = 0
        while queue and len(batch) < limits.batch_requests:
            waiting = queue[0]
            if batch and (events + waiting.events > most_events or size + waiting.bytes > limits.batch_bytes):
                break
            queue.popleft()
            self._events -= waiting.events
            self._bytes -= waiting.bytes
            if not waiting.answer.done():
                events += waiting.events
                size += waiting.bytes
                batch.append(waiting)
        if self._for_room:
            self._let_in()
        return batch

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        try:
            outcomes = await self._seen_through(batch)
        except StoaError as error:
            _answer_all(batch, error)
        except Exception:  # noqa: BLE001 - the log must go on for other callers; these are told, and it is logged
            _log.exception("a batch of %d appends failed", len(batch))
            _answer_all(batch, Fault("The log could not append.", hint="See the log of the process for the cause."))
        except asyncio.CancelledError:  # of the task itself, which no scope keeps off
            _answer_all(batch, OutcomeUnknown("The event log was torn down while it was writing.", hint=_SEND_AGAIN))
            raise
        else:
            self._answer(batch, outcomes)

    def _answer(self, batch: Sequence[_Waiting], outcomes: Sequence[Outcome], at: int = 0) -> None:
        """A few callers in each turn of the event loop: what they append next is work for the loop, and between two
        turns the store gets on with the next batch."""
        events = 0
        while at < len(batch):
            if events >= self._limits.answered_at_once:
                self._loop.call_soon(self._answer, batch, outcomes, at)
                return
            waiting = batch[at]
            if not waiting.answer.done():
                waiting.answer.set_result(outcomes[at])
            events += waiting.events
            at += 1

    async def _seen_through(self, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        """A commit that has begun is not cancelled, so that its answer is known."""
        outcomes: Sequence[Outcome] = ()
        with anyio.CancelScope(shield=True):
            outcomes = await self._store.commit([waiting.request for waiting in batch])
        return outcomes

    def _overloaded(self) -> Unavailable:
        return Unavailable(
            f"The event log is overloaded: {len(self._queue):,} appends with {self._events:,} events wait to be"
            f" written, and no room came free in {self._limits.wait_seconds:g} seconds. Nothing was appended.",
            hint="Send the same request again, a little later.",
            retry_after=1.0,
        )


def _closed() -> Unavailable:
    return Unavailable("The event log is closing; nothing was appended.", hint="Send the request to a running process.")


def _answer_all(batch: Sequence[_Waiting] | deque[_Waiting], error: StoaError) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            # An error of its own for each: raised in many tasks, one would gather the tracebacks of all.
            waiting.answer.set_result(type(error)(error.message, hint=error.hint, retry_after=error.retry_after))
