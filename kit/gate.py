"""The gate every message passes, whatever the transport: who calls, how long it takes, what may go back out.

It stands in the SDK's middleware chain around all handlers of a server and knows none of them.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol, cast

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from kit.call import Call, enter_call, leave_call
from kit.cursor import Cursors
from kit.failures import as_stoa_error, protocol_error
from kit.identity import Door, identify, read_hops
from kit.subscriptions import Subscriptions
from kit.upstream import on_pass
from stoa.errors import Denied, StoaError
from stoa.tools import ToolCallers

__all__ = ["DOOR_KEY", "Gate", "Observer"]


DOOR_KEY: Final = "stoa.door"
"""Where HTTP and WebSocket leave the request's `Door` in its ASGI scope."""

_LOCAL_DOOR: Final = Door(is_local=True)
_ENDLESS: Final = "subscriptions/listen"


class Observer(Protocol):
    """Somebody who counts requests."""

    def started(self) -> None: ...

    def ended(self, method: str, tool: str, outcome: str, seconds: float) -> None: ...


class Gate:
    """The middleware. `observer` is set by whoever serves and wants to count."""

    def __init__(
        self,
        *,
        name: str,
        internal_key: bytes | None,
        cursors: Cursors,
        subscriptions: Subscriptions,
        tools: ToolCallers,
        stands_for: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`stands_for` names the servers behind this one: what is said to one of them about the caller holds here."""
        self._name = name
        self._stands_for = stands_for
        self._internal_key = internal_key
        self._cursors = cursors
        self._subscriptions = subscriptions
        self.tools = tools
        self.observer: Observer | None = None

    def __repr__(self) -> str:
        return f"<Gate of {self._name!r}>"

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.request_id is None:
            return await call_next(ctx)
        observer = self.observer
        if observer is not None:
            observer.started()
        started, outcome = time.perf_counter(), "cancelled"
        try:
            result = await self._serve(ctx, call_next)
            outcome = "tool_error" if isinstance(result, dict) and result.get("isError") is True else "ok"
            return result  # noqa: TRY300  # an `else` would come after `finally` for the reader's eye
        except (MCPError, ValidationError):
            outcome = "error"
            raise
        except Exception as error:
            outcome = "error"
            raise protocol_error(as_stoa_error(error, doing=ctx.method)) from error
        finally:
            if observer is not None:
                observer.ended(ctx.method, _tool_of(ctx), outcome, time.perf_counter() - started)

    async def _serve(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        door = _LOCAL_DOOR if ctx.request is None else cast("Door", ctx.request.scope[DOOR_KEY])
        token = enter_call(self._call(ctx, door))
        try:
            if ctx.method != _ENDLESS:
                return await call_next(ctx)
            # Whoever listens hears nothing more once the token is no longer believed.
            with anyio.move_on_after(door.ends_at - time.time()):
                return await call_next(ctx)
            raise Denied("The token of this request has expired.", hint="Listen again with a new one.")
        finally:
            leave_call(token)

    def _call(self, ctx: ServerRequestContext[Any, Any], door: Door) -> Call:
        meta = _meta_of(ctx)
        try:
            principal = identify(
                meta, door, audiences=(self._name, *self._stands_for()), key=self._internal_key, now=time.time()
            )
            hops = read_hops(meta)
        except StoaError as error:
            raise protocol_error(error) from error
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS and ctx.method != "initialize":
            self._subscriptions.attend(ctx, principal.tenant)
        return Call(
            principal=principal,
            hops=hops,
            callers=on_pass(self.tools, meta),
            session=ctx.session,
            cursors=self._cursors,
            subscriptions=self._subscriptions,
        )


def _meta_of(ctx: ServerRequestContext[Any, Any]) -> Mapping[str, object] | None:
    # Read raw: `ctx.meta` is the SDK's view and not promised to keep keys that are not the protocol's.
    meta = ctx.params.get("_meta") if ctx.params else None
    return cast("Mapping[str, object]", meta) if isinstance(meta, dict) else None


def _tool_of(ctx: ServerRequestContext[Any, Any]) -> str:
    if ctx.method != "tools/call" or not ctx.params:
        return ""
    name = ctx.params.get("name")
    return name if isinstance(name, str) else ""
