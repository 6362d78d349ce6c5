"""One replica: an owner task that opens its connection, holds it while it lives, and opens it again after a crash.

An MCP session is entered and left by the same task, so only `run` touches its lifetime; others call over it and tell
the owner what they want through events. A slot is a number here; who gets one is decided in `group`.
"""

import logging
import random
from collections.abc import Callable

import anyio

from pool.catalogue import ToolInfo
from pool.spec import GroupSpec, MemberSpec
from pool.status import ReplicaState, ReplicaStatus
from pool.wire.connect import Surroundings, open_connection
from pool.wire.connection import Connection
from pool.wire.failures import Lost, Refusal, first_cause
from stoa.clock import Clock
from stoa.errors import StoaError, Unavailable
from stoa.resilience.backoff import Backoff

__all__ = ["Replica"]

_log = logging.getLogger(__name__)

SMOOTHING = 0.2


class Replica:
    """State that others read; `in_flight` is changed by the group alone."""

    def __init__(
        self,
        name: str,
        spec: MemberSpec,
        *,
        group: GroupSpec,
        surroundings: Surroundings,
        clock: Clock,
        rng: random.Random,
        backoff: Backoff,
        on_change: Callable[[], None],
    ) -> None:
        self.name = name
        self.spec = spec
        self.state: ReplicaState = "idle"
        self.in_flight = 0
        self.calls = 0
        self.failures = 0
        self.mean_seconds: float | None = None
        self.connection: Connection | None = None
        self.error: StoaError | None = None
        self.closed = anyio.Event()
        self._tools: dict[str, ToolInfo] = {}
        self._group = group
        self._surroundings = surroundings
        self._clock = clock
        self._rng = rng
        self._backoff = backoff
        self._on_change = on_change
        self._failures_in_row = 0
        self._retry_at = 0.0
        self._go = anyio.Event()
        self._stopping = anyio.Event()
        self._starting: anyio.CancelScope | None = None
        self._is_stale = False
        self._listed_at = 0.0
        self._listing = anyio.Lock()

    def __repr__(self) -> str:
        spoken = f", {self.connection.protocol}" if self.connection is not None else ""
        return f"<Replica {self.name} {self.state}, {self.in_flight}/{self._group.max_in_flight} in flight{spoken}>"

    @property
    def is_ready(self) -> bool:
        return self.state == "ready" and self.connection is not None and not self.connection.lost.is_set()

    @property
    def is_coming(self) -> bool:
        """Whether waiting for it makes sense."""
        return self.state in ("starting", "restarting") or (self.state == "ready" and not self.is_ready)

    @property
    def retry_after(self) -> float:
        return max(0.0, self._retry_at - self._clock.monotonic())

    def want(self) -> None:
        """Somebody needs it: start it, unless it is up or was just found not to start."""
        if self.state == "idle" or (self.state == "down" and self.retry_after == 0.0):
            self.state = "starting"
            self._go.set()

    def stop(self) -> None:
        """Tell the owner to end: what is up is closed in order, a start is broken off."""
        self._stopping.set()
        self._go.set()
        if self.connection is None and self._starting is not None:
            self._starting.cancel()

    def count(self, *, is_good: bool, seconds: float) -> None:
        """One call is over."""
        self.calls += 1
        if not is_good:
            self.failures += 1
            return
        self._failures_in_row = 0
        mean = self.mean_seconds
        self.mean_seconds = seconds if mean is None else mean + SMOOTHING * (seconds - mean)

    def tool(self, name: str) -> ToolInfo | None:
        return self._tools.get(name)

    @property
    def tool_names(self) -> tuple[str, ...]:
        return tuple(self._tools)

    def tools_changed(self) -> None:
        self._is_stale = True

    async def list_tools(self, *, not_older_than_seconds: float | None = None) -> tuple[ToolInfo, ...]:
        """The tools, asked again when the server said that they changed, or when what is known is too old."""
        async with self._listing:
            age = self._clock.monotonic() - self._listed_at
            is_old = not_older_than_seconds is not None and age > not_older_than_seconds
            if self.connection is not None and (self._is_stale or is_old):
                self._is_stale = False
                try:
                    await self._list(self.connection)
                except BaseException:
                    self._is_stale = True
                    raise
        return tuple(self._tools.values())

    async def status(self, *, probe_seconds: float) -> ReplicaStatus:
        """How it is now; a replica that is up is asked a small question, and its time taken."""
        connection, latency, reason = self.connection, None, ""
        if connection is not None:
            started = self._clock.monotonic()
            try:
                with anyio.fail_after(probe_seconds):
                    await connection.ping()
                latency = self._clock.monotonic() - started
            except TimeoutError:
                reason = f"It did not answer a probe within {probe_seconds:g} seconds."
            except (StoaError, Lost, Refusal) as error:
                reason = str(error)
        elif self.error is not None:
            reason = str(self.error)
        return ReplicaStatus(
            server=self._group.name,
            replica=self.name,
            state=self.state,
            era=None if connection is None else "modern" if connection.is_modern else "legacy",
            protocol=connection.protocol if connection is not None else None,
            version=connection.server_version if connection is not None else None,
            latency_seconds=latency,
            in_flight=self.in_flight,
            calls=self.calls,
            failures=self.failures,
            reason=reason,
        )

    async def run(self) -> None:
        """The owner. Never raises: what goes wrong is state, and the pool's other replicas go on."""
        try:
            while not self._stopping.is_set():
                await self._go.wait()
                self._go = anyio.Event()
                while self.state in ("starting", "restarting") and not self._stopping.is_set():
                    await self._live()
        finally:
            self.state = "closed"
            self.connection = None
            self.closed.set()
            self._on_change()

    async def _live(self) -> None:
        """From one start to its end."""
        was_ready = False
        error: StoaError | None = None
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + self._group.start_timeout_seconds) as starting:
                self._starting = starting
                async with open_connection(
                    self.spec,
                    server=self._group.name,
                    surroundings=self._surroundings,
                    grace_seconds=self._group.stop_grace_seconds,
                    on_tools_changed=self.tools_changed,
                ) as connection:
                    await self._list(connection)
                    starting.deadline = float("inf")
                    was_ready = True
                    self.connection, self.error, self.state = connection, None, "ready"
                    self._on_change()
                    await self._until_over(connection)
                    if connection.lost.is_set():
                        error = Unavailable(
                            f"The server {self._group.name!r} went away. {connection.explain()}".strip()
                        )
                    self._leave()
            if starting.cancelled_caught:
                error = self._too_late()
        except Exception as failure:  # noqa: BLE001 - owner task: a library's surprise costs this replica only
            error = self._judge(first_cause(failure))
        await self._after(error, was_ready=was_ready)

    def _judge(self, cause: BaseException) -> StoaError:
        """What ended the session, for people. Task groups wrap it on the way here; `cause` is what was inside."""
        if isinstance(cause, StoaError):
            return cause
        if isinstance(cause, Lost | Refusal):
            return Unavailable(f"The server {self._group.name!r} did not list its tools: {cause}")
        words = f"{type(cause).__name__}: {str(cause)[:300]}"
        _log.warning("replica %s ended unexpectedly: %s", self.name, words)
        _log.debug("replica %s", self.name, exc_info=cause)
        return Unavailable(f"The connection to the server {self._group.name!r} failed: {words}")

    async def _list(self, connection: Connection) -> None:
        self._tools = {tool.ref.tool: tool for tool in await connection.list_tools()}
        self._listed_at = self._clock.monotonic()

    async def _until_over(self, connection: Connection) -> None:
        async with anyio.create_task_group() as tasks:

            async def watch(event: anyio.Event) -> None:
                await event.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch, connection.lost)
            tasks.start_soon(watch, self._stopping)

    def _leave(self) -> None:
        """No new calls from here on, while the connection is being closed."""
        self.connection = None
        self.state = "closed" if self._stopping.is_set() else "restarting"
        self._on_change()

    async def _after(self, error: StoaError | None, *, was_ready: bool) -> None:
        self.connection = None
        if self._stopping.is_set():
            return
        self._failures_in_row += 1
        delay = self._backoff.delay(self._failures_in_row, self._rng)
        self._retry_at = self._clock.monotonic() + delay
        self.error = error or Unavailable(f"The connection to the server {self._group.name!r} ended.")
        # What was up comes back by itself; what could not be started waits until somebody needs it again.
        self.state = "restarting" if was_ready else "down"
        self._on_change()
        if was_ready:
            with anyio.move_on_after(delay):
                await self._stopping.wait()

    def _too_late(self) -> StoaError:
        return Unavailable(
            f"The server {self._group.name!r} did not answer within {self._group.start_timeout_seconds:g} seconds.",
            hint=f"Try it by hand: {self.spec}",
        )
