"""Streamable HTTP since 2026-07-28: one POST, one request, one answer.

The SDK has this too (`mcp.server._streamable_http_modern`) and starts two tasks, a stream and a timer for each request.
Here the handler runs in the request's own task (`kit.reply`).
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import mcp_types as types
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.streamable_http import check_accept_headers
from mcp.shared.inbound import (
    MCP_PROTOCOL_VERSION_HEADER,
    InboundLadderRejection,
    classify_inbound_request,
    find_duplicated_routing_header,
    unsupported_protocol_version_rejection,
    validate_mcp_param_headers,
)
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kit.eras import Clients, serve_request
from kit.reply import Minder, Refused, Reply, read_body, refuse

__all__ = ["Exchanges", "is_modern"]

_VERSION: Final = MCP_PROTOCOL_VERSION_HEADER.encode("ascii")


def is_modern(scope: Scope) -> bool:
    """Whether the request says it is of this era; versions that nobody knows are told so here."""
    version = next((value for name, value in scope["headers"] if name == _VERSION), None)
    return version is not None and version.decode("latin-1") not in HANDSHAKE_PROTOCOL_VERSIONS


class Exchanges:
    """Serves requests of one server. State: those that run, the clients last seen."""

    def __init__(self, server: LowLevelServer[Any]) -> None:
        self._server = server
        self._clients = Clients()
        self._minder = Minder()

    def __repr__(self) -> str:
        return f"<Exchanges of {self._server.name!r}: {len(self._minder)} running>"

    async def mind(self) -> None:
        """Look after requests that take long, until cancelled."""
        await self._minder.run()

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, lifespan_state: Any) -> None:
        request = Request(scope, receive)
        try:
            message = await self._read(request)
            if message is None:
                await Response(status_code=202)(scope, receive, send)
                return
            reply, connection = self._admit(request, message, send)
        except Refused as refused:
            await refused.response(scope, receive, send)
            return
        with self._minder.minding(reply), reply.scope:
            method, params = message.method, message.params
            await reply.answer(
                serve_request(self._server, reply, method, params, connection=connection, state=lifespan_state)
            )

    async def _read(self, request: Request) -> types.JSONRPCRequest | None:
        """The request in the body, or none for a notification, which this wire accepts and has no use for."""
        if request.method != "POST":
            raise Refused(Response(status_code=405, headers={"Allow": "POST"}))
        if not request.headers.get("content-type", "").lower().startswith("application/json"):
            raise Refused(Response("Invalid Content-Type header", status_code=400))
        if check_accept_headers(request) != (True, True):
            raise Refused(Response(status_code=406))
        try:
            # pydantic's reader, as on the other wires: the standard library's takes UTF-16, half characters and NaN.
            decoded = from_json(await read_body(request), allow_inf_nan=False)
        except ValueError:  # also numbers too long to read, and lists too deep
            refuse(types.PARSE_ERROR, "This is not JSON.")
        try:
            if isinstance(decoded, dict) and "id" not in decoded:
                types.JSONRPCNotification.model_validate(decoded)
                version = unsupported_protocol_version_rejection(request.headers.get(MCP_PROTOCOL_VERSION_HEADER, ""))
                if version is not None:
                    refuse(version.code, version.message, data=version.data)
                return None
            return types.JSONRPCRequest.model_validate(decoded)
        except ValidationError:
            refuse(types.INVALID_REQUEST, "The body is not one JSON-RPC request or notification.")

    def _admit(self, request: Request, message: types.JSONRPCRequest, send: Send) -> tuple[Reply, Connection]:
        """Headers and message have to agree, so that whatever routes by the one is right about the other."""
        duplicated = find_duplicated_routing_header(request.headers.items())
        if duplicated is not None:
            refuse(types.HEADER_MISMATCH, f"The header {duplicated} comes more than once.", id=message.id)
        params = message.params
        route = classify_inbound_request(
            {"method": message.method, "params": params}, headers=cast("Mapping[str, str]", request.headers)
        )
        if not isinstance(route, InboundLadderRejection):
            mismatch = self._mismatch(request, message)
            if mismatch is None:
                context = TransportContext(kind="streamable-http", can_send_request=False, headers=request.headers)
                reply = Reply(
                    transport=context,
                    request_id=message.id,
                    message_metadata=ServerMessageMetadata(request_context=request),
                    progress_token=progress_token_from_params(params),
                    receive=request.receive,
                    send=send,
                )
                return reply, self._clients.connection(route)
            route = mismatch
        refuse(route.code, route.message, data=route.data, id=message.id)

    def _mismatch(self, request: Request, message: types.JSONRPCRequest) -> InboundLadderRejection | None:
        """Arguments that the tool wants as headers, too, against those headers (SEP-2243)."""
        look_up, params = self._server.get_tool_input_schema, message.params or {}
        name, arguments = params.get("name"), cast("object", params.get("arguments") or {})
        if message.method != "tools/call" or look_up is None or not isinstance(name, str):
            return None
        schema = look_up(name)
        if schema is None or not isinstance(arguments, dict):
            return None
        return validate_mcp_param_headers(schema, cast("dict[str, Any]", arguments), request.headers)
