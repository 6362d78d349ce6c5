"""A logical server: its replicas, which of them may be used, and the wait for a slot on one of them."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from pool.balance.decision import Decision
from pool.balance.slots import Slots
from pool.balance.waiters import QueueIsFull
from pool.identity import Identity
from pool.replica import Replica
from pool.seats import Seat, place, seats
from pool.spec import GroupSpec
from pool.tally import Tally
from pool.versions import common_version
from pool.workshop import Counts, Workshop, budgets
from stoa.errors import StoaError, Unavailable

__all__ = ["Closed", "Group"]

LAST_SECONDS: Final = 0.02
"""Between two looks whether somebody still waits for a group that is to be closed."""
START_SLACK_SECONDS: Final = 5.0
KINDS: Final = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}


class Closed(Unavailable):
    """There is no such group any more. Whoever meets this has sent nothing that may not be sent again."""


class Group:
    """`start` puts the owner tasks into the pool's task group; no connection is opened before somebody needs one."""

    def __init__(self, spec: GroupSpec, workshop: Workshop) -> None:
        self.spec = spec
        self.workshop = workshop
        self.identity = Identity(spec, internal_key=workshop.internal_key, clock=workshop.clock, passes=workshop.passes)
        self.replicas: list[Replica] = []
        self.counts = Counts()
        self.gone = Tally()
        """What replicas counted that are no more."""
        self.odd: dict[str, str] = {}
        """Replicas that are held back, and why."""
        self.version: str | None = None
        self.changed = anyio.Event()
        """Set, and replaced by a new one, whenever a replica changes."""
        self.woken = anyio.Event()
        """Set, and replaced, when somebody should look after the replicas before the time is up."""
        self.retries, self.hedging = budgets(spec)
        self._by_name: dict[str, Replica] = {}
        self._leaving: set[Replica] = set()
        self._is_closed = self._is_retired = False
        self._up = self._active = 0
        """How many replicas are up or coming, and how many there are; spares not counted."""
        self.tasks: TaskGroup | None = None
        self.slots = Slots(spec.policy, max_waiting=spec.max_waiting, clock=workshop.clock, rng=workshop.rng)
        self._take_seats(seats(spec))

    def __repr__(self) -> str:
        active = [replica for replica in self.replicas if not replica.is_spare]
        ready = sum(replica.is_ready for replica in active)
        return (
            f"<Group {self.spec.name}: {ready}/{len(active)} ready, {self.slots.in_flight} in flight, "
            f"{self.slots.waiting} waiting>"
        )

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self, tasks: TaskGroup) -> None:
        self.tasks = tasks
        for replica in self.replicas:
            tasks.start_soon(replica.run, name=f"owner of {replica.name}")

    def stop(self) -> None:
        """Close everything now; calls in flight are lost."""
        self._is_closed = True
        self.slots.refuse_all(self._closed())
        self.wake()
        for replica in self.every:
            replica.stop()

    def retire(self) -> None:
        """Take no further calls, and close when those in flight are over, and those that wait already."""
        self._is_closed = self._is_retired = True
        self.wake()
        if self.tasks is not None:
            self.tasks.start_soon(self._serve_the_last)

    async def _serve_the_last(self) -> None:
        while self.slots.waiting:  # noqa: ASYNC110 - seldom, and not for long: nobody waits for ever
            await anyio.sleep(LAST_SECONDS)
        for replica in self.replicas:
            replica.retire(within_seconds=self.spec.call_timeout_seconds)

    async def wait_closed(self) -> None:
        for replica in self.every:
            await replica.closed.wait()

    def configure(self, spec: GroupSpec) -> None:
        """Other settings from now on. Replicas of members that stay go on as they are; calls in flight are finished
        where they are."""
        self.spec = spec
        self.retries, self.hedging = budgets(spec)
        self.slots.configure(spec.policy, max_waiting=spec.max_waiting)
        self._take_seats(seats(spec))
        if self.slots.waiting:  # perhaps for a replica that is no more
            self.want(self.slots.in_flight + self.slots.waiting)
        self._on_change(None)
        self.wake()

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    # -- slots -------------------------------------------------------------------------------------------------------

    def replica(self, name: str) -> Replica | None:
        return self._by_name.get(name)

    def take(
        self,
        *,
        key: str | None = None,
        avoid: Collection[str] = (),
        exclude: Collection[str] = (),
        prefer: str | None = None,
    ) -> Decision | None:
        """A slot now, or None. Starts as many replicas as there are calls at once: a single call does not wait for two
        processes to start."""
        self.want(self.slots.in_flight + self.slots.waiting + 1)
        return self.slots.take(key=key, avoid=avoid, exclude=exclude, prefer=prefer)

    async def wait(self, *, key: str | None = None, avoid: Collection[str] = (), prefer: str | None = None) -> Decision:
        """A slot as soon as there is one; whoever gets it calls `slots.finish`.

        Raises `Unavailable` at once when nothing is up or too many wait already, and when no slot comes free in time.
        """
        try:
            self.check_up()
            waiter = self.slots.join(key=key, avoid=avoid, prefer=prefer)
        except QueueIsFull:
            self.counts.refused += 1
            raise Unavailable(
                f"The server {self.spec.name!r} is busy: {self.spec.max_waiting} calls wait for it already.",
                hint="Try again later, or raise max_in_flight, max_waiting or replicas of its pool.",
                retry_after=self._guess_wait(),
            ) from None
        except StoaError:
            self.counts.refused += 1
            raise
        self.counts.waited += 1
        limit = self.spec.acquire_timeout_seconds
        if not any(replica.is_ready for replica in self.replicas):
            limit += self.start_seconds
        try:
            with anyio.move_on_after(limit):
                return await waiter.wait()
        finally:
            self.slots.leave(waiter)
        self.counts.refused += 1
        raise Unavailable(
            f"The server {self.spec.name!r} is busy: no slot became free within {limit:g} seconds.",
            hint="Try again later, or raise max_in_flight or replicas of its pool.",
            retry_after=self._guess_wait(),
        )

    # -- replicas ----------------------------------------------------------------------------------------------------

    @property
    def every(self) -> tuple[Replica, ...]:
        """Those that are being drained included."""
        return (*self.replicas, *self._leaving)

    @property
    def usable(self) -> list[Replica]:
        """Those that are up and offer what the group offers."""
        return [replica for replica in self.replicas if replica.is_ready and replica.name not in self.odd]

    async def any_ready(self) -> Replica:
        """A replica that is up, started if need be. Raises why there is none."""
        self.want(1)
        while True:
            if usable := self.usable:
                return usable[0]
            self.check_up()
            await self.changed.wait()

    def want(self, count: int) -> None:
        """Have so many replicas up or coming, as far as there are that many."""
        if self._is_closed:
            raise self._closed()
        if self._up >= min(count, self._active):
            return
        missing = count - self._up
        for replica in self.replicas:
            if replica.is_spare or (missing > 0 and not _is_up(replica)):
                replica.want()
                missing -= not replica.is_spare and replica.is_coming
        self._count_up()

    def check_up(self) -> None:
        """Raise why, when no replica is up, or will be while anybody would wait for it."""
        patience = self.spec.acquire_timeout_seconds
        if not any(
            replica.is_ready or (replica.is_coming and replica.retry_after <= patience) for replica in self.replicas
        ):
            raise self._why_down()
        ready = {replica.name for replica in self.usable}
        ejected = self.slots.balancer.ejected
        if (
            ready
            and ready.issubset(ejected)
            and not self.slots.in_flight
            and not self.slots.balancer.due_probes(self._now)
        ):
            raise Unavailable(
                f"All replicas of the server {self.spec.name!r} failed too often; they are left alone for a moment.",
                hint=self._health_reason(next(iter(ready))),
                retry_after=round(max(0.1, (self.slots.balancer.next_probe_at() or 0.0) - self._now), 3),
            )

    @property
    def start_seconds(self) -> float:
        """The longest that one start, successful or not, can take."""
        return self.spec.start_timeout_seconds + 2 * self.spec.stop_grace_seconds + START_SLACK_SECONDS

    def lost(self, replica: Replica) -> None:
        """A call found it gone before its owner did: nobody else is to be sent there."""
        if replica.name in self._by_name:
            self.slots.set_ready(replica.name, False)

    def wake(self) -> None:
        self.woken.set()
        self.woken = anyio.Event()

    def see_versions(self) -> None:
        """Decide anew which tools count, and who is held back for offering others."""
        ready = [(replica.name, replica.life.version) for replica in self.replicas if replica.is_ready and replica.life]
        self.version = common_version([version for _, version in ready], present=self.version)
        self.odd = {
            name: "It offers other tools than the rest of its group; it gets no calls until they agree."
            for name, version in ready
            if version != self.version
        }
        for replica in self.replicas:
            connection = replica.connection
            self.slots.set_ready(
                replica.name,
                replica.is_ready and replica.name not in self.odd,
                wants_affinity=self.spec.affinity == "auto" and connection is not None and connection.is_session,
            )

    @property
    def _now(self) -> float:
        return self.workshop.clock.monotonic()

    def _health_reason(self, name: str) -> str:
        return self.slots.balancer.health(name, self._now).reason

    def _take_seats(self, wanted: list[Seat]) -> None:
        kept, fresh, left = place(wanted, self.replicas)
        for replica in left:
            self._dismiss(replica)
        names = {replica.name for replica in (*self.replicas, *self._leaving)}
        replicas: list[Replica] = []
        for number, seat in enumerate(wanted):
            replica = kept.get(number) or self._open_seat(seat, _free_name(self.spec.name, names))
            names.add(replica.name)
            replica.group = self.spec
            replicas.append(replica)
            self.slots.add(replica.name, weight=seat.weight, tier=seat.tier, max_in_flight=self.spec.max_in_flight)
        self.replicas = replicas
        self._by_name = {replica.name: replica for replica in replicas}
        if self.tasks is not None:
            for number in fresh:
                self.tasks.start_soon(replicas[number].run, name=f"owner of {replicas[number].name}")
        self._count_up()

    def _open_seat(self, seat: Seat, name: str) -> Replica:
        shop = self.workshop
        return Replica(
            name,
            seat.member,
            self.identity.prepare(seat.member),
            group=self.spec,
            is_spare=seat.is_spare,
            surroundings=shop.surroundings,
            gate=shop.gate,
            clock=shop.clock,
            rng=shop.rng,
            backoff=shop.backoff,
            open_connection=shop.open_connection,
            on_change=self._on_change,
            on_notice=self._on_notice,
        )

    def _dismiss(self, replica: Replica) -> None:
        self.slots.remove(replica.name)
        self.odd.pop(replica.name, None)
        self._leaving.add(replica)
        replica.retire(within_seconds=self.spec.call_timeout_seconds)
        if self.tasks is not None:
            self.tasks.start_soon(self._see_off, replica)

    async def _see_off(self, replica: Replica) -> None:
        await replica.closed.wait()
        self._leaving.discard(replica)
        self.gone.merge(replica.tally)

    def _guess_wait(self) -> float:
        """When a slot may be free, in seconds: what waits already, at the speed of the calls so far."""
        health = self.slots.balancer.health
        means = [health(replica.name, self._now).ewma_seconds for replica in self.replicas]
        known = [mean for mean in means if mean is not None]
        mean = sum(known) / len(known) if known else 1.0
        places = self.spec.max_in_flight * max(1, len(self.replicas))
        return round(min(30.0, max(0.1, mean * (1 + self.slots.waiting / places))), 3)

    def _why_down(self) -> StoaError:
        error = next((replica.error for replica in self.replicas if replica.error is not None), None)
        if error is None:
            return self._closed()
        wait = round(min((replica.retry_after for replica in self.replicas), default=0.0), 3) or None
        # A fresh one each time: several callers raise it, and each adds its own traceback.
        return type(error)(
            error.message,
            hint=error.hint,
            retry_after=error.retry_after or wait if isinstance(error, Unavailable) else None,
        )

    def _closed(self) -> StoaError:
        if self._is_retired:
            return Closed(f"The server {self.spec.name!r} is no longer configured.")
        return Closed(f"The pool that holds the server {self.spec.name!r} is closed.")

    def _count_up(self) -> None:
        active = [replica for replica in self.replicas if not replica.is_spare]
        self._active, self._up = len(active), sum(map(_is_up, active))

    def _on_change(self, replica: Replica | None) -> None:
        if replica is not None and replica.name not in self._by_name:
            return
        before = self.version
        self.see_versions()
        self._count_up()
        self.changed.set()
        self.changed = anyio.Event()
        self.slots.serve()
        if self.slots.waiting:
            try:
                self.check_up()
            except StoaError as error:
                self.slots.refuse_all(error)
        self.wake()
        self.workshop.on_change(self.spec.name, "servers")
        if self.version is not None and before != self.version:
            self.workshop.on_change(self.spec.name, "tools")

    def _on_notice(self, replica: Replica, method: str, params: Mapping[str, Any]) -> None:
        if (kind := KINDS.get(method)) is not None:
            self.workshop.on_change(self.spec.name, kind)


def _is_up(replica: Replica) -> bool:
    return replica.is_ready or replica.is_coming


def _free_name(group: str, taken: Collection[str]) -> str:
    number = 0
    while f"{group}-{number}" in taken:
        number += 1
    return f"{group}-{number}"
