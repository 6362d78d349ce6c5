"""Opening a connection to a member: stdio, Streamable HTTP, WebSocket or in this process, both protocol eras."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import anyio
import mcp_types as types
from mcp.client import Client, IncomingMessage, Transport
from mcp.client.subscriptions import SubscriptionLost
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from pool.address import header_trouble, url_trouble
from pool.wire.connection import Connection, read_failure
from pool.wire.failures import Lost, first_cause
from pool.wire.http import HttpPool, HttpTransport
from pool.wire.link import Link
from pool.spec import HttpSpec, InProcessSpec, MemberSpec, StdioSpec, WsSpec
from pool.wire.stdio import StdioTransport
from pool.wire.websocket import WebSocketTransport
from stoa import __version__
from stoa.errors import BadInput, Denied, StoaError, Unavailable

__all__ = ["Surroundings", "open_connection"]

LISTEN_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What connections of one pool share."""

    http: HttpPool
    environ: Mapping[str, str]


@asynccontextmanager
async def open_connection(
    spec: MemberSpec,
    *,
    server: str,
    surroundings: Surroundings,
    grace_seconds: float,
    on_tools_changed: Callable[[], None],
) -> AsyncGenerator[Connection]:
    """Connect, shake hands, and keep listening for changes of the tool list.

    Raises a `StoaError` that says why there is no connection. Enter and leave in the same task.
    """
    link: StdioTransport | HttpTransport | WebSocketTransport | Link
    target: Server[object] | Transport
    if isinstance(spec, InProcessSpec):
        link = Link()
        target = cast("Server[object]", spec.server)
    else:
        _check(spec, server=server)
        if isinstance(spec, StdioSpec):
            link = StdioTransport(spec, server=server, environ=surroundings.environ, grace_seconds=grace_seconds)
        elif isinstance(spec, HttpSpec):
            link = HttpTransport(spec, server=server, pool=surroundings.http)
        else:
            link = WebSocketTransport(spec, server=server)
        target = link

    async def on_message(message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            on_tools_changed()

    client = Client(
        target,
        mode="auto",
        message_handler=on_message,
        client_info=types.Implementation(name="stoa", version=__version__),
        # The pool keeps its own catalogue; a second cache below it would only go stale differently.
        cache=None,
    )
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(client)
        except (MCPError, ExceptionGroup) as error:
            cause = first_cause(error)
            if isinstance(cause, MCPError):
                raise _explain(cause, spec, server=server, told=link.explain()) from cause
            raise cause from None
        tasks = await stack.enter_async_context(anyio.create_task_group())
        connection = Connection(
            client,
            server=server,
            lost=link.lost,
            lose=link.lose,
            explain=link.explain,
            apart=tasks if isinstance(spec, InProcessSpec) else None,
        )
        tasks.start_soon(_listen, client, connection, on_tools_changed)
        yield connection
        tasks.cancel_scope.cancel()


def _check(spec: StdioSpec | HttpSpec | WsSpec, *, server: str) -> None:
    """Raise `BadInput` for an address or headers that no request can be made of."""
    if isinstance(spec, StdioSpec):
        return
    if (url_is := url_trouble(spec.url, "ws" if isinstance(spec, WsSpec) else "http")) is not None:
        raise BadInput(f"The server {server!r} has the address {spec}: {url_is[0]}.", hint=url_is[1])
    if (header_is := header_trouble(spec.headers)) is not None:
        raise BadInput(f"The header {header_is[0]!r} of the server {server!r}: {header_is[1]}.", hint=header_is[2])


def _explain(error: MCPError, spec: MemberSpec, *, server: str, told: str) -> StoaError:
    """A session that could not be started, for people."""
    if isinstance(spec, StdioSpec) and told:
        return Unavailable(
            f"The server {server!r} ended before it answered. {told}", hint=f"Try its command by hand: {spec}"
        )
    failure = read_failure(error)
    if isinstance(failure, Lost):
        return Unavailable(
            f"The server {server!r} cannot be reached. {failure.reason}", hint="Start it, or correct its url."
        )
    if failure.status in (401, 403):
        return Denied(
            f"The server {server!r} does not let us in. {failure.message}",
            hint=f"Check mcpServers.{server}.headers.",
        )
    if isinstance(spec, HttpSpec) and failure.code == types.METHOD_NOT_FOUND:
        return BadInput(
            f"There is no MCP endpoint at {spec} (server {server!r}).", hint=f"Correct mcpServers.{server}.url."
        )
    return Unavailable(
        f"The server {server!r} refused to start a session: {failure.message}",
        hint=f"Asked: {spec}",
        retry_after=failure.retry_after,
    )


async def _listen(client: Client, connection: Connection, on_tools_changed: Callable[[], None]) -> None:
    """Keep a subscription open where the 2026-07-28 revision asks for one; older servers notify by themselves."""
    tools = client.server_capabilities.tools
    if not connection.is_modern or tools is None or not tools.list_changed:
        return
    while True:
        try:
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    on_tools_changed()
        except (MCPError, SubscriptionLost, TimeoutError) as error:
            if isinstance(error, MCPError) and error.code != types.CONNECTION_CLOSED:
                return  # it does not offer that after all
        # What changed in between is not replayed.
        on_tools_changed()
        await anyio.sleep(LISTEN_AGAIN_SECONDS)
