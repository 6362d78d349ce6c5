"""One replica: a place that has a connection whenever it is needed, opens it again after a crash, and replaces it,
successor first, when it has served its time.

Each connection is a `Life` with a task of its own; two can be there at once while one takes over from the other. Slots
are counted by the group's balancer, under the replica's name.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

import anyio
from anyio.abc import TaskGroup

from pool.catalogue import ToolInfo
from pool.life import Life, Open
from pool.recycling import jittered, why_idle, why_recycle
from pool.spawning import SpawnGate
from pool.spec import GroupSpec, MemberSpec
from pool.tally import Carried, Outcome, Tally
from pool.wire.connect import Surroundings
from pool.wire.connection import Connection
from stoa.clock import Clock
from stoa.errors import StoaError, Unavailable
from stoa.resilience.backoff import Backoff

__all__ = ["Phase", "Replica"]

Phase = Literal["idle", "starting", "ready", "restarting", "down", "closed"]
"""`restarting`: it was up and is being started again; `down`: it could not be started, the next use tries again."""


class Replica:
    """State that others read. `member` is the spec as configured, `spec` with what its child needs of us."""

    def __init__(
        self,
        name: str,
        member: MemberSpec,
        spec: MemberSpec,
        *,
        group: GroupSpec,
        is_spare: bool,
        surroundings: Surroundings,
        gate: SpawnGate,
        clock: Clock,
        rng: random.Random,
        backoff: Backoff,
        open_connection: Open,
        on_change: Callable[["Replica"], None],
        on_notice: Callable[["Replica", str, Mapping[str, Any]], None],
    ) -> None:
        self.name = name
        self.member = member
        self.spec = spec
        self.group = group
        self.is_spare = is_spare
        self.phase: Phase = "idle"
        self.tally = Tally()
        self.life: Life | None = None
        self.error: StoaError | None = None
        self.reason = ""
        self.was_up = False
        self.probe_failures = 0
        self.used_at = clock.monotonic()
        self.closed = anyio.Event()
        self._coming: Life | None = None
        self._lives: set[Life] = set()
        self._last_words: tuple[str, ...] = ()
        self._surroundings = surroundings
        self._gate = gate
        self._clock = clock
        self._rng = rng
        self._backoff = backoff
        self._open = open_connection
        self._on_change = on_change
        self._on_notice = on_notice
        self._share = rng.random()
        self._failures_in_row = 0
        self._retry_at = 0.0
        self._is_hung = False
        self._recycle_at = 0.0
        self._stopping = anyio.Event()
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        spoken = f", {self.connection.protocol}" if self.connection is not None else ""
        return f"<Replica {self.name} {self.phase}{spoken}, {self.tally.calls} calls>"

    @property
    def connection(self) -> Connection | None:
        return self.life.connection if self.life is not None else None

    @property
    def is_ready(self) -> bool:
        return self.life is not None and self.life.is_up

    @property
    def is_coming(self) -> bool:
        """Whether waiting for it makes sense."""
        return self.phase in ("starting", "restarting") or (self.phase == "ready" and not self.is_ready)

    @property
    def retry_after(self) -> float:
        """Seconds until the next start is tried."""
        return max(0.0, self._retry_at - self._clock.monotonic())

    @property
    def tools(self) -> tuple[ToolInfo, ...]:
        return self.life.tools if self.life is not None else ()

    @property
    def traffic(self) -> tuple[Carried, ...]:
        """Of the connections that live."""
        return tuple(life.connection.traffic for life in self._lives if life.connection is not None)

    def stderr(self) -> tuple[str, ...]:
        """The last lines of its processes, masked: of the one that ended last, and of those that live."""
        alive = sorted(self._lives, key=lambda life: life.born_at)
        return (*self._last_words, *(line for life in alive for line in life.words.lines()))

    @property
    def is_busy(self) -> bool:
        return any(life.in_flight for life in self._lives)

    def want(self) -> None:
        """Somebody needs it: start it, unless it is up or was just found not to start."""
        if self._stopping.is_set():
            return
        if self.phase == "idle" or (self.phase == "down" and self.retry_after == 0.0):
            self.phase, self.reason = "starting", ""
            self._start()

    def stop(self) -> None:
        """Close: a start is broken off, calls in flight are lost."""
        self._stopping.set()
        for life in tuple(self._lives):
            life.end()

    def retire(self, *, within_seconds: float) -> None:
        """Close once the calls in flight are over, after that time in any case."""
        if self._coming is not None:
            self._coming.end()
        for life in tuple(self._lives):
            life.retire(within_seconds=within_seconds)
        self._stopping.set()

    def count(self, outcome: Outcome, seconds: float) -> None:
        """One attempt is over."""
        self.tally.count(outcome, seconds)
        self.used_at = self._clock.monotonic()
        if outcome == "ok":
            self._failures_in_row = 0

    def probed(self, *, ok: bool) -> None:
        """An active probe is over."""
        if ok:
            self.tally.probes_ok += 1
            self.probe_failures = 0
        else:
            self.tally.probes_failed += 1
            self.probe_failures += 1

    def why_recycle(self, *, memory_bytes: int | None) -> str | None:
        """Why the present connection should be replaced now, or None."""
        if self.life is None or self._coming is not None or self._clock.monotonic() < self._recycle_at:
            return None
        age = self._clock.monotonic() - self.life.born_at
        return why_recycle(
            self.group, calls=self.life.calls, age_seconds=age, memory_bytes=memory_bytes, share=self._share
        )

    def why_rest(self) -> str | None:
        """Why nobody needs the present connection, or None."""
        if not self.is_ready or self._coming is not None or self.is_spare:
            return None
        idle = self._clock.monotonic() - self.used_at
        return why_idle(self.group, idle_seconds=idle, in_flight=1 if self.is_busy else 0)

    def due_at(self) -> float | None:
        """When, by the clock, it may be time to rest or to be replaced."""
        if self.life is None or not self.is_ready or self._coming is not None:
            return None
        due: list[float] = []
        if self.group.idle_timeout_seconds and not self.is_spare:
            since = self._clock.monotonic() if self.is_busy else self.used_at
            due.append(since + self.group.idle_timeout_seconds)
        if self.group.max_age_seconds:
            old_at = self.life.born_at + jittered(self.group.max_age_seconds, self._share)
            due.append(max(old_at, self._recycle_at))
        return min(due, default=None)

    def recycle(self, reason: str, *, is_hung: bool = False) -> None:
        """Start a successor; when it is ready, new calls go there, and the old connection ends once it is drained.

        One that hangs is not drained: what it has not answered by then, it will not answer.
        """
        if self.life is None or self._coming is not None:
            return
        self.reason = reason
        self._is_hung = is_hung
        self._start()

    def rest(self, reason: str) -> None:
        """Close the connection until somebody needs it again."""
        life, self.life = self.life, None
        self.phase, self.reason = "idle", reason
        if life is not None:
            life.retire(within_seconds=self.group.call_timeout_seconds)
        self._on_change(self)

    async def run(self) -> None:
        """The owner of all its connections. Never raises: what goes wrong is state, and the other replicas go on."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for life in tuple(self._lives):
                    tasks.start_soon(self._live, life, name=f"replica {self.name}")
                await self._stopping.wait()
        finally:
            self._tasks = None
            self.phase = "closed"
            self.life = None
            self.closed.set()
            self._on_change(self)

    def _start(self) -> None:
        life = Life(
            self.spec,
            replica=self.name,
            group=self.group,
            surroundings=self._surroundings,
            gate=self._gate,
            clock=self._clock,
            open_connection=self._open,
            on_notice=lambda method, params: self._hear(life, method, params),
        )
        self._coming = life
        self._lives.add(life)
        if self._tasks is not None:  # else it is wanted before its owner runs, who sees to it then
            self._tasks.start_soon(self._live, life, name=f"replica {self.name}")

    def _hear(self, life: Life, method: str, params: Mapping[str, Any]) -> None:
        if method == "notifications/tools/list_changed":
            life.is_stale = True
        if life is self.life:
            self._on_notice(self, method, params)

    async def _live(self, life: Life) -> None:
        error = None
        try:
            error = await life.run(lambda: self._ready(life), lambda: self._leaving(life))
        finally:
            self._lives.discard(life)
            self._last_words = life.words.lines() or self._last_words
            if life.connection is not None:
                self.tally.carried(life.connection.traffic)
            if self._coming is life:
                self._coming = None
                self._not_started(error)
        if self.phase == "restarting" and self.life is None and self._coming is None:
            self._note(error)
            await self._again()

    def _ready(self, life: Life) -> None:
        old, self.life, self._coming = self.life, life, None
        self.tally.connects += 1
        self.tally.reconnects += self.was_up
        self.phase, self.error, self.was_up, self.probe_failures = "ready", None, True, 0
        self.used_at = self._clock.monotonic()
        if old is not None:
            self.tally.recycled += 1
            if self._is_hung:
                old.end()
            else:
                old.retire(within_seconds=self.group.call_timeout_seconds)
        self.reason = ""
        self._is_hung = False
        self._on_change(self)

    def _leaving(self, life: Life) -> None:
        """No new calls from here on, while the connection is being closed."""
        if self.life is not life:
            return
        self.life = None
        if self._stopping.is_set():
            self.phase = "closed"
        else:
            # A successor may be on its way already.
            self.phase = "restarting" if self._coming is None else "starting"
        self._on_change(self)

    def _not_started(self, error: StoaError | None) -> None:
        if self._stopping.is_set():
            return
        self.tally.starts_failed += 1
        self._note(error)
        if self.life is None:
            self.phase = "down"
        else:  # what it was to replace goes on, and the next try comes later
            self._recycle_at = self._retry_at
        self._on_change(self)

    def _note(self, error: StoaError | None) -> None:
        self._failures_in_row += 1
        self._retry_at = self._clock.monotonic() + self._backoff.delay(self._failures_in_row, self._rng)
        self.error = error or Unavailable(f"The connection to the server {self.group.name!r} ended.")

    async def _again(self) -> None:
        """What was up comes back by itself; what could not be started waits until somebody needs it again."""
        self._on_change(self)
        with anyio.move_on_after(self.retry_after):
            await self._stopping.wait()
        if not self._stopping.is_set() and self.phase == "restarting":
            self._start()
