"""Both protocol eras over one `Duplex`: the first request decides which, once.

The SDK has the same (`serve_dual_era_loop`), with a relay task between the wire and its loop. Reading from the wire
directly, and reusing what one client says of itself in every request, saves a fourth of the work for a call.
"""

from collections.abc import Mapping
from typing import Any, cast

import mcp_types as types
from mcp.server.connection import Connection, NotifyOnlyOutbound
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.dispatcher import DispatchContext, Outbound
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import InboundLadderRejection, InboundModernRoute, classify_inbound_request
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp_types.version import LATEST_MODERN_VERSION, MODERN_PROTOCOL_VERSIONS

from kit.duplex import Duplex

__all__ = ["Clients", "serve_duplex", "serve_request"]

Params = Mapping[str, Any] | None


async def serve_duplex(server: LowLevelServer[Any], duplex: Duplex, *, lifespan_state: Any) -> None:
    """Serve one client until the duplex ends."""
    opening = await duplex.opening()
    if opening is None:
        return
    if opening.method != "initialize" and _is_modern(opening.params):
        await _Modern(server, duplex, lifespan_state).run()
    else:
        await _serve_handshake(server, duplex, lifespan_state)


async def _serve_handshake(server: LowLevelServer[Any], duplex: Duplex, lifespan_state: Any) -> None:
    # `initialize` is handled before the next message is read: a client may send that without waiting.
    dispatcher = JSONRPCDispatcher[TransportContext](duplex, duplex, inline_methods=frozenset({"initialize"}))
    connection = Connection.for_loop(dispatcher)
    runner = ServerRunner(server, connection, lifespan_state, init_options=server.create_initialization_options())

    async def on_request(ctx: DispatchContext[TransportContext], method: str, params: Params) -> dict[str, Any]:
        if method != "initialize" and _is_modern(params):
            raise MCPError(
                types.INVALID_REQUEST,
                "This connection began with initialize; a request that names its version needs another one.",
            )
        return await runner.on_request(ctx, method, params)

    try:
        await dispatcher.run(on_request, runner.on_notify)
    finally:
        await aclose_shielded(connection)


class _Modern:
    """2026-07-28: every request says who sends it and what that client can do."""

    def __init__(self, server: LowLevelServer[Any], duplex: Duplex, lifespan_state: Any) -> None:
        self._server = server
        self._state = lifespan_state
        # The protocol has no requests from server to client any more.
        self._dispatcher = JSONRPCDispatcher[TransportContext](
            duplex, duplex, transport_builder=lambda _: TransportContext(kind="jsonrpc", can_send_request=False)
        )
        self._outbound = NotifyOnlyOutbound(self._dispatcher)
        self._clients = Clients(self._outbound)

    async def run(self) -> None:
        await self._dispatcher.run(self._on_request, self._on_notify)

    async def _on_request(self, ctx: DispatchContext[TransportContext], method: str, params: Params) -> dict[str, Any]:
        if method == "initialize":
            raise MCPError(
                types.UNSUPPORTED_PROTOCOL_VERSION,
                f"This connection speaks {LATEST_MODERN_VERSION}, which has no initialize.",
                {"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": str((params or {}).get("protocolVersion"))},
            )
        route = classify_inbound_request({"method": method, "params": params})
        if isinstance(route, InboundLadderRejection):
            raise MCPError(route.code, route.message, route.data)
        connection = self._clients.connection(route)
        return await serve_request(self._server, ctx, method, params, connection=connection, state=self._state)

    async def _on_notify(self, ctx: DispatchContext[TransportContext], method: str, params: Params) -> None:
        connection = Connection.from_envelope(LATEST_MODERN_VERSION, None, None, outbound=self._outbound)
        await ServerRunner(self._server, connection, self._state).on_notify(ctx, method, params)


class Clients:
    """The SDK's record of who sends a request, parsed anew only when a client describes itself anew."""

    def __init__(self, outbound: Outbound | None = None) -> None:
        self._outbound = outbound
        self._last: tuple[InboundModernRoute, Connection] | None = None

    def __repr__(self) -> str:
        return f"<Clients: {'one' if self._last else 'none'} known>"

    def connection(self, route: InboundModernRoute) -> Connection:
        """A connection for one request; it is not shared."""
        options: dict[str, Any] = {} if self._outbound is None else {"outbound": self._outbound}
        if self._last is None or self._last[0] != route:
            parsed = Connection.from_envelope(
                route.protocol_version, route.client_info, route.client_capabilities, **options
            )
            self._last = route, parsed
        known = self._last[1]
        connection = Connection(
            known.outbound, protocol_version=route.protocol_version, client_params=known.client_params
        )
        connection.client_capabilities = known.client_capabilities
        connection.initialized = known.initialized
        return connection


async def serve_request(
    server: LowLevelServer[Any],
    ctx: DispatchContext[TransportContext],
    method: str,
    params: Params,
    *,
    connection: Connection,
    state: Any,
) -> dict[str, Any]:
    """Handle one request of the modern era and clean up after it. Raises whatever the handlers raise."""
    try:
        return await ServerRunner(server, connection, state).on_request(ctx, method, params)
    finally:
        # Asking costs less than closing a stack with nothing on it, which is what nearly every request has.
        if cast("Any", connection.exit_stack)._exit_callbacks:
            await aclose_shielded(connection)


def _is_modern(params: Params) -> bool:
    meta = cast("object", (params or {}).get("_meta"))
    return isinstance(meta, Mapping) and types.PROTOCOL_VERSION_META_KEY in meta
