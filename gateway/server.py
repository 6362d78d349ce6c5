"""The gateway: one MCP server in front of all groups of a pool.

    async with Pool(groups, internal_key=key) as pool:
        await serve_stdio(create(pool, settings, options=Options()))

It is a plain low-level server of the SDK with the kit's tracing and gate before it. What it passes on is passed raw
(`relay`); what little it answers itself is registered here.
"""

import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
from anyio.abc import TaskGroup
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.models import InitializationOptions
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

import stoa
from gateway.access import Access, is_told
from gateway.circle import GATEWAY_NAME
from gateway.client import Clients, remember_level
from gateway.names import OWN_TOOLS
from gateway.news import News
from gateway.offers import Offers
from gateway.options import Limits, Options
from gateway.passing import Passing
from gateway.relay import Relay
from gateway.search import Search
from gateway.servers_resource import SERVERS_URI, ServersResource
from gateway.suspended import Suspended
from gateway.watching import Watching
from kit.call import current_call
from kit.cursor import Cursors
from kit.gate import Gate
from kit.identity import internal_key
from kit.lifespan import SharedContext
from kit.subscriptions import Subscriptions
from kit.tracing import Tracing
from pool.nearby import did_you_mean
from pool.pool import Pool
from stoa.clock import Clock, SystemClock
from stoa.embedder import Embedder
from stoa.home import secret_key
from stoa.settings import Settings

if TYPE_CHECKING:
    from kit.metrics import Metrics

__all__ = ["Gateway", "create"]

_log = logging.getLogger(__name__)


def create(
    pool: Pool,
    settings: Settings,
    *,
    options: Options,
    embedder: Embedder | None = None,
    clock: Clock | None = None,
    limits: Limits | None = None,
) -> "Gateway":
    """The gateway in front of a pool that is open for as long as this is served. Raises `BadInput`, `NotFound` for
    options that do not fit its groups."""
    options.check(pool.servers)
    if options.no_prefix:  # that one, whatever comes beside it later
        options = replace(options, servers=options.chosen(pool.servers))
    return Gateway(pool, settings, options, embedder, clock or SystemClock(), limits or Limits())


