"""Those who wait for a slot: a bounded queue, first come first served.

The idea is psycopg_pool's: a waiter is an object whose `set()` says whether what was handed over was taken, so nobody
is served after giving up and nothing handed over is lost.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import anyio

__all__ = ["QueueIsFull", "Waiter", "Waiters"]

T = TypeVar("T")


class QueueIsFull(Exception):
    """As many wait as may wait."""


class Waiter(Generic[T]):
    """One who waits. It ends in exactly one way: it was handed something, it was refused, or it gave up."""

    def __init__(self) -> None:
        self._done = anyio.Event()
        self._slot: T | None = None
        self._error: Exception | None = None
        self._gave_up = False

    @property
    def is_waiting(self) -> bool:
        return not self._done.is_set() and not self._gave_up

    def set(self, slot: T) -> bool:
        """Hand something over. False when nobody waits here any more: it stays with the giver."""
        if not self.is_waiting:
            return False
        self._slot = slot
        self._done.set()
        return True

    def refuse(self, error: Exception) -> bool:
        """End the wait with an error. False when nobody waits here any more."""
        if not self.is_waiting:
            return False
        self._error = error
        self._done.set()
        return True

    def give_up(self) -> T | None:
        """Stop waiting. Returns what had been handed over in the meantime; the caller gives it back."""
        self._gave_up = True
        slot, self._slot = self._slot, None
        return slot

    async def wait(self) -> T:
        """What was handed over. Raises the error of a refusal. Whoever is cancelled in here calls `give_up`."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        slot, self._slot = self._slot, None
        assert slot is not None
        return slot


class Waiters(Generic[T]):
    """The queue."""

    def __init__(self, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self._queue: deque[Waiter[T]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Waiter[T]]:
        """From the one who has waited longest."""
        return iter(self._queue)

    def __repr__(self) -> str:
        return f"<Waiters {len(self._queue)}/{self.max_waiting}>"

    def join(self) -> Waiter[T]:
        """Queue up. Raises `QueueIsFull`."""
        if len(self._queue) >= self.max_waiting:
            raise QueueIsFull
        waiter = Waiter[T]()
        self._queue.append(waiter)
        return waiter

    def leave(self, waiter: Waiter[T]) -> T | None:
        """Give up and go; what had been handed over in the meantime is returned, to be given back."""
        if waiter in self._queue:
            self._queue.remove(waiter)
        return waiter.give_up()

    def hand(self, slot: T) -> bool:
        """Give to whoever has waited longest and still waits. False when nobody does."""
        while self._queue:
            if self._queue.popleft().set(slot):
                return True
        return False

    def hand_to(self, waiter: Waiter[T], slot: T) -> bool:
        """Give to this one, who leaves the queue. False when it does not wait any more."""
        if waiter in self._queue:
            self._queue.remove(waiter)
        return waiter.set(slot)

    def refuse_all(self, error: Exception) -> None:
        """Send everybody away with the same error."""
        while self._queue:
            self._queue.popleft().refuse(error)
