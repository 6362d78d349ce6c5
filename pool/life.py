"""One connection of a replica from its start to its end. An MCP session is entered and left by the same task, so `run`
is that task; others call over it, and tell it through `end` and `retire` to finish."""

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import anyio

from pool.catalogue import ToolInfo
from pool.offer import fingerprint, read_tools
from pool.spawning import SpawnGate
from pool.spec import GroupSpec, MemberSpec, StdioSpec
from pool.wire.child import LastWords
from pool.wire.connect import Surroundings
from pool.wire.connection import Connection
from pool.wire.failures import Lost, Refusal, first_cause
from stoa.clock import Clock
from stoa.errors import StoaError, Unavailable

__all__ = ["Life", "Notice", "Open"]

_log = logging.getLogger(__name__)

Notice = Callable[[str, Mapping[str, Any]], None]
"""A notification: its method and its parameters."""


class Open(Protocol):
    """How a connection is opened: `pool.wire.connect.open_connection`."""

    def __call__(
        self,
        spec: MemberSpec,
        *,
        server: str,
        surroundings: Surroundings,
        grace_seconds: float,
        on_notice: Notice,
        words: LastWords,
    ) -> AbstractAsyncContextManager[Connection]: ...


class Life:
    """`connection` is there once it is ready, and stays: whoever has a call on it may ask it what happened.

    `in_flight` are calls that run on it, `version` is the fingerprint of its tools, `words` are what a process wrote on
    stderr.
    """

    def __init__(
        self,
        spec: MemberSpec,
        *,
        replica: str,
        group: GroupSpec,
        surroundings: Surroundings,
        gate: SpawnGate,
        clock: Clock,
        open_connection: Open,
        on_notice: Notice,
    ) -> None:
        self.connection: Connection | None = None
        self.tools: tuple[ToolInfo, ...] = ()
        self.tools_by_name: dict[str, ToolInfo] = {}
        self.version = ""
        self.listed_at = 0.0
        self.born_at = clock.monotonic()
        self.calls = 0
        self.in_flight = 0
        self.is_stale = False
        self.words = LastWords(secrets=spec.secrets if isinstance(spec, StdioSpec) else ())
        self._spec = spec
        self._replica = replica
        self._group = group
        self._surroundings = surroundings
        self._gate = gate
        self._clock = clock
        self._open = open_connection
        self._on_notice = on_notice
        self._starting = anyio.CancelScope()
        self._ending = anyio.Event()
        self._retiring = anyio.Event()
        self._drain_seconds = 0.0
        self._listing = anyio.Lock()

    def __repr__(self) -> str:
        state = "ending" if self.is_over else "up" if self.connection is not None else "starting"
        return f"<Life of {self._replica}: {state}, {self.calls} calls, {self.in_flight} in flight>"

    @property
    def is_up(self) -> bool:
        return self.connection is not None and not self.connection.lost.is_set() and not self.is_over

    @property
    def is_over(self) -> bool:
        """Whether it was told to finish."""
        return self._ending.is_set() or self._retiring.is_set()

    def enter(self) -> None:
        """A call begins on it."""
        self.calls += 1
        self.in_flight += 1

    def leave(self) -> None:
        self.in_flight -= 1
        if not self.in_flight and self._retiring.is_set():
            self._ending.set()

    def end(self) -> None:
        """Close now: a start is broken off, calls in flight are lost."""
        self._ending.set()
        if self.connection is None:
            self._starting.cancel()

    def retire(self, *, within_seconds: float) -> None:
        """Close as soon as no call runs on it any more, and after that time in any case."""
        self._drain_seconds = within_seconds
        self._retiring.set()
        if not self.in_flight:
            self.end()

    async def run(self, on_ready: Callable[[], None], on_leaving: Callable[[], None]) -> StoaError | None:
        """Open, hold, close. Says why it ended, None when it was told to. Never raises for what the server does.

        `on_leaving` comes before the closing, which takes its time.
        """
        try:
            with self._starting as starting:
                async with anyio.create_task_group() as tasks:
                    permit = await self._gate.enter() if isinstance(self._spec, StdioSpec) else None
                    starting.deadline = anyio.current_time() + self._group.start_timeout_seconds
                    try:
                        if permit is not None:
                            tasks.start_soon(permit.expire)
                        async with self._open(
                            self._spec,
                            server=self._group.name,
                            surroundings=self._surroundings,
                            grace_seconds=self._group.stop_grace_seconds,
                            on_notice=self._on_notice,
                            words=self.words,
                        ) as connection:
                            await self._list(connection)
                            starting.deadline = math.inf
                            self.connection = connection
                            if permit is not None:
                                permit.release()
                            on_ready()
                            await self._until_over(connection)
                            lost = self._went_away(connection) if not self.is_over else None
                            on_leaving()
                        return lost
                    finally:
                        if permit is not None:
                            permit.release()
                        tasks.cancel_scope.cancel()
        except Exception as failure:  # noqa: BLE001 - owner task: a library's surprise costs this replica only
            return None if self._ending.is_set() else self._judge(first_cause(failure))
        return None if self._ending.is_set() else self._too_late()

    async def relist(self, *, not_older_than_seconds: float | None = None) -> None:
        """Ask for the tools again, if the server said that they changed, or if what is known is older than that."""
        async with self._listing:
            age = self._clock.monotonic() - self.listed_at
            is_old = not_older_than_seconds is not None and age > not_older_than_seconds
            if self.connection is None or not (self.is_stale or is_old):
                return
            self.is_stale = False
            try:
                await self._list(self.connection)
            except BaseException:
                self.is_stale = True
                raise

    async def _list(self, connection: Connection) -> None:
        self.tools = read_tools(self._group.name, await connection.list_all("tools/list", "tools"))
        self.tools_by_name = {tool.ref.tool: tool for tool in self.tools}
        self.version = fingerprint(self.tools)
        self.listed_at = self._clock.monotonic()

    async def _until_over(self, connection: Connection) -> None:
        async with anyio.create_task_group() as tasks:

            async def watch(event: anyio.Event) -> None:
                await event.wait()
                tasks.cancel_scope.cancel()

            async def drain() -> None:
                await self._retiring.wait()
                await anyio.sleep(self._drain_seconds)
                self._ending.set()

            tasks.start_soon(watch, connection.lost)
            tasks.start_soon(watch, self._ending)
            tasks.start_soon(drain)

    def _went_away(self, connection: Connection) -> StoaError:
        return Unavailable(f"The server {self._group.name!r} went away. {connection.explain()}".strip())

    def _too_late(self) -> StoaError:
        return Unavailable(
            f"The server {self._group.name!r} did not answer within {self._group.start_timeout_seconds:g} seconds.",
            hint=f"Try it by hand: {self._spec}",
        )

    def _judge(self, cause: BaseException) -> StoaError:
        """What ended the session, for people. Task groups wrap it on the way here; `cause` is what was inside."""
        if isinstance(cause, StoaError):
            return cause
        if isinstance(cause, Lost | Refusal):
            return Unavailable(f"The server {self._group.name!r} did not list its tools: {cause}")
        words = f"{type(cause).__name__}: {str(cause)[:300]}"
        _log.warning("replica %s ended unexpectedly: %s", self._replica, words)
        _log.debug("replica %s", self._replica, exc_info=cause)
        return Unavailable(f"The connection to the server {self._group.name!r} failed: {words}")
