"""One POST of Streamable HTTP, in either era: how its body is read, and how it is answered.

The answer is plain JSON, and becomes a stream of events when something is said before it. The handler runs in the
request's own task and writes its events itself; one task of each `Minder` looks after requests that take longer than a
moment: it sees clients leave and keeps silent streams alive.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import anyio
import mcp_types as types
from mcp.server.runner import modern_error_data
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send

from stoa.wire import MAX_MESSAGE_BYTES

__all__ = [
    "PING",
    "PING_SECONDS",
    "SSE_HEADERS",
    "Ask",
    "Minder",
    "Refused",
    "Reply",
    "event",
    "failed",
    "read_body",
    "refuse",
]

MIND_SECONDS: Final = 0.1
"""How old a request is when it begins to be minded, at most twice this."""

PING_SECONDS: Final = 15.0
PING: Final = b": ping\r\n\r\n"

SSE_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)

Ask = Callable[[str, Mapping[str, Any] | None, CallOptions | None, types.RequestId], Awaitable[dict[str, Any]]]
"""Asks the client something while a request of this id is served."""


def _lock() -> anyio.Lock:
    # Nobody else wants it, as a rule: then there is no reason to let others go first.
    return anyio.Lock(fast_acquire=True)


@dataclass(eq=False, slots=True)
class Reply:
    """One request as the SDK's `DispatchContext`: notifications turn the answer into a stream of events.

    With `ask` it is one of the handshake era: its client can be asked back, and may leave without cancelling it.
    """

    transport: TransportContext
    request_id: types.RequestId
    message_metadata: ServerMessageMetadata
    progress_token: types.ProgressToken | None
    receive: Receive
    send: Send
    ask: Ask | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    minder: anyio.CancelScope | None = None
    is_cancelled: bool = False
    is_stream: bool = False
    is_answered: bool = False
    _writing: anyio.Lock = field(default_factory=_lock)
    _cancel_requested: anyio.Event | None = None

    @property
    def cancel_requested(self) -> anyio.Event:
        # Made for who asks: hardly anybody does, and making it takes longer than reading the request.
        if self._cancel_requested is None:
            self._cancel_requested = anyio.Event()
            if self.is_cancelled:
                self._cancel_requested.set()
        return self._cancel_requested

    def cancel(self) -> None:
        """The client has said that it wants no answer any more."""
        self.is_cancelled = True
        if self._cancel_requested is not None:
            self._cancel_requested.set()
        self.scope.cancel()

    @property
    def can_send_request(self) -> bool:
        return self.ask is not None and not self.is_answered

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        if self.ask is None or self.is_answered:
            raise NoBackChannelError(method)
        return await self.ask(method, params, opts, self.request_id)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        await self.emit(event(to_json(message)))

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self.progress_token is None:
            return
        params: dict[str, Any] = {"progressToken": self.progress_token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self.notify("notifications/progress", params)

    async def answer(self, handling: Awaitable[dict[str, Any]]) -> types.ErrorData | None:
        """Await the handler and write its result, or its error with the HTTP status that belongs to it.

        Nothing is written when the request has been cancelled by then.
        """
        try:
            result = await handling
            if self.is_cancelled:
                return None
            body = to_json({"jsonrpc": "2.0", "id": self.request_id, "result": result})
        except Exception as failure:  # noqa: BLE001  # the door of this wire: the SDK's table turns all of them
            return await self.fail(modern_error_data(failure))
        if len(body) > MAX_MESSAGE_BYTES:
            said = f"The answer has {len(body)} bytes; a message may have {MAX_MESSAGE_BYTES}. Ask for less at a time."
            return await self.fail(types.ErrorData(code=types.INTERNAL_ERROR, message=said))
        await self._finish(200, body)
        return None

    async def fail(self, error: types.ErrorData) -> types.ErrorData:
        # Before 2026-07-28 an error of a request is an answer like any other.
        status = 200 if self.ask is not None else ERROR_CODE_HTTP_STATUS.get(error.code, 200)
        await self._finish(status, failed(error, self.request_id))
        return error

    async def mind(self) -> None:
        """Cancel the handler when the client has left; say something from time to time, or proxies think we have."""
        assert self.minder is not None
        with self.minder:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep_alive)
                while (await self.receive())["type"] != "http.disconnect":
                    pass
                if self.ask is None:
                    self.scope.cancel()
                group.cancel_scope.cancel()

    async def emit(self, event: bytes) -> None:
        async with self._writing:
            if self.is_answered:
                return
            if not self.is_stream:
                self.is_stream = True
                headers = [*SSE_HEADERS, *self.headers]
                await self.send({"type": "http.response.start", "status": 200, "headers": headers})
            await self.send({"type": "http.response.body", "body": event, "more_body": True})

    async def _finish(self, status: int, body: bytes) -> None:
        async with self._writing:
            self.is_answered = True
            if self.is_stream:
                await self.send({"type": "http.response.body", "body": event(body), "more_body": False})
                return
            headers = [
                (b"content-length", str(len(body)).encode()),
                (b"content-type", b"application/json"),
                *self.headers,
            ]
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def _keep_alive(self) -> None:
        if self.ask is not None:
            await self.emit(PING)  # clients of that era may wait less long for the head than for the answer
        while True:
            await anyio.sleep(PING_SECONDS)
            await self.emit(PING)


class Minder:
    """State: the requests that run."""

    def __init__(self) -> None:
        self._running: set[Reply] = set()
        self._busy = anyio.Event()

    def __repr__(self) -> str:
        return f"<Minder: {len(self._running)} running>"

    def __len__(self) -> int:
        return len(self._running)

    @contextmanager
    def minding(self, reply: Reply) -> Generator[None]:
        self._running.add(reply)
        self._busy.set()
        try:
            yield
        finally:
            self._running.discard(reply)
            if reply.minder is not None:
                reply.minder.cancel()

    async def run(self) -> None:
        """Look after requests that take long, until cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                if not self._running:
                    self._busy = anyio.Event()
                    await self._busy.wait()
                young = [reply for reply in self._running if reply.minder is None]
                await anyio.sleep(MIND_SECONDS)
                for reply in young:
                    if reply in self._running:
                        reply.minder = anyio.CancelScope()
                        group.start_soon(reply.mind)


class Refused(Exception):  # a way out, caught by whoever reads a request
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def refuse(
    code: int, message: str, *, data: Any = None, id: types.RequestId | None = None, status: int | None = None
) -> NoReturn:
    body = failed(types.ErrorData(code=code, message=message, data=data), id)
    status = ERROR_CODE_HTTP_STATUS.get(code, 200) if status is None else status
    raise Refused(Response(body, status_code=status, media_type="application/json"))


async def read_body(request: Request) -> bytes:
    """The body, cut off with 413 at the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_MESSAGE_BYTES:
        raise Refused(_too_long())
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_MESSAGE_BYTES:
            raise Refused(_too_long())
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def failed(error: types.ErrorData, id: types.RequestId | None) -> bytes:
    return to_json({"jsonrpc": "2.0", "id": id, "error": error.model_dump(mode="json", exclude_none=True)})


def event(body: bytes) -> bytes:
    return b"event: message\r\ndata: " + body + b"\r\n\r\n"


def _too_long() -> Response:
    return Response(f"A message may have {MAX_MESSAGE_BYTES} bytes.", status_code=413)
