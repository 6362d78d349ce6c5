"""A pool whose children call each other's tools: the socket on which it is reached by them and by nobody else.

    async with open_pool(groups, home=settings.home, internal_key=None) as pool:
        …

The socket lies in a folder of ours (mode 0700) and is bound at once, so that its address can be handed to children
(STOA_UPSTREAM, with a token of each server's own). What serves it is loaded when a child first knocks.
"""

import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from gateway.access import Access, is_told
from gateway.private_socket import listening
from pool.passes import Passes
from pool.pool import Pool
from pool.spec import GroupSpec
from pool.wire.connect import FindAuth, no_auth
from stoa.errors import Denied
from stoa.principal import Principal
from stoa.tasks import beside
from stoa.tools import Progress, ToolCall, ToolCaller, ToolResult

if TYPE_CHECKING:  # what serves HTTP is loaded when it is needed
    from kit.upstream_door import Ways

__all__ = ["Inside", "open_pool"]

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_pool(
    groups: Iterable[GroupSpec], *, home: Path, internal_key: bytes | None, auth: FindAuth = no_auth
) -> AsyncGenerator[Pool]:
    """The pool, open, with a way back for those of its children that are trusted. `home` is where the socket lies, in
    `run`; where that cannot be, it is in the temporary folder, or on a loopback port."""
    with listening(home) as (listener, address):
        passes = Passes(address)
        pool = Pool(groups, internal_key=internal_key, auth=auth, passes=passes)
        async with beside() as tasks:
            tasks.start_soon(_serve, listener, _Ways(Inside(pool, has_key=internal_key is not None), passes))
            try:
                async with pool:
                    yield pool
            finally:
                tasks.cancel_scope.cancel()


class Inside:
    """The pool as servers of ours get it: nobody reaches through them what the gateway would not let them use."""

    def __init__(self, pool: Pool, *, has_key: bool) -> None:
        self._pool = pool
        self._access = Access(lambda server: is_told(pool.spec(server), has_key=has_key))

    def __repr__(self) -> str:
        return f"<Inside {self._pool!r}>"

    def caller(self, principal: Principal, *, hops: int = 0) -> ToolCaller:
        return _Caller(self._pool.caller(principal, hops=hops), self._access, principal)


class _Caller:
    def __init__(self, caller: ToolCaller, access: Access, principal: Principal) -> None:
        self._caller = caller
        self._access = access
        self._principal = principal

    async def call_tool(
        self, call: ToolCall, *, timeout_seconds: float | None = None, progress: Progress | None = None
    ) -> ToolResult:
        self._access.require(self._principal, call.ref.server)
        return await self._caller.call_tool(call, timeout_seconds=timeout_seconds, progress=progress)


class _Ways:
    """Fulfils `kit.upstream_door.Ways`."""

    def __init__(self, inside: Inside, passes: Passes) -> None:
        self._inside = inside
        self._passes = passes

    def knows(self, token: str) -> bool:
        return self._passes.server_of(token) is not None

    @contextmanager
    def enter(self, token: str, call_pass: str) -> Generator[ToolCaller]:
        found = self._passes.find(token, call_pass)
        if found is None:
            raise Denied(
                "The server serves no request for which it could call others: that one is over, or never was.",
                hint="Call other tools while the request is being served, not afterwards.",
            )
        with found.working():
            yield self._inside.caller(found.principal, hops=found.hops + 1)


async def _serve(listener: socket.socket, ways: _Ways) -> None:
    await anyio.wait_readable(listener)
    try:
        serve_door = await to_thread.run_sync(_door)  # calls go on meanwhile
        await serve_door(listener, ways)
    except Exception:  # the pool has other things to do, too; children are told that nobody is there
        log.exception("The way back from servers to their pool broke")


def _door() -> "Callable[[socket.socket, Ways], Awaitable[None]]":
    from kit.upstream_door import serve_door

    return serve_door
