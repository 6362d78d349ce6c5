"""Who gets the next slot, and who waits for one: the balancer and the queue in front of it.

Decides without awaiting: a slot is reserved at the moment it is assigned. Whoever comes later does not get past those
who wait, except for what none of them may use (`avoid`, `exclude`).
"""

import random
from collections.abc import Collection
from dataclasses import dataclass

from pool.balance.balancer import Balancer
from pool.balance.decision import Decision, Outcome
from pool.balance.policy import BalancePolicy
from pool.balance.waiters import Waiter, Waiters
from stoa.clock import Clock

__all__ = ["Slots"]


@dataclass(frozen=True, slots=True)
class _Wish:
    """What one who waits asked for."""

    key: str | None = None
    avoid: Collection[str] = ()
    exclude: Collection[str] = ()
    prefer: str | None = None

    @property
    def is_choosy(self) -> bool:
        """Whether somebody else may be able to use what this one cannot."""
        return bool(self.avoid or self.exclude)


_NO_WISH = _Wish()


class Slots:
    """The slots of one group. What `take` and a waiter bring is given back with `finish`, exactly once."""

    def __init__(self, policy: BalancePolicy, *, max_waiting: int, clock: Clock, rng: random.Random) -> None:
        self.balancer = Balancer(policy)
        self._waiters: Waiters[Decision] = Waiters(max_waiting)
        self._wishes: dict[Waiter[Decision], _Wish] = {}
        self._clock = clock
        self._rng = rng

    def __repr__(self) -> str:
        return f"<Slots {self.in_flight} in flight, {self.waiting} waiting, {self.balancer}>"

    @property
    def in_flight(self) -> int:
        return self.balancer.total_in_flight

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    # -- members: as the balancer's, and whoever waits is served -----------------------------------------------------

    def add(self, name: str, *, weight: float = 1.0, tier: int = 0, max_in_flight: int = 16) -> None:
        now = self._clock.monotonic()
        self.balancer.add(name, now=now, weight=weight, tier=tier, max_in_flight=max_in_flight)
        self.serve()

    def remove(self, name: str) -> None:
        self.balancer.remove(name, now=self._clock.monotonic())
        self.serve()

    def set_ready(self, name: str, is_ready: bool, *, wants_affinity: bool | None = None) -> None:
        self.balancer.set_ready(name, is_ready, self._clock.monotonic(), wants_affinity=wants_affinity)
        self.serve()

    def configure(self, policy: BalancePolicy, *, max_waiting: int | None = None) -> None:
        self.balancer.configure(policy, now=self._clock.monotonic())
        if max_waiting is not None:
            self._waiters.max_waiting = max_waiting
        self.serve()

    def probed(self, name: str, *, ok: bool | None, seconds: float, reason: str = "") -> None:
        self.balancer.probed(name, self._clock.monotonic(), ok=ok, seconds=seconds, reason=reason)
        self.serve()

    # -- calls -------------------------------------------------------------------------------------------------------

    def take(
        self,
        *,
        key: str | None = None,
        avoid: Collection[str] = (),
        exclude: Collection[str] = (),
        prefer: str | None = None,
    ) -> Decision | None:
        """A slot now, or None. `key`, `avoid`, `exclude`, `prefer`: see `Balancer.pick`."""
        if self._waiters:
            self.serve()  # what is left after this, nobody who waits may use
            if any(not self._wishes.get(waiter, _NO_WISH).is_choosy for waiter in self._waiters):
                return None
        return self.balancer.pick(
            self._clock.monotonic(), self._rng, key=key, avoid=avoid, exclude=exclude, prefer=prefer
        )

    def join(
        self,
        *,
        key: str | None = None,
        avoid: Collection[str] = (),
        exclude: Collection[str] = (),
        prefer: str | None = None,
    ) -> Waiter[Decision]:
        """Queue up for a slot. Raises `QueueIsFull`. Always followed by `leave`."""
        waiter = self._waiters.join()
        wish = _Wish(key, avoid, exclude, prefer)
        if wish != _NO_WISH:
            self._wishes[waiter] = wish
        return waiter

    def leave(self, waiter: Waiter[Decision]) -> None:
        """The wait is over, served or not. What was handed over and not taken goes to the next."""
        self._wishes.pop(waiter, None)
        unused = self._waiters.leave(waiter)
        if unused is not None:
            self._undo(unused)
        self.serve()

    def finish(self, decision: Decision, *, outcome: Outcome, seconds: float, reason: str = "") -> None:
        """The call is over; its slot goes to the next who waits."""
        self.balancer.finish(decision, self._clock.monotonic(), seconds=seconds, outcome=outcome, reason=reason)
        self.serve()

    def serve(self) -> None:
        """Hand out what is free, first come first served; to be called whenever something may have become so."""
        if not self._waiters:
            return
        now = self._clock.monotonic()
        for waiter in tuple(self._waiters):
            wish = self._wishes.get(waiter, _NO_WISH)
            decision = self.balancer.pick(
                now, self._rng, key=wish.key, avoid=wish.avoid, exclude=wish.exclude, prefer=wish.prefer
            )
            if decision is None:
                if not wish.is_choosy:
                    return
                continue
            self._wishes.pop(waiter, None)
            if not self._waiters.hand_to(waiter, decision):
                self._undo(decision)

    def refuse_all(self, error: Exception) -> None:
        self._wishes.clear()
        self._waiters.refuse_all(error)

    def _undo(self, decision: Decision) -> None:
        """A slot that nobody used."""
        self.balancer.finish(decision, self._clock.monotonic(), seconds=0.0, outcome="cancelled")
