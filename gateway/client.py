"""The client of one request: its era, what it can be asked, and the way back to it."""

import itertools
from collections.abc import Mapping
from typing import Any, Final, cast, get_args
from weakref import WeakKeyDictionary

import mcp_types as types
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.shared.dispatcher import Outbound
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import JsonValue

from pool.wire.failures import Refusal

__all__ = ["CAPABILITY_OF", "Client", "Clients", "remember_level"]

CAPABILITY_OF: Final[Mapping[str, str]] = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
"""What a client has to have declared to be asked this."""

LOG: Final = "notifications/message"
LEVELS: Final[tuple[str, ...]] = get_args(types.LoggingLevel)
USUAL_LEVEL: Final = "info"
"""For clients of the handshake era that have not chosen: a server may then decide, and here it is this."""

_LEVEL: Final = "stoa.level"
_CAPABILITIES: Final = "stoa.capabilities"
_TASKS: Final = "io.modelcontextprotocol/tasks"
_NOTHING: Final[Mapping[str, JsonValue]] = {}


class Clients:
    """Tells clients apart. State: a number for each connection that is open."""

    def __init__(self) -> None:
        self._keys: WeakKeyDictionary[object, int] = WeakKeyDictionary()
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Clients: {len(self._keys)} connections>"

    def key(self, connection: Connection) -> str:
        """The same for all requests of one connection. Where each request stands alone, as over HTTP since 2026-07-28,
        nobody can tell which of them come from one client: each is its own."""
        if not connection.has_standalone_channel:
            return f"request {next(self._numbers)}"
        number = self._keys.get(connection.outbound)
        if number is None:
            number = self._keys[connection.outbound] = next(self._numbers)
        return f"connection {number}"


class Client:
    """A view of a request; made for each one."""

    __slots__ = ("_ctx", "capabilities", "connection", "is_modern", "level", "meta")

    def __init__(self, ctx: ServerRequestContext[Any, Any]) -> None:
        self._ctx = ctx
        self.connection = ctx.session._connection  # pyright: ignore[reportPrivateUsage]  # the SDK has no public way to it
        self.is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        self.meta = read_meta(ctx.params)
        self.capabilities = _declared(self.meta) if self.is_modern else _negotiated(self.connection)
        level = (
            self.meta.get(types.LOG_LEVEL_META_KEY)
            if self.is_modern
            else self.connection.state.get(_LEVEL, USUAL_LEVEL)
        )
        self.level: str | None = level if isinstance(level, str) and level in LEVELS else None

    def __repr__(self) -> str:
        return f"<Client {self._ctx.protocol_version} {', '.join(self.capabilities) or 'without capabilities'}>"

    @property
    def name(self) -> str:
        """What the client calls itself."""
        about = self.meta.get(types.CLIENT_INFO_META_KEY) if self.is_modern else None
        if isinstance(about, dict):
            return str(cast("dict[str, object]", about).get("name"))
        params = self.connection.client_params
        return params.client_info.name if params is not None else ""

    @property
    def wants_progress(self) -> bool:
        return "progressToken" in self.meta

    @property
    def _outbound(self) -> Outbound:
        return self._ctx.session._request_outbound  # pyright: ignore[reportPrivateUsage]  # nor to this

    def can(self, method: str) -> bool:
        """Whether the client has said that it answers such a request."""
        return isinstance(self.capabilities.get(CAPABILITY_OF.get(method, method)), dict)

    @property
    def can_be_asked(self) -> bool:
        return any(map(self.can, CAPABILITY_OF))

    def check(self, method: str, params: Mapping[str, Any]) -> None:
        """Raise `Refusal` with the reason when the client cannot be asked this."""
        if method not in CAPABILITY_OF:
            raise Refusal(types.METHOD_NOT_FOUND, f"The gateway does not pass {method!r} on to clients.")
        if not self.can(method):
            raise Refusal(
                types.METHOD_NOT_FOUND,
                f"The client cannot be asked: it has not declared the capability {CAPABILITY_OF[method]!r}.",
            )
        if params.get("mode") == "url" and "url" not in cast("Mapping[str, object]", self.capabilities["elicitation"]):
            raise Refusal(types.INVALID_PARAMS, "The client cannot be asked: it does not open addresses for its user.")

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a client of the handshake era on its own connection. Raises `Refusal`."""
        self.check(method, params)
        try:
            return await self._outbound.send_raw_request(method, question(params) or None)
        except MCPError as error:
            raise Refusal(error.error.code, error.error.message, data=cast("JsonValue", error.error.data)) from error

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        await self._ctx.session.report_progress(done, total, message)

    async def notice(self, method: str, params: Mapping[str, Any]) -> None:
        """Hand on what a server says beside its answer: log messages of the level that the client wants to hear."""
        if method == LOG and not self._hears(params.get("level")):
            return
        await self._outbound.notify(method, params)

    def _hears(self, level: object) -> bool:
        if self.level is None or level not in LEVELS:
            return False
        return LEVELS.index(str(level)) >= LEVELS.index(self.level)


def read_meta(params: Mapping[str, Any] | None) -> Mapping[str, Any]:
    meta = cast("object", (params or {}).get("_meta"))
    return cast("Mapping[str, Any]", meta) if isinstance(meta, dict) else _NOTHING


def question(params: Mapping[str, Any]) -> dict[str, Any]:
    """A server's question as it goes to the client: without what was between server and gateway only."""
    return {key: value for key, value in params.items() if key not in ("_meta", "task")}


def remember_level(connection: Connection, level: str) -> None:
    """logging/setLevel of the handshake era."""
    connection.state[_LEVEL] = level


def _declared(meta: Mapping[str, Any]) -> Mapping[str, JsonValue]:
    found = meta.get(types.CLIENT_CAPABILITIES_META_KEY)
    return _passed_on(cast("Mapping[str, JsonValue]", found)) if isinstance(found, dict) and found else _NOTHING


def _negotiated(connection: Connection) -> Mapping[str, JsonValue]:
    declared = connection.client_capabilities
    if declared is None:
        return _NOTHING
    known: tuple[object, Mapping[str, JsonValue]] | None = connection.state.get(_CAPABILITIES)
    if known is None or known[0] is not declared:  # a client may initialize once more
        written = declared.model_dump(by_alias=True, mode="json", exclude_none=True)
        known = connection.state[_CAPABILITIES] = declared, _passed_on(written)
    return known[1]


def _passed_on(capabilities: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Without tasks: their later requests name no server, so nobody could tell where they belong."""
    kept = {key: value for key, value in capabilities.items() if key != "tasks"}
    extensions = kept.get("extensions")
    if isinstance(extensions, dict) and _TASKS in extensions:
        kept["extensions"] = {key: value for key, value in extensions.items() if key != _TASKS}
    return kept
