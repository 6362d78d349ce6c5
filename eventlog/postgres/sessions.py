"""A few sessions that are used in turn, and patience with a server that is away.

One process has at most `MAX_SESSIONS` of them for reading and small writes, beside the log's writer and its listener.
"""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar, final

import anyio

from eventlog.postgres.address import Address
from eventlog.postgres.wire import Away, Contended, Session, connect
from stoa.errors import Unavailable
from stoa.resilience.backoff import Backoff

__all__ = ["AWAY_SECONDS", "MAX_SESSIONS", "Sessions"]

MAX_SESSIONS: Final = 4
AWAY_SECONDS: Final = 5.0
"""How long a server may be away before callers are told so."""
WAIT_SECONDS: Final = 10.0
"""For a free session."""

_BACKOFF: Final = Backoff(first_seconds=0.05, most_seconds=1.0, floor_seconds=0.01)

T = TypeVar("T")


@final
class Sessions:
    def __init__(
        self, address: Address, *, rng: random.Random, most: int = MAX_SESSIONS, away_seconds: float = AWAY_SECONDS
    ) -> None:
        self.address = address
        self.away_seconds = away_seconds
        self._rng = rng
        self._most = most
        self._places = anyio.Semaphore(most)
        self._idle: list[Session] = []  # the one used last is used first
        self._is_closed = False

    def __repr__(self) -> str:
        busy = self._most - self._places.value
        return f"<Sessions to {self.address}: {busy} of {self._most} busy, {len(self._idle)} idle>"

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Session]:
        """One of them, alone. Raises `Away`, or `Unavailable` when none gets free in time."""
        try:
            with anyio.fail_after(WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable(
                f"All {self._most} sessions to PostgreSQL are busy.", hint="Ask for less at once.", retry_after=2.0
            ) from None
        try:
            session = self._take() or await connect(self.address)
            try:
                yield session
            finally:
                if self._is_closed:
                    session.terminate()
                elif not session.is_closed:
                    self._idle.append(session)
        finally:
            self._places.release()

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Its answer; tried again for a while when the server is away, or undoes what we do for the sake of others.
        Only for what is known to have had no effect when it fails so. In the end its last error is raised."""
        deadline = anyio.current_time() + self.away_seconds
        failures = 0
        while True:
            try:
                return await attempt()
            except (Away, Contended):
                failures += 1
                pause = _BACKOFF.delay(failures, self._rng)
                if anyio.current_time() + pause > deadline:
                    raise
            await anyio.sleep(pause)

    async def aclose(self) -> None:
        self._is_closed = True
        while self._idle:
            await self._idle.pop().close()

    def _take(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if not session.is_closed:
                return session
        return None
