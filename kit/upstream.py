"""How a server calls tools of other servers: through the gateway that STOA_UPSTREAM names, never by starting servers.

Every call carries who asks, as an assertion of ours for the server called, and how many servers it has come through.
The caller's own token never travels. Without a gateway each call says so; the connection itself is next door
(`kit.upstream_link`), loaded at the first call.

A server that a pool has started shows the pool, instead of saying who asks, the pass that came with the request it is
serving (`pool.passes`).
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from anyio import to_thread
from anyio.abc import TaskGroup

from kit.identity import internal_key
from kit.loopback import is_loopback
from stoa.clock import Clock, SystemClock
from stoa.errors import BadInput, Denied, Unavailable
from stoa.principal import LOCAL, Principal, sign_assertion
from stoa.settings import Settings
from stoa.tasks import beside
from stoa.tools import Progress, ToolCall, ToolCaller, ToolCallers, ToolResult
from stoa.wire import HOPS_KEY, MAX_HOPS, PASS_KEY, PRINCIPAL_KEY, SECONDS_KEY, SERVER_KEY

if TYPE_CHECKING:
    from kit.upstream_link import GatewayLink

__all__ = ["Address", "Alone", "Upstream", "on_pass", "open_upstream", "read_address"]

DEFAULT_PATH = "/mcp"
TIMEOUT_SECONDS = 60.0

LONGEST_SECONDS = 24 * 3600.0
"""On a pass the pool has the deadline: the server's own, or what the caller gave it."""
SLACK_SECONDS = 2.0
"""What the answer that the time is over has to come back."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the gateway listens; `socket` is the path of a unix socket, if it is one."""

    url: str
    socket: str | None = None

    def __str__(self) -> str:
        return self.url if self.socket is None else f"unix:{self.socket}"


class Link(Protocol):
    """A way to send `tools/call` to the gateway (`kit.upstream_link`)."""

    async def call(
        self,
        name: str,
        arguments: dict[str, object],
        *,
        meta: dict[str, object],
        timeout_seconds: float,
        progress: Progress | None,
    ) -> ToolResult: ...


class Alone:
    """Nobody to ask: every call answers `unavailable`."""

    def caller(self, principal: Principal, *, hops: int = 0) -> ToolCaller:
        return self

    async def call_tool(
        self, call: ToolCall, *, timeout_seconds: float | None = None, progress: Progress | None = None
    ) -> ToolResult:
        raise Unavailable(
            f"{call.ref} cannot be called: this server runs alone.",
            hint="Start it through `stoa gateway` or `stoa up`, or set STOA_UPSTREAM to a gateway that runs.",
        )


@dataclass(frozen=True, slots=True)
class Upstream:
    """The gateway, for any number of callers at once."""

    link: Link
    key: bytes | None
    clock: Clock
    call_pass: str | None = None

    def caller(self, principal: Principal, *, hops: int = 0) -> ToolCaller:
        return _Caller(self, principal, hops)


@dataclass(frozen=True, slots=True)
class _Caller:
    upstream: Upstream
    principal: Principal
    hops: int

    async def call_tool(
        self, call: ToolCall, *, timeout_seconds: float | None = None, progress: Progress | None = None
    ) -> ToolResult:
        if self.hops > MAX_HOPS:
            raise Denied(
                f"{call.ref} is not called: the call has come through {MAX_HOPS} servers already.",
                hint="Look for servers that call each other in a circle.",
            )
        meta: dict[str, object] = {HOPS_KEY: self.hops, **self._identity(call.ref.server)}
        seconds = TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds
        if self.upstream.call_pass is not None:
            meta |= {PASS_KEY: self.upstream.call_pass, SERVER_KEY: call.ref.server}
            seconds = LONGEST_SECONDS
            if timeout_seconds is not None:
                meta[SECONDS_KEY] = timeout_seconds
                seconds = timeout_seconds + SLACK_SECONDS
        return await self.upstream.link.call(
            f"{call.ref.server}_{call.ref.tool}",
            dict(call.arguments),
            meta=meta,
            timeout_seconds=seconds,
            progress=progress,
        )

    def _identity(self, server: str) -> dict[str, object]:
        key = self.upstream.key
        if key is not None:
            now = self.upstream.clock.now().timestamp()
            return {PRINCIPAL_KEY: sign_assertion(self.principal, audience=server, key=key, now=now)}
        if self.principal == LOCAL:
            return {}
        # Without an assertion the gateway would take the call for its own: another tenant's data, maybe.
        raise Denied(
            f"The gateway cannot be told that {self.principal.subject!r} asks.",
            hint="Set the same STOA_INTERNAL_KEY here and at the gateway.",
        )


