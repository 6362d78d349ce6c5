"""Streamable HTTP since 2026-07-28: one POST, one request, one answer; in the handshake era the SDK serves.

The SDK has this too (`mcp.server._streamable_http_modern`) and starts two tasks, a stream and a timer for each request.
Here the handler runs in the request's own task and writes its events itself; one task per endpoint minds requests that
take longer than a moment: it sees clients leave, which cancels the handler, and keeps silent streams alive.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, cast

import anyio
import mcp_types as types
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.runner import modern_error_data
from mcp.server.streamable_http import check_accept_headers
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
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
from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kit.eras import Clients, serve_request
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["Exchanges", "is_modern"]

MIND_SECONDS: Final = 0.1
"""How old a request is when it begins to be minded, at most twice this."""

PING_SECONDS: Final = 15.0

_VERSION: Final = MCP_PROTOCOL_VERSION_HEADER.encode("ascii")
_SSE_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


def is_modern(scope: Scope) -> bool:
    """Whether the request says it is of this era; versions that nobody knows are told so here."""
    version = next((value for name, value in scope["headers"] if name == _VERSION), None)
    return version is not None and version.decode("latin-1") not in HANDSHAKE_PROTOCOL_VERSIONS


class Exchanges:
    """Serves requests of one server. State: those that run, the clients last seen."""

    def __init__(self, server: LowLevelServer[Any]) -> None:
        self._server = server
        self._clients = Clients()
        self._running: set[_Exchange] = set()
        self._busy = anyio.Event()

    def __repr__(self) -> str:
        return f"<Exchanges of {self._server.name!r}: {len(self._running)} running>"

    async def mind(self) -> None:
        """Look after requests that take long, until cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                if not self._running:
                    self._busy = anyio.Event()
                    await self._busy.wait()
                young = [exchange for exchange in self._running if not exchange.is_minded]
                await anyio.sleep(MIND_SECONDS)
                for exchange in young:
                    if exchange in self._running:
                        exchange.is_minded = True
                        group.start_soon(exchange.mind)

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, lifespan_state: Any) -> None:
        request = Request(scope, receive)
        try:
            message = await self._read(request)
            if message is None:
                await Response(status_code=202)(scope, receive, send)
                return
            exchange, connection = self._admit(request, message, send)
        except _Refused as refused:
            await refused.response(scope, receive, send)
            return
        self._running.add(exchange)
        self._busy.set()
        try:
            with exchange.scope:
                method, params = message.method, message.params
                await exchange.answer(
                    serve_request(self._server, exchange, method, params, connection=connection, state=lifespan_state)
                )
        finally:
            self._running.discard(exchange)
            exchange.minder.cancel()

    async def _read(self, request: Request) -> types.JSONRPCRequest | None:
        """The request in the body, or none for a notification, which this wire accepts and has no use for."""
        if request.method != "POST":
            raise _Refused(Response(status_code=405, headers={"Allow": "POST"}))
        if not request.headers.get("content-type", "").lower().startswith("application/json"):
            raise _Refused(Response("Invalid Content-Type header", status_code=400))
        if check_accept_headers(request) != (True, True):
            raise _Refused(Response(status_code=406))
        try:
            # pydantic's reader, as on the other wires: the standard library's takes UTF-16, half characters and NaN.
            decoded = from_json(await _body(request), allow_inf_nan=False)
        except ValueError:  # also numbers too long to read, and lists too deep
            _refuse(types.PARSE_ERROR, "This is not JSON.")
        try:
            if isinstance(decoded, dict) and "id" not in decoded:
                types.JSONRPCNotification.model_validate(decoded)
                version = unsupported_protocol_version_rejection(request.headers.get(MCP_PROTOCOL_VERSION_HEADER, ""))
                if version is not None:
                    _refuse(version.code, version.message, data=version.data)
                return None
            return types.JSONRPCRequest.model_validate(decoded)
        except ValidationError:
            _refuse(types.INVALID_REQUEST, "The body is not one JSON-RPC request or notification.")

    def _admit(self, request: Request, message: types.JSONRPCRequest, send: Send) -> tuple["_Exchange", Connection]:
        """Headers and message have to agree, so that whatever routes by the one is right about the other."""
        duplicated = find_duplicated_routing_header(request.headers.items())
        if duplicated is not None:
            _refuse(types.HEADER_MISMATCH, f"The header {duplicated} comes more than once.", id=message.id)
        params = message.params
        route = classify_inbound_request(
            {"method": message.method, "params": params}, headers=cast("Mapping[str, str]", request.headers)
        )
        if not isinstance(route, InboundLadderRejection):
            mismatch = self._mismatch(request, message)
            if mismatch is None:
                context = TransportContext(kind="streamable-http", can_send_request=False, headers=request.headers)
                exchange = _Exchange(
                    transport=context,
                    request_id=message.id,
                    message_metadata=ServerMessageMetadata(request_context=request),
                    progress_token=progress_token_from_params(params),
                    receive=request.receive,
                    send=send,
                )
                return exchange, self._clients.connection(route)
            route = mismatch
        _refuse(route.code, route.message, data=route.data, id=message.id)

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


