"""How a server calls tools of other servers: through the gateway that STOA_UPSTREAM names, never by starting servers.

Every call carries who asks, as an assertion of ours for the server called, and how many servers it has come through.
The caller's own token never travels. Without a gateway each call says so; the connection itself is next door
(`kit.upstream_link`), loaded only where there is one.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from kit.identity import internal_key
from kit.loopback import is_loopback
from stoa.clock import Clock, SystemClock
from stoa.errors import BadInput, Denied, Unavailable
from stoa.principal import LOCAL, Principal, sign_assertion
from stoa.settings import Settings
from stoa.tools import Progress, ToolCall, ToolCaller, ToolCallers, ToolResult
from stoa.wire import HOPS_KEY, MAX_HOPS, PRINCIPAL_KEY

__all__ = ["Address", "Alone", "Upstream", "open_upstream", "read_address"]

DEFAULT_PATH = "/mcp"
TIMEOUT_SECONDS = 60.0


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
        return await self.upstream.link.call(
            f"{call.ref.server}_{call.ref.tool}",
            dict(call.arguments),
            meta={HOPS_KEY: self.hops, **self._identity(call.ref.server)},
            timeout_seconds=TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds,
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

    # The client side of MCP costs a fifth of a second to load; most servers never call another one.
    from kit.upstream_link import open_link

    async with open_link(address.url, socket=address.socket, token=token, shown=str(address)) as link:
        yield Upstream(link, key, clock if clock is not None else SystemClock())


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
