"""A context that many hold and one task owns: what a server opens once per process, however many connect to it.

Two things rule out entering it where it is first needed. FastMCP leaves a lifespan inside a cancel scope of its own,
which breaks every lifespan that keeps a task group open; and whoever came first may well go first, while others still
need what was opened. So a task enters it, and leaves it when the last holder has gone. That task is asyncio's: anyio
has none without a parent, and whichever holder were the parent could not go before the others.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, TypeVar

import anyio

__all__ = ["SharedContext"]

Value = TypeVar("Value")


class SharedContext(Generic[Value]):
    """State: how many hold it now, and the task that owns the open context. It may be opened again later."""

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[Value]]) -> None:
        self._open = open
        self._holders: set[anyio.CancelScope] = set()
        self._owner: _Owner[Value] | None = None
        self._last: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<SharedContext held by {len(self._holders)}>"

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[Value]:
        """Hold it: opened for the first, closed after the last. An error in opening, running or closing is raised
        to whoever holds it then; one that breaks it while it is held cancels the holders first."""
        owner = self._owner
        if owner is None:
            owner = self._owner = _Owner(self._open, after=self._last)
            self._last = owner.task
            owner.task.add_done_callback(lambda _: self._broken(owner))
        scope = anyio.CancelScope()
        self._holders.add(scope)
        try:
            with scope:
                yield await owner.opened()
        finally:
            self._holders.discard(scope)
            if not self._holders and self._owner is owner:
                self._owner = None
                await owner.close()
        owner.check()

    def _broken(self, owner: "_Owner[Value]") -> None:
        if self._owner is owner:
            for scope in self._holders:
                scope.cancel()


class _Owner(Generic[Value]):
    """The task that enters and leaves one context, and its two signals."""

    def __init__(
        self, open: Callable[[], AbstractAsyncContextManager[Value]], *, after: asyncio.Task[None] | None
    ) -> None:
        self._value: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._wanted = asyncio.Event()
        self.task = asyncio.create_task(self._own(open, after), name="stoa lifespan")

    async def opened(self) -> Value:
        await asyncio.wait([self._value, self.task], return_when=asyncio.FIRST_COMPLETED)
        self.check()
        return self._value.result()

    async def close(self) -> None:
        """Wait for the end, whatever happens to the one who waits: closing is not to be left half done."""
        self._wanted.set()
        if not self._value.done():
            self.task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([self.task])

    def check(self) -> None:
        """Raise what ended the task, if anything did."""
        if self.task.done() and not self.task.cancelled() and (error := self.task.exception()) is not None:
            raise error

    async def _own(
        self, open: Callable[[], AbstractAsyncContextManager[Value]], after: asyncio.Task[None] | None
    ) -> None:
        if after is not None:
            await asyncio.wait([after])
        async with open() as value:
            self._value.set_result(value)
            await self._wanted.wait()
