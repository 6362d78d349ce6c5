"""JSON-RPC over a pair of byte streams: what stdio and WebSocket have in common.

One message in, one message out, none longer than the limit. Requests that are still unanswered are known by their
ids, so that the end can wait for them. The SDK reads from and writes to a `Duplex` directly: nothing stands between.
"""

import re
from collections import deque
from types import TracebackType
from typing import Final, Protocol, Self

import anyio
import mcp_types as types
from mcp.shared.dispatcher import as_request_id, coerce_request_id
from mcp.shared.message import MessageMetadata, SessionMessage
from pydantic import ValidationError

from stoa.errors import BadInput
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["EOF_GRACE_SECONDS", "STOP_GRACE_SECONDS", "Duplex", "TooLong", "Wire"]

STOP_GRACE_SECONDS: Final = 5.0
"""How long requests that run may take once the server is told to stop."""

EOF_GRACE_SECONDS: Final = 1.0
"""The same once the other side has nothing more to say: enough for `printf … | stoa serve content`."""

MAX_OPEN_REQUESTS: Final = 256
"""Unanswered requests of one connection, open listen requests among them; further ones are told to come later."""

MAX_UNSENT_BYTES: Final = 32 * 1024 * 1024
"""Answers of one connection that wait to be written; above that no request is read, so that the client waits, too."""

MAX_LEAD: Final = 8
"""Messages before the first request that are kept; only `notifications/initialized` has a reason to be there."""


class TooLong(Exception):  # an event on the wire, not an error of ours
    """A message over the limit came and was thrown away; `id` is its request id where that could be made out."""

    def __init__(self, id: types.RequestId | None) -> None:
        super().__init__("message too long")
        self.id = id


class Wire(Protocol):
    """The two real ones are a pair of file descriptors and a WebSocket."""

    async def receive(self) -> bytes | str:
        """The next message. Raises `anyio.EndOfStream` at the end, `TooLong` for one over the limit."""
        ...

    async def send(self, message: bytes) -> None: ...


class Duplex:
    """Both streams that the SDK's serving loop wants. State: the ids of open requests, and whether we are stopping."""

    def __init__(self, wire: Wire, *, metadata: MessageMetadata = None) -> None:
        self._wire = wire
        self._metadata = metadata
        self._open: set[types.RequestId] = set()
        self._answered = anyio.Event()
        self._unsent = 0
        self._longest = 0
        self._written = anyio.Event()
        self._reading = anyio.CancelScope()
        self._stopping = False
        self._ended = False
        self._lead = deque[SessionMessage]()

    def __repr__(self) -> str:
        return f"<Duplex: {len(self._open)} open requests{', ended' if self._ended else ''}>"

    def stop(self) -> None:
        """Read no more; the stream ends when open requests are answered or the grace period is over."""
        self._stopping = True
        self._reading.cancel()

    async def opening(self) -> types.JSONRPCRequest | None:
        """The first request; it stays to be read, with what came before it. None when the stream ends without one."""
        lead: list[SessionMessage] = []
        async for item in self:
            if isinstance(item.message, types.JSONRPCRequest):
                self._lead.extend([*lead, item])
                return item.message
            if len(lead) < MAX_LEAD:
                lead.append(item)
        return None

    # What the SDK reads from.

    async def receive(self) -> SessionMessage:
        if self._lead:
            return self._lead.popleft()
        while not self._stopping and not self._ended:
            try:
                with anyio.CancelScope() as self._reading:
                    return await self._next()
            except anyio.EndOfStream:
                await self._finish(EOF_GRACE_SECONDS)
        if not self._ended:
            await self._finish(STOP_GRACE_SECONDS)
        raise anyio.EndOfStream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    # What the SDK writes to.

    async def send(self, item: SessionMessage) -> None:
        message = item.message
        while self._unsent > MAX_UNSENT_BYTES // 16:
            # As long as its turn has not come an answer is not written out: that would double what it takes.
            await self._wait_for_writing()
        data = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        if len(data) > MAX_MESSAGE_BYTES:
            data = _instead_of(message, len(data))
        self._unsent += len(data)
        self._longest = max(self._longest, len(data))
        try:
            await self._wire.send(data)
        finally:
            self._unsent -= len(data)
            self._written.set()
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError) and message.id is not None:
            self._close(message.id)

    async def aclose(self) -> None:
        self._ended = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        # The SDK enters and leaves both directions; the wire belongs to whoever made it.
        return None

    async def _next(self) -> SessionMessage:
        while True:
            while self._is_behind():
                await self._wait_for_writing()
            try:
                raw = await self._wire.receive()
            except TooLong as error:
                said = f"A message may have {MAX_MESSAGE_BYTES} bytes; this one has more and was not read."
                await self._wire.send(_error(error.id, types.INVALID_REQUEST, said))
                continue
            try:
                message = types.jsonrpc_message_adapter.validate_json(raw, by_name=False)
            except ValidationError as error:
                await self._wire.send(_malformed(error))
                continue
            if isinstance(message, types.JSONRPCRequest):
                id = coerce_request_id(message.id)
                if id in self._open:
                    said = "A request with this id is still unanswered."
                    await self._wire.send(_error(message.id, types.INVALID_REQUEST, said))
                    continue
                if len(self._open) >= MAX_OPEN_REQUESTS:
                    said = f"This connection has {MAX_OPEN_REQUESTS} unanswered requests. Wait for some of them."
                    await self._wire.send(_error(message.id, types.INTERNAL_ERROR, said))
                    continue
                self._open.add(id)
            elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
                # The SDK does not answer requests that were cancelled.
                cancelled = as_request_id((message.params or {}).get("requestId"))
                if cancelled is not None:
                    self._close(cancelled)
            return SessionMessage(message, self._metadata)

    def _is_behind(self) -> bool:
        """Whether more waits to be written, or may soon when answers are as long as they have been, than is allowed."""
        return self._unsent > 0 and self._unsent + len(self._open) * self._longest > MAX_UNSENT_BYTES

    async def _wait_for_writing(self) -> None:
        if self._written.is_set():
            self._written = anyio.Event()
        await self._written.wait()

    async def _finish(self, grace_seconds: float) -> None:
        with anyio.move_on_after(grace_seconds):
            while self._open:
                self._answered = anyio.Event()
                await self._answered.wait()
        self._ended = True

    def _close(self, id: types.RequestId) -> None:
        self._open.discard(coerce_request_id(id))
        self._answered.set()