@dataclass(eq=False, slots=True)
class _Exchange:
    """One request as the SDK's `DispatchContext`: notifications turn the answer into a stream of events."""

    transport: TransportContext
    request_id: types.RequestId
    message_metadata: ServerMessageMetadata
    progress_token: types.ProgressToken | None
    receive: Receive
    send: Send
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    minder: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    writing: anyio.Lock = field(default_factory=anyio.Lock)
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)
    can_send_request: bool = False
    is_minded: bool = False
    is_stream: bool = False
    is_answered: bool = False

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> NoReturn:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        await self._emit(_event(to_json(message)))

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self.progress_token is None:
            return
        params: dict[str, Any] = {"progressToken": self.progress_token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self.notify("notifications/progress", params)

    async def answer(self, handling: Any) -> None:
        """Await the handler and write its result, or its error with the HTTP status that belongs to it."""
        error: types.ErrorData | None = None
        try:
            body = to_json({"jsonrpc": "2.0", "id": self.request_id, "result": await handling})
        except Exception as failure:  # noqa: BLE001  # the door of this wire: the SDK's table turns all of them
            error = modern_error_data(failure)
            body = _failed(error, self.request_id)
        if len(body) > MAX_MESSAGE_BYTES:
            said = f"The answer has {len(body)} bytes; a message may have {MAX_MESSAGE_BYTES}. Ask for less at a time."
            error = types.ErrorData(code=types.INTERNAL_ERROR, message=said)
            body = _failed(error, self.request_id)
        async with self.writing:
            self.is_answered = True
            if self.is_stream:
                await self.send({"type": "http.response.body", "body": _event(body), "more_body": False})
                return
            status = 200 if error is None else ERROR_CODE_HTTP_STATUS.get(error.code, 200)
            headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def mind(self) -> None:
        """Cancel the handler when the client has left; say something from time to time, or proxies think we have."""
        with self.minder:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep_alive)
                while (await self.receive())["type"] != "http.disconnect":
                    pass
                self.scope.cancel()
                group.cancel_scope.cancel()

    async def _keep_alive(self) -> None:
        while True:
            await anyio.sleep(PING_SECONDS)
            await self._emit(b": ping\r\n\r\n")

    async def _emit(self, event: bytes) -> None:
        async with self.writing:
            if self.is_answered:
                return
            if not self.is_stream:
                self.is_stream = True
                await self.send({"type": "http.response.start", "status": 200, "headers": _SSE_HEADERS})
            await self.send({"type": "http.response.body", "body": event, "more_body": True})


class _Refused(Exception):  # a way out, caught a few lines further up
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def _refuse(code: int, message: str, *, data: Any = None, id: types.RequestId | None = None) -> NoReturn:
    body = _failed(types.ErrorData(code=code, message=message, data=data), id)
    status = ERROR_CODE_HTTP_STATUS.get(code, 200)
    raise _Refused(Response(body, status_code=status, media_type="application/json"))


async def _body(request: Request) -> bytes:
    """The body, cut off with 413 at the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_MESSAGE_BYTES:
        raise _Refused(_too_long())
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_MESSAGE_BYTES:
            raise _Refused(_too_long())
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_long() -> Response:
    return Response(f"A message may have {MAX_MESSAGE_BYTES} bytes.", status_code=413)


def _failed(error: types.ErrorData, id: types.RequestId | None) -> bytes:
    return to_json({"jsonrpc": "2.0", "id": id, "error": error.model_dump(mode="json", exclude_none=True)})


def _event(body: bytes) -> bytes:
    return b"event: message\r\ndata: " + body + b"\r\n\r\n"
