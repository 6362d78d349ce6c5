"""A logical server: its replicas, whether it is up, what it offers, and the wait for a slot on it."""

import random
from typing import Final

import anyio
from anyio.abc import TaskGroup

from pool.balance.plain import PlainSlots as Slots
from pool.balance.waiters import QueueIsFull
from pool.catalogue import ToolInfo
from pool.identity import Identity
from pool.nearby import did_you_mean
from pool.replica import Replica
from pool.spec import GroupSpec
from pool.status import ReplicaStatus
from pool.wire.connect import Surroundings
from stoa.clock import Clock
from stoa.errors import NotFound, StoaError, Unavailable
from stoa.resilience.backoff import Backoff

__all__ = ["Group"]

PROBE_SECONDS: Final = 5.0
RELIST_AFTER_SECONDS: Final = 5.0
"""An unknown tool is looked up again on the server, but not more often than this."""


class Group:
    """`start` puts the owner tasks into the pool's task group; no connection is opened before somebody needs one."""

    def __init__(
        self,
        spec: GroupSpec,
        *,
        surroundings: Surroundings,
        internal_key: bytes | None,
        clock: Clock,
        rng: random.Random,
        backoff: Backoff,
    ) -> None:
        self.spec = spec
        self.identity = Identity(spec, internal_key=internal_key, clock=clock)
        self._changed = anyio.Event()
        self._is_closed = False
        members = [self.identity.prepare(member) for member in spec.members for _ in range(spec.replicas)]
        self.replicas = [
            Replica(
                f"{spec.name}-{number}",
                member,
                group=spec,
                surroundings=surroundings,
                clock=clock,
                rng=rng,
                backoff=backoff,
                on_change=self._on_change,
            )
            for number, member in enumerate(members)
        ]
        self._slots = Slots(self.replicas, max_in_flight=spec.max_in_flight, max_waiting=spec.max_waiting, rng=rng)

    def __repr__(self) -> str:
        ready = sum(replica.is_ready for replica in self.replicas)
        return (
            f"<Group {self.spec.name}: {ready}/{len(self.replicas)} ready, {self._slots.in_flight} in flight, "
            f"{self._slots.waiting} waiting>"
        )

    def start(self, tasks: TaskGroup) -> None:
        for replica in self.replicas:
            tasks.start_soon(replica.run, name=f"replica {replica.name}")

    def stop(self) -> None:
        self._is_closed = True
        self._slots.refuse_all(self._closed())
        for replica in self.replicas:
            replica.stop()

    async def wait_closed(self) -> None:
        for replica in self.replicas:
            await replica.closed.wait()

    async def acquire(self) -> Replica:
        """A replica with a slot reserved on it; whoever gets it calls `release`.

        Raises `Unavailable` at once when nothing is up or too many wait already, and when no slot comes free in time.
        """
        # As many replicas as there are calls at once: a single call does not wait for two processes to start.
        self._want(self._slots.in_flight + self._slots.waiting + 1)
        if (replica := self._slots.take()) is not None:
            return replica
        self._check_up()
        try:
            waiter = self._slots.join()
        except QueueIsFull:
            raise Unavailable(
                f"The server {self.spec.name!r} is busy: {self.spec.max_waiting} calls wait for it already.",
                hint="Try again later, or raise max_in_flight, max_waiting or replicas of its pool.",
                retry_after=self._guess_wait(),
            ) from None
        limit = self.spec.acquire_timeout_seconds
        if not any(replica.is_ready for replica in self.replicas):
            limit += self._start_seconds()
        try:
            with anyio.move_on_after(limit):
                return await waiter.wait()
        finally:
            self._slots.leave(waiter)
        raise Unavailable(
            f"The server {self.spec.name!r} is busy: no slot became free within {limit:g} seconds.",
            hint="Try again later, or raise max_in_flight or replicas of its pool.",
            retry_after=self._guess_wait(),
        )

    def release(self, replica: Replica) -> None:
        self._slots.give_back(replica)

    async def tools(self) -> tuple[ToolInfo, ...]:
        """What it offers, from the cache of a replica that is up. Raises why it cannot be told."""
        replica = await self._any_ready()
        with anyio.move_on_after(self.spec.start_timeout_seconds):
            return await replica.list_tools()
        raise Unavailable(
            f"The server {self.spec.name!r} did not list its tools within {self.spec.start_timeout_seconds:g} seconds."
        )

    async def find_tool(self, name: str) -> ToolInfo:
        """Raises `NotFound` with near matches when no replica that is up has it."""
        known: set[str] = set()
        for replica in self.replicas:
            if replica.is_ready:
                if (tool := replica.tool(name)) is not None:
                    return tool
                known.update(replica.tool_names)
        replica = await self._any_ready()
        with anyio.move_on_after(self.spec.start_timeout_seconds):
            await replica.list_tools(not_older_than_seconds=RELIST_AFTER_SECONDS)
        if (tool := replica.tool(name)) is not None:
            return tool
        raise NotFound(
            f"The server {self.spec.name!r} has no tool {name!r}.",
            hint=did_you_mean(name, known | set(replica.tool_names)),
        )

    async def status(self) -> tuple[ReplicaStatus, ...]:
        """Starts what has not been started, waits until each replica is up or known to be down, and probes it."""
        self._want(len(self.replicas))
        with anyio.move_on_after(self._start_seconds()):
            while any(replica.is_coming for replica in self.replicas):
                await self._changed.wait()
        found: dict[str, ReplicaStatus] = {}

        async def look(replica: Replica) -> None:
            found[replica.name] = await replica.status(probe_seconds=PROBE_SECONDS)

        async with anyio.create_task_group() as tasks:
            for replica in self.replicas:
                tasks.start_soon(look, replica)
        return tuple(found[replica.name] for replica in self.replicas)

    def _start_seconds(self) -> float:
        """The longest that one start, successful or not, can take."""
        return self.spec.start_timeout_seconds + 2 * self.spec.stop_grace_seconds + PROBE_SECONDS

    def _guess_wait(self) -> float:
        """When a slot may be free, in seconds: what waits already, at the speed of the calls so far."""
        means = [replica.mean_seconds for replica in self.replicas if replica.mean_seconds is not None]
        mean = sum(means) / len(means) if means else 1.0
        slots = self.spec.max_in_flight * max(1, len(self.replicas))
        return round(min(30.0, max(0.1, mean * (1 + self._slots.waiting / slots))), 3)

    async def _any_ready(self) -> Replica:
        self._want(1)
        while True:
            for replica in self.replicas:
                if replica.is_ready:
                    return replica
            self._check_up()
            await self._changed.wait()

    def _want(self, count: int) -> None:
        """Have so many replicas up or coming, as far as there are that many."""
        if self._is_closed:
            raise self._closed()
        missing = count - sum(replica.is_ready or replica.is_coming for replica in self.replicas)
        for replica in self.replicas:
            if missing <= 0:
                break
            if not (replica.is_ready or replica.is_coming):
                replica.want()
                missing -= replica.is_coming

    def _check_up(self) -> None:
        """Raise why, when no replica is up or coming."""
        if not any(replica.is_ready or replica.is_coming for replica in self.replicas):
            raise self._why_down()

    def _why_down(self) -> StoaError:
        error = next((replica.error for replica in self.replicas if replica.error is not None), None)
        if error is None:
            return self._closed()
        wait = round(min(replica.retry_after for replica in self.replicas), 3) or None
        # A fresh one each time: several callers raise it, and each adds its own traceback.
        return type(error)(
            error.message,
            hint=error.hint,
            retry_after=error.retry_after or wait if isinstance(error, Unavailable) else None,
        )

    def _closed(self) -> StoaError:
        return Unavailable(f"The pool that holds the server {self.spec.name!r} is closed.")

    def _on_change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
        self._slots.serve()
        if self._slots.waiting:
            try:
                self._check_up()
            except StoaError as error:
                self._slots.refuse_all(error)