def guess_id(head: bytes, tail: bytes) -> types.RequestId | None:
    """The request id of a message of which only both ends were kept; none where it might be a nested one."""
    for pattern, end in ((_ID_IN_HEAD, head), (_ID_IN_TAIL, tail)):
        found = pattern.search(end)
        if found is not None:
            try:
                text = found["id"].decode()
            except UnicodeDecodeError:
                return None
            return text[1:-1] if text.startswith('"') else int(text)
    return None


_FLAT: Final = rb'(?:[^{}\[\]"]|"(?:[^"\\]|\\.)*")*?'
_ID: Final = rb'"id"\s*:\s*(?P<id>"[^"\\]{1,128}"|-?\d{1,18})'
_ID_IN_HEAD: Final = re.compile(rb"^\s*\{" + _FLAT + _ID + rb"\s*[,}]")
_ID_IN_TAIL: Final = re.compile(rb"[}\]\",]\s*,?\s*" + _ID + rb"\s*(?:,\s*\"jsonrpc\"\s*:\s*\"2\.0\"\s*)?\}\s*$")


def _instead_of(message: types.JSONRPCMessage, size: int) -> bytes:
    if not isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
        raise BadInput(f"A message of {size} bytes cannot be sent; {MAX_MESSAGE_BYTES} is the limit.")
    said = f"The answer has {size} bytes; a message may have {MAX_MESSAGE_BYTES}. Ask for less at a time."
    return _error(message.id, types.INTERNAL_ERROR, said)


def _malformed(error: ValidationError) -> bytes:
    is_json = error.errors(include_url=False, include_input=False, include_context=False)[0]["type"] != "json_invalid"
    if is_json:
        return _error(None, types.INVALID_REQUEST, "This is not one JSON-RPC 2.0 message.")
    return _error(None, types.PARSE_ERROR, "This is not JSON.")


def _error(id: types.RequestId | None, code: int, message: str) -> bytes:
    error = types.JSONRPCError(jsonrpc="2.0", id=id, error=types.ErrorData(code=code, message=message))
    return error.model_dump_json(by_alias=True, exclude_unset=True).encode()
