"""One session of the handshake era over Streamable HTTP: who opened it, what runs in it, what it has to say.

The SDK's dispatcher keeps the questions that a server asks its client, and their answers. It is handed what the client
says other than requests, and what it writes goes where it belongs: to the stream of the request that it is about, or to
the one that the client holds open. Requests never pass through it: each is served in the task that received it.
"""

import logging
from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, cast

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.dispatcher import CallOptions, DispatchContext, as_request_id, coerce_request_id
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.shared.transport_context import TransportContext

from kit.reply import Reply, event
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["REQUEST_CANCELLED", "Session"]

log = logging.getLogger(__name__)

REQUEST_CANCELLED: Final = -32800
MAX_UNHEARD: Final = 16
"""Messages that wait for a client who holds a stream open; further ones wait with whoever has them to say."""

Params = Mapping[str, Any] | None


class Session:
    """State: the requests that run by their ids, the stream that the client holds open, when it was last needed."""

    def __init__(self, server: LowLevelServer[Any], *, id: str, owner: Hashable, lifespan_state: Any) -> None:
        self.id = id
        self.owner = owner
        self.scope = anyio.CancelScope()
        self.is_ended = False
        self._heard, self._hearing = anyio.create_memory_object_stream[SessionMessage](0)
        self._dispatcher = JSONRPCDispatcher[TransportContext](self._hearing, _Router(self))
        self._connection = Connection.for_loop(self._dispatcher, session_id=id)
        options = server.create_initialization_options()
        self._runner = ServerRunner(server, self._connection, lifespan_state, init_options=options)
        self._running: dict[types.RequestId, Reply] = {}
        self._standing: anyio.abc.ObjectSendStream[bytes] | None = None
        self.used = anyio.current_time()
        self._holders = 0

    def __repr__(self) -> str:
        state = "ended" if self.is_ended else "held" if self._holders else "idle"
        return f"<Session {self.id[:8]} {state}: {len(self._running)} requests>"

    async def run(self, *, idle_seconds: float) -> None:
        """Live until `scope` is cancelled, or nobody has needed the session for so long."""
        try:
            with self.scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._dispatcher.run, self._refuse_request, self._runner.on_notify)
                    while True:
                        left = idle_seconds if self._holders else self.used + idle_seconds - anyio.current_time()
                        if left <= 0:
                            break
                        await anyio.sleep(left)
                    self.is_ended = True
                    group.cancel_scope.cancel()
        finally:
            self.is_ended = True
            for reply in self._running.values():
                reply.scope.cancel()
            if self._standing is not None:
                await self._standing.aclose()
            self._heard.close()
            await aclose_shielded(self._connection)

    @property
    def is_idle(self) -> bool:
        return not self._holders

    def hold(self) -> None:
        """A session that serves a request, or has a stream open, is not idle."""
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        self.used = anyio.current_time()

    async def serve(self, reply: Reply, method: str, params: Params) -> bool:
        """Handle one request and answer it; whether that went well."""
        key = coerce_request_id(reply.request_id)
        self._running[key] = reply
        error: types.ErrorData | None = None
        try:
            with reply.scope:
                error = await reply.answer(self._runner.on_request(reply, method, params))
            if not reply.is_answered:
                # This wire ends the stream of a request by an answer only, that of a cancelled one too.
                said = "The session has ended." if self.is_ended else "Request cancelled"
                error = await reply.fail(types.ErrorData(code=REQUEST_CANCELLED, message=said))
        finally:
            if self._running.get(key) is reply:
                del self._running[key]
        return error is None

    async def hear(self, message: types.JSONRPCMessage, metadata: ServerMessageMetadata) -> None:
        """A notification, or the answer to a question of ours."""
        if isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            cancelled = as_request_id((message.params or {}).get("requestId"))
            reply = self._running.get(coerce_request_id(cancelled)) if cancelled is not None else None
            if reply is not None:
                reply.cancel()
        try:
            await self._heard.send(SessionMessage(message, metadata))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            log.debug("a message came as its session ended")

    async def ask(self, method: str, params: Params, opts: CallOptions | None, id: types.RequestId) -> dict[str, Any]:
        """Ask the client on the stream of the request with this id. Raises `MCPError`."""
        # The SDK's own contexts do the same; there is no public way to say which request a question belongs to.
        return await self._dispatcher.send_raw_request(method, params, opts, _related_request_id=id)

    @asynccontextmanager
    async def standing(self) -> AsyncGenerator[MemoryObjectReceiveStream[bytes] | None]:
        """What belongs to no request, as events; None while another stream has it."""
        if self._standing is not None:
            yield None
            return
        send, receive = anyio.create_memory_object_stream[bytes](MAX_UNHEARD)
        self._standing = send
        self.hold()
        try:
            async with send, receive:
                yield receive
        finally:
            self._standing = None
            self.release()

    async def write(self, message: types.JSONRPCMessage, related: types.RequestId | None) -> None:
        """Send what the dispatcher has to say."""
        body = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        if len(body) > MAX_MESSAGE_BYTES:
            log.warning("a message of %d bytes to a client is left out", len(body))
            return
        if related is None:
            if self._standing is not None:
                await self._standing.send(event(body))
            return
        reply = self._running.get(coerce_request_id(related))
        if reply is not None:
            await reply.emit(event(body))

    async def _refuse_request(
        self, ctx: DispatchContext[TransportContext], method: str, params: Params
    ) -> dict[str, Any]:
        raise MCPError(types.INTERNAL_ERROR, "Requests of a session are served as they come.")


class _Router:
    """What the dispatcher writes to."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def send(self, item: SessionMessage) -> None:
        metadata = cast("object", item.metadata)
        related = metadata.related_request_id if isinstance(metadata, ServerMessageMetadata) else None
        await self._session.write(item.message, related)

    async def aclose(self) -> None:
        """The session closes what it has opened."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        return None
