"""A simulated replica: a few slots, a queue in front of them, exponential service times, and trouble at some time."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tests.pool.simulation.events import Events

__all__ = ["Job", "Server", "Trouble"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """From `since_seconds` on, server number `server` is `times_slower` (below 1: faster) and fails or not."""

    server: int
    since_seconds: float
    times_slower: float = 1.0
    fails: bool = False


class Job:
    """One attempt of a call on one server. `done` is told whether it went well; the queue skips a dropped one."""

    __slots__ = ("done", "is_dropped")

    def __init__(self, done: Callable[[bool], None]) -> None:
        self.done = done
        self.is_dropped = False


class Server:
    """First come first served; what has been begun is worked on to its end, whoever still waits for it."""

    def __init__(
        self, mean_seconds: float, slots: int, *, events: Events, rng: random.Random, trouble: Trouble | None = None
    ) -> None:
        self._mean_seconds = mean_seconds
        self._free = slots
        self._events = events
        self._rng = rng
        self._trouble = trouble
        self._queue: deque[Job] = deque()
        self.served = 0

    def submit(self, job: Job) -> None:
        if self._free:
            self._begin(job)
        else:
            self._queue.append(job)

    def _begin(self, job: Job) -> None:
        self._free -= 1
        self.served += 1
        seconds = self._rng.expovariate(1.0 / self._mean_seconds)
        is_good = True
        trouble = self._trouble
        if trouble is not None and self._events.now >= trouble.since_seconds:
            seconds *= trouble.times_slower
            is_good = not trouble.fails
        self._events.after(seconds, lambda: self._end(job, is_good=is_good))

    def _end(self, job: Job, *, is_good: bool) -> None:
        self._free += 1
        while self._queue and self._free:
            following = self._queue.popleft()
            if not following.is_dropped:
                self._begin(following)
        job.done(is_good)
