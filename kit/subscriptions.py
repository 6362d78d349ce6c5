"""Who wants to hear of changes, kept apart by tenant, for both protocol eras.

Since 2026-07-28 a client holds a `subscriptions/listen` request open and hears on it. Before, it named resources by
`resources/subscribe` and heard of them, and of changed lists, on its connection. Nothing is replayed to either.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import anyio
import mcp_types as types
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.subscriptions import (
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

__all__ = ["Changed", "Release", "Subscriptions", "Watch"]

log = logging.getLogger(__name__)

Changed = Literal["tools", "prompts", "resources"]

MAX_URIS_PER_CONNECTION: Final = 10_000
NOTIFY_SECONDS: Final = 1.0
"""How long one connection that does not read may hold up whoever has news; it then misses them."""
LAGGING_SECONDS: Final = 0.01
"""The same for one that did not read the last time either."""

_STATE: Final = "stoa.listener"

Release = Callable[[], object]
Watch = Callable[[str], Awaitable[Release]]
"""Begins to look after a resource on behalf of the present caller, and gives the way to end that."""

_EVENTS: Final[dict[Changed, ServerEvent]] = {
    "tools": ToolsListChanged(),
    "prompts": PromptsListChanged(),
    "resources": ResourcesListChanged(),
}


@dataclass(slots=True, eq=False)
class _Listener:
    """A connection of the handshake era. One from a pool can carry calls of several tenants."""

    connection: Connection
    tenants: set[str] = field(default_factory=set[str])
    uris: dict[tuple[str, str], Release] = field(default_factory=dict[tuple[str, str], Release])
    is_lagging: bool = False

    def leave(self) -> None:
        for release in self.uris.values():
            release()
        self.uris.clear()


class Subscriptions:
    """Two pieces of state: open listen streams with their tenant, and connections of the handshake era."""

    def __init__(
        self, *, whose: Callable[[], str], admit: Callable[[str], Awaitable[None]], watch: Watch | None = None
    ) -> None:
        """`whose` says which tenant the request belongs to that is being served; `admit` raises `Denied` where its
        caller may not read a resource. `watch` is for servers that have to be told elsewhere of what changes."""
        self._whose = whose
        self._admit = admit
        self._watch = watch or _watch_nothing
        self._streams: dict[object, tuple[str, Callable[[ServerEvent], None]]] = {}
        self._listeners: set[_Listener] = set()
        self._listen = ListenHandler(self)

    def __repr__(self) -> str:
        return f"<Subscriptions: {len(self._streams)} streams, {len(self._listeners)} connections>"

    def install(self, server: LowLevelServer[Any]) -> None:
        server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, self._subscribe)
        server.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, self._unsubscribe)
        server.add_request_handler("subscriptions/listen", types.SubscriptionsListenRequestParams, self._open)

    async def resource_updated(self, uri: str, *, tenant: str) -> None:
        self._feed(ResourceUpdated(uri=uri), tenant)
        await self._notify(
            [listener for listener in self._listeners if (tenant, uri) in listener.uris],
            lambda connection: connection.send_resource_updated(uri),
        )

    async def list_changed(self, what: Changed, *, tenant: str | None) -> None:
        """`tenant=None` tells everybody."""
        self._feed(_EVENTS[what], tenant)
        await self._notify(
            [listener for listener in self._listeners if tenant is None or tenant in listener.tenants],
            lambda connection: connection.notify(f"notifications/{what}/list_changed", None),
        )

    def tenants_of(self, uri: str) -> set[str]:
        """Who may be listening to a resource; to those who are not, telling them is telling nobody."""
        streams = {tenant for tenant, _ in self._streams.values()}
        return streams | {tenant for listener in self._listeners for tenant, each in listener.uris if each == uri}

    def attend(self, ctx: ServerRequestContext[Any, Any], tenant: str) -> None:
        """Remember that this connection of the handshake era speaks for the tenant."""
        self._listener(ctx).tenants.add(tenant)

    def close(self) -> None:
        """End every listen stream in good order; the server is going away."""
        self._listen.close()

    async def publish(self, event: ServerEvent) -> None:
        """The SDK's bus: an event of the current call's tenant."""
        self._feed(event, self._whose())

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """The SDK's bus: called while a listen request is served, so the tenant is the one of that request."""
        token = object()
        self._streams[token] = (self._whose(), listener)
        return lambda: self._streams.pop(token, None) and None

    def _feed(self, event: ServerEvent, tenant: str | None) -> None:
        for owner, deliver in list(self._streams.values()):
            if tenant is None or owner == tenant:
                deliver(event)

    async def _notify(self, listeners: list[_Listener], send: Callable[[Connection], Awaitable[None]]) -> None:
        if not listeners:
            return
        async with anyio.create_task_group() as group:
            for listener in listeners:
                group.start_soon(self._send, listener, send)

    async def _send(self, listener: _Listener, send: Callable[[Connection], Awaitable[None]]) -> None:
        with anyio.move_on_after(LAGGING_SECONDS if listener.is_lagging else NOTIFY_SECONDS) as scope:
            await send(listener.connection)
        if scope.cancelled_caught and not listener.is_lagging:
            log.warning("a client does not read its notifications; it misses some")
        listener.is_lagging = scope.cancelled_caught

    async def _open(
        self, ctx: ServerRequestContext[Any, Any], params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        uris = dict.fromkeys(str(uri) for uri in params.notifications.resource_subscriptions or ())
        with ExitStack() as watched:
            for uri in uris:
                await self._admit(uri)
                watched.callback(await self._watch(uri))
            return await self._listen(ctx, params)

    async def _subscribe(
        self, ctx: ServerRequestContext[Any, Any], params: types.SubscribeRequestParams
    ) -> types.EmptyResult:
        uri = str(params.uri)
        await self._admit(uri)
        listener, key = self._listener(ctx), (self._whose(), uri)
        if key not in listener.uris and len(listener.uris) < MAX_URIS_PER_CONNECTION:
            release = await self._watch(uri)
            if listener not in self._listeners or key in listener.uris:  # while we waited
                release()
            else:
                listener.uris[key] = release
        return types.EmptyResult()

    async def _unsubscribe(
        self, ctx: ServerRequestContext[Any, Any], params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        release = self._listener(ctx).uris.pop((self._whose(), str(params.uri)), None)
        if release is not None:
            release()
        return types.EmptyResult()

    def _listener(self, ctx: ServerRequestContext[Any, Any]) -> _Listener:
        connection = ctx.session._connection  # pyright: ignore[reportPrivateUsage]  # the SDK has no public way to it
        found = connection.state.get(_STATE)
        if isinstance(found, _Listener):
            return found
        listener = _Listener(connection)
        connection.state[_STATE] = listener
        self._listeners.add(listener)
        connection.exit_stack.callback(self._forget, listener)
        return listener

    def _forget(self, listener: _Listener) -> None:
        self._listeners.discard(listener)
        listener.leave()


async def _watch_nothing(_: str) -> Release:
    return lambda: None
