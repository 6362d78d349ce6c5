"""Opening a connection to a member: stdio, HTTP, SSE, WebSocket or in this process, both protocol eras."""

import shlex
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import anyio
import httpx2

from pool.address import header_trouble, url_trouble
from pool.redact import mask, mask_arguments
from pool.spec import HttpSpec, InProcessSpec, MemberSpec, SseSpec, StdioSpec, WsSpec
from pool.wire.child import LastWords
from pool.wire.connection import Connection
from pool.wire.failures import Lost, Refusal, first_cause, let_in_hint
from pool.wire.handshake import shake_hands
from pool.wire.http import HttpWire
from pool.wire.http_pool import HttpPool
from pool.wire.in_process import InProcessWire
from pool.wire.link import Wire
from pool.wire.question import OnNotice
from pool.wire.sse import SseWire
from pool.wire.stdio import StdioWire
from pool.wire.websocket import WebSocketWire
from stoa.errors import BadInput, Denied, StoaError, Unavailable

__all__ = ["FindAuth", "Surroundings", "no_auth", "open_connection"]

LISTEN_AGAIN_SECONDS: Final = 5.0
METHOD_NOT_FOUND: Final = -32601
CHANGES: Final[Mapping[str, tuple[str, str]]] = {
    "tools": ("toolsListChanged", "notifications/tools/list_changed"),
    "prompts": ("promptsListChanged", "notifications/prompts/list_changed"),
    "resources": ("resourcesListChanged", "notifications/resources/list_changed"),
}
"""By capability: what to listen for, and what is told then."""


FindAuth = Callable[[HttpSpec | SseSpec], httpx2.Auth | None]


def no_auth(spec: HttpSpec | SseSpec) -> httpx2.Auth | None:
    return None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What connections of one pool share. `auth` gives what OAuth needs for a server that has been logged in to."""

    http: HttpPool
    environ: Mapping[str, str]
    auth: FindAuth = no_auth


@asynccontextmanager
async def open_connection(
    spec: MemberSpec,
    *,
    server: str,
    surroundings: Surroundings,
    grace_seconds: float,
    on_notice: OnNotice | None = None,
    words: LastWords | None = None,
) -> AsyncGenerator[Connection]:
    """Connect, shake hands, and keep listening for changes of the lists.

    Raises a `StoaError` that says why there is no connection. Enter and leave in the same task. `on_notice` is told
    what belongs to no request: changed lists, updated resources. `words` gets what a child writes on stderr, also when
    there comes no connection of it.
    """
    wire = _wire(spec, server=server, surroundings=surroundings, grace_seconds=grace_seconds, words=words)

    def told(method: str, params: Mapping[str, Any]) -> None:
        if on_notice is not None:
            on_notice(method, params)

    is_open = False
    try:
        async with wire.open(), anyio.create_task_group() as tasks:
            hello = await shake_hands(wire)
            connection = Connection(wire, hello, server=server, on_notice=told, secrets=_secrets(spec))
            is_open = True
            tasks.start_soon(_listen, connection, told)
            yield connection
            tasks.cancel_scope.cancel()
    except Exception as error:  # noqa: BLE001 - unwrapped and raised again
        cause = first_cause(error)
        if is_open or not isinstance(cause, Lost | Refusal):
            raise cause from None
        raise _explain(cause, spec, server=server, told=wire.explain()) from cause


def _secrets(spec: MemberSpec) -> tuple[str, ...]:
    return () if isinstance(spec, InProcessSpec) else spec.secrets


def _wire(
    spec: MemberSpec, *, server: str, surroundings: Surroundings, grace_seconds: float, words: LastWords | None
) -> Wire:
    if isinstance(spec, InProcessSpec):
        return InProcessWire(spec.server)
    if isinstance(spec, StdioSpec):
        environ = surroundings.environ
        return StdioWire(spec, server=server, environ=environ, grace_seconds=grace_seconds, words=words)
    _check(spec, server=server)
    if isinstance(spec, HttpSpec):
        return HttpWire(spec, server=server, pool=surroundings.http, auth=surroundings.auth(spec))
    if isinstance(spec, SseSpec):
        return SseWire(spec, server=server, pool=surroundings.http, auth=surroundings.auth(spec))
    return WebSocketWire(spec, server=server)


def _check(spec: HttpSpec | SseSpec | WsSpec, *, server: str) -> None:
    """Raise `BadInput` for an address or headers that no request can be made of."""
    if (url_is := url_trouble(spec.url, "ws" if isinstance(spec, WsSpec) else "http")) is not None:
        raise BadInput(f"The server {server!r} has the address {spec}: {url_is[0]}.", hint=url_is[1])
    if (header_is := header_trouble(spec.headers)) is not None:
        raise BadInput(f"The header {header_is[0]!r} of the server {server!r}: {header_is[1]}.", hint=header_is[2])


def _explain(failure: Lost | Refusal, spec: MemberSpec, *, server: str, told: str) -> StoaError:
    """A session that could not be started, for people."""
    failure.clean(_secrets(spec))
    if isinstance(spec, StdioSpec) and told:
        by_hand = mask(shlex.join([spec.command, *mask_arguments(spec.args)]), spec.secrets)
        return Unavailable(
            f"The server {server!r} ended before it answered. {told.removeprefix('It ended. ')}",
            hint=f"Try its command by hand: {by_hand}",
        )
    if isinstance(failure, Lost):
        return Unavailable(
            f"The server {server!r} cannot be reached. {failure.reason}", hint="Start it, or correct its url."
        )
    if failure.status in (401, 403):
        return Denied(
            f"The server {server!r} does not let us in. {failure.message}",
            hint=let_in_hint(spec, failure.status, server=server),
        )
    if isinstance(spec, HttpSpec) and (failure.status in (404, 405) or failure.code == METHOD_NOT_FOUND):
        return BadInput(
            f"There is no MCP endpoint at {spec} (server {server!r}).", hint=f"Correct mcpServers.{server}.url."
        )
    is_elsewhere = failure.status is not None and 300 <= failure.status < 400
    return Unavailable(
        f"The server {server!r} refused to start a session: {failure.message}",
        hint=f"Give the final address as mcpServers.{server}.url." if is_elsewhere else f"Asked: {spec}",
        retry_after=failure.retry_after,
    )


async def _listen(connection: Connection, on_notice: OnNotice) -> None:
    """Keep a subscription open where the 2026-07-28 revision asks for one; older servers notify by themselves."""
    if not connection.is_modern:
        return
    wanted = {
        name: method
        for kind, (name, method) in CHANGES.items()
        if isinstance(offer := connection.capabilities.get(kind), dict)
        and cast("dict[str, Any]", offer).get("listChanged") is True
    }
    if not wanted:
        return

    def told(method: str, params: Mapping[str, Any]) -> None:
        if method in wanted.values():
            on_notice(method, params)

    while True:
        try:
            await connection.listen(filter=dict.fromkeys(wanted, True), meta={}, on_notice=told)
        except Refusal:
            return  # it does not offer that after all
        except Lost:
            if connection.lost.is_set():
                return
        await anyio.sleep(LISTEN_AGAIN_SECONDS)
        # What changed in between is not replayed.
        for method in wanted.values():
            on_notice(method, {})
