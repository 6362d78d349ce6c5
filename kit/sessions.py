"""Streamable HTTP before 2026-07-28: sessions that begin with `initialize` and are known by a header.

The SDK has this too (`StreamableHTTPSessionManager`); it hands each request through three queues to a task and answers
by a stream of events, which takes five times as long. Here a request is served in the task that received it, and
answered with plain JSON unless something is said before the answer (`kit.reply`).
"""

import logging
from collections import Counter
from collections.abc import Hashable
from http import HTTPStatus
from typing import Any, Final, NoReturn, cast
from uuid import uuid4

import anyio
import mcp_types as types
from anyio.abc import TaskGroup, TaskStatus
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER, check_accept_headers
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kit.reply import PING, PING_SECONDS, SSE_HEADERS, Minder, Refused, Reply, read_body, refuse
from kit.session import Session

__all__ = ["Sessions"]

log = logging.getLogger(__name__)

_HEADER: Final = MCP_SESSION_ID_HEADER.lower().encode("ascii")


class Sessions:
    """The sessions of one server. State: those that are open, by their ids."""

    def __init__(self, server: LowLevelServer[Any], *, max_sessions: int, idle_seconds: float) -> None:
        self._server = server
        self._max_sessions = max_sessions
        self._idle_seconds = idle_seconds
        self._open: dict[str, Session] = {}
        self._minder = Minder()
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<Sessions of {self._server.name!r}: {len(self._open)} open, {len(self._minder)} requests>"

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep sessions alive, until cancelled; started once they can begin."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            await self._minder.run()

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, owner: Hashable, lifespan_state: Any) -> None:
        """One HTTP request. A session answers to its `owner` only; others are told that there is none."""
        request = Request(scope, receive)
        try:
            session = self._find(request, owner)
            if request.method == "POST":
                await self._post(request, send, session, owner=owner, lifespan_state=lifespan_state)
            elif request.method not in ("GET", "DELETE"):
                await Response(status_code=405, headers={"Allow": "GET, POST, DELETE"})(scope, receive, send)
            elif session is None:
                _refuse(HTTPStatus.BAD_REQUEST, "Bad Request: Missing session ID")
            elif request.method == "GET":
                await self._get(request, send, session)
            else:
                self._end(session)
                await Response(headers={MCP_SESSION_ID_HEADER: session.id})(scope, receive, send)
        except Refused as refused:
            await refused.response(scope, receive, send)

    def _find(self, request: Request, owner: object) -> Session | None:
        """The session that the request names; None when it names none."""
        id = request.headers.get(MCP_SESSION_ID_HEADER)
        if id is None:
            return None
        session = self._open.get(id)
        if session is None or session.owner != owner or session.is_ended:
            _refuse(HTTPStatus.NOT_FOUND, "Session not found")
        return session

    async def _post(
        self, request: Request, send: Send, session: Session | None, *, owner: Hashable, lifespan_state: Any
    ) -> None:
        if check_accept_headers(request) != (True, True):
            said = "Not Acceptable: Client must accept both application/json and text/event-stream"
            _refuse(HTTPStatus.NOT_ACCEPTABLE, said)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            said = "Unsupported Media Type: Content-Type must be application/json"
            _refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, said)
        message = await _message(request)
        if session is not None:
            await self._hear(request, send, session, message)
            return
        if not isinstance(message, types.JSONRPCRequest) or message.method != "initialize":
            _refuse(HTTPStatus.BAD_REQUEST, "Bad Request: Missing session ID")
        session = self._begin(owner, lifespan_state)
        is_open = False
        try:
            is_open = await self._hear(request, send, session, message)
        finally:
            if not is_open:
                self._end(session)

    async def _hear(self, request: Request, send: Send, session: Session, message: types.JSONRPCMessage) -> bool:
        """Serve a request, take note of anything else; whether that went well."""
        metadata = ServerMessageMetadata(request_context=request)
        header = (_HEADER, session.id.encode("ascii"))
        session.hold()
        try:
            if not isinstance(message, types.JSONRPCRequest):
                # First the answer: what follows from the message may take as long as it likes.
                await Response(status_code=202, headers={MCP_SESSION_ID_HEADER: session.id})(
                    request.scope, request.receive, send
                )
                await session.hear(message, metadata)
                return True
            reply = Reply(
                transport=TransportContext(kind="streamable-http", can_send_request=True, headers=request.headers),
                request_id=message.id,
                message_metadata=metadata,
                progress_token=progress_token_from_params(message.params),
                receive=request.receive,
                send=send,
                ask=session.ask,
                headers=(header,),
            )
            with self._minder.minding(reply):
                return await session.serve(reply, message.method, message.params)
        finally:
            session.release()

    async def _get(self, request: Request, send: Send, session: Session) -> None:
        """The stream for what belongs to no request, until the client leaves or the session ends."""
        if not check_accept_headers(request)[1]:
            _refuse(HTTPStatus.NOT_ACCEPTABLE, "Not Acceptable: Client must accept text/event-stream")
        async with session.standing() as events:
            if events is None:
                _refuse(HTTPStatus.CONFLICT, "Conflict: Only one SSE stream is allowed per session")
            headers = [*SSE_HEADERS, (_HEADER, session.id.encode("ascii"))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            async with anyio.create_task_group() as group:

                async def watch() -> None:
                    while (await request.receive())["type"] != "http.disconnect":
                        pass
                    group.cancel_scope.cancel()

                group.start_soon(watch)
                while True:
                    body = PING
                    with anyio.move_on_after(PING_SECONDS):
                        try:
                            body = await events.receive()
                        except anyio.EndOfStream:
                            break
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                group.cancel_scope.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _begin(self, owner: Hashable, lifespan_state: Any) -> Session:
        if len(self._open) >= self._max_sessions:
            left = self._longest_idle()
            if left is None:
                _refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Too many open sessions", code=types.INTERNAL_ERROR)
            self._end(left)
        assert self._tasks is not None, "sessions are served while they run"
        session = Session(self._server, id=uuid4().hex, owner=owner, lifespan_state=lifespan_state)
        self._open[session.id] = session
        self._tasks.start_soon(self._live, session)
        return session

    def _longest_idle(self) -> Session | None:
        """Who makes room: of whoever has most sessions the one that nobody has needed for longest."""
        idle = [session for session in self._open.values() if session.is_idle]
        of_owner = Counter(session.owner for session in idle)
        return min(idle, key=lambda session: (-of_owner[session.owner], session.used), default=None)

    async def _live(self, session: Session) -> None:
        try:
            await session.run(idle_seconds=self._idle_seconds)
        except Exception:  # its own, not that of its neighbours
            log.exception("a session ended with an error")
        finally:
            self._open.pop(session.id, None)

    def _end(self, session: Session) -> None:
        """Forget it at once; what runs in it is cancelled."""
        session.is_ended = True
        self._open.pop(session.id, None)
        session.scope.cancel()


async def _message(request: Request) -> types.JSONRPCMessage:
    body = await read_body(request)
    try:
        decoded = from_json(body, allow_inf_nan=False)
    except ValueError:
        _refuse(HTTPStatus.BAD_REQUEST, "Parse error: this is not JSON.", code=types.PARSE_ERROR)
    if isinstance(decoded, dict) and "id" in decoded and "method" in decoded:
        id = cast("dict[str, object]", decoded)["id"]
        if isinstance(id, bool) or not isinstance(id, int | str):
            # The SDK would take it for a notification, and nobody would be told that nothing was done.
            _refuse(HTTPStatus.BAD_REQUEST, "The id of a request has to be a text or a whole number.")
    try:
        return types.jsonrpc_message_adapter.validate_python(decoded, by_name=False)
    except ValidationError:
        _refuse(HTTPStatus.BAD_REQUEST, "The body is not one JSON-RPC message.")


def _refuse(status: HTTPStatus, said: str, *, code: int = types.INVALID_REQUEST) -> NoReturn:
    refuse(code, said, status=status)