@asynccontextmanager
async def open_upstream(settings: Settings, *, clock: Clock | None = None) -> AsyncGenerator[ToolCallers]:
    """The way to other servers by the settings; it connects at the first call. Raises `BadInput` for wrong settings."""
    if settings.upstream is None:
        yield Alone()
        return
    address, key = read_address(settings), internal_key(settings)
    token = settings.upstream_token.get_secret_value() if settings.upstream_token is not None else None

    async with beside() as tasks:
        link = _LateLink(address, token, tasks)
        try:
            yield Upstream(link, key, clock if clock is not None else SystemClock())
        finally:
            link.close()


def on_pass(callers: ToolCallers, meta: Mapping[str, object] | None) -> ToolCallers:
    """The same callers for a request with this `_meta`, which the gate has let in, on the pass that came with it.

    A pass comes with an assertion, from whoever has our key; anybody else has made it up.
    """
    if meta is None or not isinstance(callers, Upstream) or callers.key is None or PRINCIPAL_KEY not in meta:
        return callers
    call_pass = meta.get(PASS_KEY)
    return replace(callers, call_pass=call_pass) if isinstance(call_pass, str) else callers


class _LateLink:
    """The link, made at the first call: the client side of MCP takes a fifth of a second to load, and every server that
    a pool starts has somebody to call while most never do."""

    def __init__(self, address: Address, token: str | None, tasks: TaskGroup) -> None:
        self._address = address
        self._token = token
        self._tasks = tasks
        self._link: GatewayLink | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "not open"
        return f"<Link to {self._address}: {state}>" if self._link is None else repr(self._link)

    def close(self) -> None:
        self._is_closed = True
        if self._link is not None:
            self._link.close()

    async def call(
        self,
        name: str,
        arguments: dict[str, object],
        *,
        meta: dict[str, object],
        timeout_seconds: float,
        progress: Progress | None,
    ) -> ToolResult:
        if self._link is None:
            made = await to_thread.run_sync(_link_class)  # others are served meanwhile
            self._link = self._link or self._open(made)
        return await self._link.call(name, arguments, meta=meta, timeout_seconds=timeout_seconds, progress=progress)

    def _open(self, made: "type[GatewayLink]") -> "GatewayLink":
        link = made(self._address.url, socket=self._address.socket, token=self._token, shown=str(self._address))
        if self._is_closed:
            link.close()
        else:
            self._tasks.start_soon(link.own)
        return link


def _link_class() -> "type[GatewayLink]":
    from kit.upstream_link import GatewayLink

    return GatewayLink


def read_address(settings: Settings) -> Address:
    """STOA_UPSTREAM, checked. Raises `BadInput` naming what is wrong with it."""
    given = settings.upstream or ""
    if given.startswith("unix:"):
        path = given.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise BadInput("STOA_UPSTREAM names a unix socket without its whole path.", hint="Write unix:/path/to/it.")
        # The port is never used; servers that check Host (the SDK's own) want to see one.
        return Address(f"http://localhost:8080{DEFAULT_PATH}", socket=path)
    try:
        parts = urlsplit(given)
        host, _, user = parts.hostname, parts.port, parts.username
    except ValueError:
        raise BadInput("STOA_UPSTREAM is not an address.", hint="Write http://127.0.0.1:8080/mcp.") from None
    if parts.scheme not in {"http", "https"} or not host or user is not None or parts.query or parts.fragment:
        raise BadInput(
            "STOA_UPSTREAM is not the address of a gateway.",
            hint="Write http://127.0.0.1:8080/mcp or unix:/path/to/socket; a token goes into STOA_UPSTREAM_TOKEN.",
        )
    if settings.upstream_token is None and not is_loopback(host):
        raise BadInput(
            f"STOA_UPSTREAM names {host!r}, which is another machine, and there is no token for it.",
            hint="Set STOA_UPSTREAM_TOKEN.",
        )
    return Address(f"{parts.scheme}://{parts.netloc}{parts.path if parts.path not in {'', '/'} else DEFAULT_PATH}")