class Gateway:
    """Fulfils `kit.served.Served`."""

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        options: Options,
        embedder: Embedder | None,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.name = GATEWAY_NAME
        self.version = stoa.__version__
        self._pool = pool
        self._options = options
        self._has_key = settings.internal_key is not None
        self._tasks: TaskGroup | None = None
        me = secrets.token_hex(4)
        self.offers = Offers(
            pool,
            options,
            tasks=self._running,
            on_late=self._lists_changed,
            listing_seconds=limits.listing_seconds,
            me=me,
        )
        self._search = Search(options, tasks=self._running, embedder=embedder)
        self.suspended = Suspended(self._running, limits)
        access = Access(self._is_told)
        about = ServersResource(pool, self.offers, clock=clock)
        self._news = News(pool, self.offers, about, subscriptions=lambda: self.subscriptions)
        self._lowlevel = _LowLevel(self.name, version=self.version, instructions=_instructions(options, pool))
        passing = Passing(
            pool,
            clients=Clients(),
            suspended=self.suspended,
            call_seconds=lambda server: pool.spec(server).call_timeout_seconds,
            limits=limits,
        )
        relay = Relay(
            offers=self.offers,
            passing=passing,
            access=access,
            search=self._search,
            about=about,
            stamp=self._lowlevel.server_info_stamp,
            me=me,
        )
        self._watching = Watching(
            pool,
            access=access,
            server_of=relay.server_of,
            tasks=self._running,
            subscriptions=lambda: self.subscriptions,
        )
        self.subscriptions = Subscriptions(
            whose=lambda: current_call().principal.tenant, admit=_admit_all, watch=self._watching.watch
        )
        self.gate = Gate(
            name=self.name,
            internal_key=internal_key(settings),
            cursors=Cursors(secret_key(settings)),
            subscriptions=self.subscriptions,
            tools=pool,
            stands_for=lambda: pool.servers,
        )
        self._shared = SharedContext(self._run)
        self._install(relay)

    def __repr__(self) -> str:
        return f"<Gateway {self.offers!r}, {self._search!r}, {self.suspended!r}, {self._watching!r}>"

    @property
    def lowlevel(self) -> LowLevelServer[Any]:
        return self._lowlevel

    def observe(self, metrics: "Metrics") -> None:
        """Count requests from now on, and show what the pool has counted."""
        self.gate.observer = metrics.observer(self.name, knows_method=self._knows_method, knows_tool=self._knows_tool)
        metrics.add(self._pool.samples)

    def _knows_method(self, method: str) -> bool:
        return method == "initialize" or self.lowlevel.get_request_handler(method) is not None

    def _knows_tool(self, name: str) -> bool:
        return name in OWN_TOOLS or name in self.offers.view.by_name

    def _is_told(self, server: str) -> bool:
        return is_told(self._pool.spec(server), has_key=self._has_key)

    def _lists_changed(self) -> None:
        self._news.lists_changed()

    def _running(self) -> TaskGroup:
        assert self._tasks is not None, "the gateway is not being served"
        return self._tasks

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._news.run)
            self._tasks.start_soon(self._look)  # whoever lists first finds servers that have been started
            try:
                yield
            finally:
                self._tasks.cancel_scope.cancel()
        self._tasks = None

    async def _look(self) -> None:
        """Ask the servers once, and say which pinned tools there are not: the client would just not see them."""
        view = await self.offers.fresh()
        if all(server in view.offers for server in view.servers):
            for name in self._options.pinned:
                if name not in view.by_name:
                    near = did_you_mean(name, view.by_name, list_all=False)
                    _log.warning("the pinned tool %r is not among the tools. %s", name, near)

    def _hold(self, _: LowLevelServer[Any]) -> AbstractAsyncContextManager[None]:
        return self._shared.held()

    def _install(self, relay: Relay) -> None:
        server = self._lowlevel
        server.lifespan = self._hold
        server.middleware[:] = [Tracing(), self.gate, relay]
        server.get_tool_input_schema = self._input_schema
        for method, params in _RELAYED.items():
            server.add_request_handler(method, params, _never)  # makes the capability known; `relay` answers
        server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _set_level)
        self.subscriptions.install(server)

    def _input_schema(self, name: str) -> Any:
        """For checking headers against arguments; none for a tool that wants no headers."""
        tool = self.offers.view.by_name.get(name)
        return tool.info.input_schema if tool is not None and tool.wants_headers else None


class _LowLevel(LowLevelServer[Any]):
    """The SDK's server, which tells clients of both eras that lists may change."""

    def create_initialization_options(self, *args: Any, **kwargs: Any) -> InitializationOptions:
        changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(changes, *args[1:], **kwargs)


_RELAYED: dict[str, Any] = {
    "tools/list": types.PaginatedRequestParams,
    "tools/call": types.CallToolRequestParams,
    "prompts/list": types.PaginatedRequestParams,
    "prompts/get": types.GetPromptRequestParams,
    "resources/list": types.PaginatedRequestParams,
    "resources/templates/list": types.PaginatedRequestParams,
    "resources/read": types.ReadResourceRequestParams,
    "completion/complete": types.CompleteRequestParams,
}


async def _never(ctx: ServerRequestContext[Any, Any], params: Any) -> types.EmptyResult:
    raise AssertionError(f"{ctx.method} is answered before it comes here")


async def _set_level(ctx: ServerRequestContext[Any, Any], params: types.SetLevelRequestParams) -> types.EmptyResult:
    connection = ctx.session._connection  # pyright: ignore[reportPrivateUsage]  # the SDK has no public way to it
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        remember_level(connection, params.level)
    return types.EmptyResult()


async def _admit_all(_: str) -> None:
    """Who may read is asked where the resource is watched."""


def _instructions(options: Options, pool: Pool) -> str:
    servers = options.chosen(pool.servers)
    said = f"Tools of these servers: {', '.join(servers)}."
    if not options.no_prefix:
        said += " A tool is named <server>_<tool>."
    if not options.list_all:
        said += (
            f" With more than {options.search_above} tools, find them with search_tools, read about one with "
            "describe_tool, and call it with call_tool."
        )
    return f"{said} The resource {SERVERS_URI} says which servers are up, and why one is not."
