"""Who gets the next slot. Decides without awaiting: a slot is reserved at the moment it is assigned.

Two pieces of mutable state: `in_flight` of each holder, and the queue of those who wait. Nobody else changes either.
"""

import random
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from pool.balance.waiters import Waiter, Waiters

__all__ = ["Holder", "PlainSlots"]


class Holder(Protocol):
    """What has slots: a replica."""

    in_flight: int

    @property
    def is_ready(self) -> bool: ...


H = TypeVar("H", bound=Holder)


class PlainSlots(Generic[H]):
    """The slots of one group. What `take` and a waiter bring is given back with `give_back`, exactly once."""

    def __init__(self, holders: Sequence[H], *, max_in_flight: int, max_waiting: int, rng: random.Random) -> None:
        self._holders = holders
        self._max_in_flight = max_in_flight
        self._waiters: Waiters[H] = Waiters(max_waiting)
        self._rng = rng

    def __repr__(self) -> str:
        return f"<PlainSlots {self.in_flight} in flight, {self.waiting} waiting>"

    @property
    def in_flight(self) -> int:
        return sum(holder.in_flight for holder in self._holders)

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def take(self) -> H | None:
        """A slot now, or None. Whoever comes later than those who wait does not get past them."""
        if self.waiting or (holder := self._choose()) is None:
            return None
        holder.in_flight += 1
        return holder

    def join(self) -> Waiter[H]:
        """Queue up for a slot. Raises `QueueIsFull`. Always followed by `leave`."""
        return self._waiters.join()

    def leave(self, waiter: Waiter[H]) -> None:
        """The wait is over, served or not. What was handed over and not taken goes to the next."""
        unused = self._waiters.leave(waiter)
        if unused is not None:
            self.give_back(unused)

    def give_back(self, holder: H) -> None:
        holder.in_flight -= 1
        self.serve()

    def serve(self) -> None:
        """Hand out what is free; to be called whenever a holder may have become ready."""
        while self.waiting and (holder := self._choose()) is not None:
            holder.in_flight += 1
            if not self._waiters.hand(holder):
                holder.in_flight -= 1

    def refuse_all(self, error: Exception) -> None:
        self._waiters.refuse_all(error)

    def _choose(self) -> H | None:
        free = [one for one in self._holders if one.is_ready and one.in_flight < self._max_in_flight]
        fewest = min((one.in_flight for one in free), default=0)
        return self._rng.choice([one for one in free if one.in_flight == fewest]) if free else None
