"""Resources that clients of the gateway have subscribed to: each is watched on its server for as long as anybody
listens, on behalf of whoever listens."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup
from mcp.shared.exceptions import MCPError

from gateway.access import Access
from gateway.servers_resource import SERVERS_URI
from kit.call import current_call
from kit.subscriptions import Release, Subscriptions
from pool.listening import REFUSED
from pool.pool import Pool
from pool.verdict import after_status
from pool.wire.connection import ACKNOWLEDGED
from pool.wire.failures import Refusal
from stoa.errors import StoaError, Unavailable
from stoa.principal import Principal

__all__ = ["MAX_WATCHED", "Watching"]

log = logging.getLogger(__name__)

MAX_WATCHED: Final = 1000
"""Pairs of a resource and somebody who listens to it."""

MAX_WATCHED_EACH: Final = 250
"""The same for one tenant, so that none takes all."""

BEGIN_SECONDS: Final = 5.0
"""How long a subscription waits for the server to say that it has begun."""

UPDATED: Final = "notifications/resources/updated"

Key = tuple[str, str, Principal]


@dataclass(slots=True, eq=False)
class _Watched:
    holders: int = 0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    begun: anyio.Event = field(default_factory=anyio.Event)
    error: Exception | None = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error


class Watching:
    """State: what is watched, for whom, and by how many."""

    def __init__(
        self,
        pool: Pool,
        *,
        access: Access,
        server_of: Callable[[str], Awaitable[str]],
        tasks: Callable[[], TaskGroup],
        subscriptions: Callable[[], Subscriptions],
    ) -> None:
        self._pool = pool
        self._access = access
        self._server_of = server_of
        self._tasks = tasks
        self._subscriptions = subscriptions
        self._watched: dict[Key, _Watched] = {}

    def __repr__(self) -> str:
        return f"<Watching {len(self._watched)} resources>"

    async def watch(self, uri: str) -> Release:
        """Watch a resource for the present caller, until the release is called.

        Raises `Denied`, `Unavailable`, and why the server refuses. A server that is away does not refuse: it is watched
        as soon as it is back.
        """
        if uri == SERVERS_URI:
            return lambda: None
        call = current_call()
        server = await self._server_of(uri)
        self._access.require(call.principal, server)
        key = (server, uri, call.principal)
        watched = self._watched.get(key)
        if watched is None:
            self._admit_one_more(call.principal)
            watched = self._watched[key] = _Watched()
            self._tasks().start_soon(self._follow, key, watched, call.hops)
        watched.holders += 1
        try:
            with anyio.move_on_after(BEGIN_SECONDS):
                await watched.begun.wait()
            watched.check()
        except BaseException:
            self._release(key, watched)
            raise
        is_held = True

        def release() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._release(key, watched)

        return release

    def _admit_one_more(self, principal: Principal) -> None:
        own = sum(each.tenant == principal.tenant for _, _, each in self._watched)
        for watched, limit in ((own, MAX_WATCHED_EACH), (len(self._watched), MAX_WATCHED)):
            if watched >= limit:
                raise Unavailable(f"{limit} resources are watched already.", hint="Unsubscribe from some.")

    def _release(self, key: Key, watched: _Watched) -> None:
        watched.holders -= 1
        if not watched.holders:
            watched.scope.cancel()
            if self._watched.get(key) is watched:
                del self._watched[key]

    async def _follow(self, key: Key, watched: _Watched, hops: int) -> None:
        server, uri, principal = key
        try:
            with watched.scope:
                wanted = {"resourceSubscriptions": [uri]}
                async with self._pool.listen(server, filter=wanted, principal=principal, hops=hops) as heard:
                    async for method, params in heard:
                        if method == ACKNOWLEDGED:
                            watched.begun.set()
                        elif method == REFUSED:
                            watched.error = _refused(server, params["refusal"])
                            break
                        elif method == UPDATED and params.get("uri", uri) == uri:
                            await self._subscriptions().resource_updated(uri, tenant=principal.tenant)
        except StoaError as error:
            watched.error = error
        finally:
            if watched.error is not None:
                log.info("%s cannot be watched: %s", uri, watched.error)
            watched.begun.set()
            if self._watched.get(key) is watched:
                del self._watched[key]


def _refused(server: str, refusal: Refusal) -> Exception:
    """The server's own error, as it came; without a code of its own (an HTTP status) it is one of ours."""
    if refusal.status is not None:
        return after_status(refusal, refusal.status, server=server)
    return MCPError(refusal.code, refusal.message, refusal.data)
