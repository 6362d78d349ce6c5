"""The request that is being served right now, as tools, resources and completions see it."""

from contextvars import ContextVar, Token

from mcp.server.session import ServerSession
from pydantic import JsonValue

from kit.cursor import Cursors
from kit.subscriptions import Subscriptions
from stoa.principal import Principal
from stoa.tools import ToolCaller, ToolCallers

__all__ = ["Call", "current_call", "enter_call", "leave_call"]

_current: ContextVar["Call"] = ContextVar("stoa_call")


class Call:
    """Who calls, and what may be done on the caller's behalf while the call lasts."""

    __slots__ = ("_callers", "_cursors", "_session", "_subscriptions", "hops", "principal")

    def __init__(
        self,
        *,
        principal: Principal,
        hops: int,
        callers: ToolCallers,
        session: ServerSession,
        cursors: Cursors,
        subscriptions: Subscriptions,
    ) -> None:
        self.principal = principal
        self.hops = hops
        self._callers = callers
        self._session = session
        self._cursors = cursors
        self._subscriptions = subscriptions

    def __repr__(self) -> str:
        return f"<Call by {self.principal.subject!r} of {self.principal.tenant!r}, hops={self.hops}>"

    @property
    def tools(self) -> ToolCaller:
        """The way to tools of other servers, on behalf of this caller."""
        return self._callers.caller(self.principal, hops=self.hops + 1)

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell the caller how far the work is; says nothing to callers that did not ask. `done` must grow."""
        await self._session.report_progress(done, total, message)

    def seal_cursor(self, kind: str, state: JsonValue) -> str:
        """An opaque cursor for the next page, good on every replica, for this tenant and this kind of listing only."""
        return self._cursors.seal(kind, self.principal.tenant, state)

    def open_cursor(self, kind: str, cursor: str) -> JsonValue:
        """The state in a cursor. Raises `BadInput` for one that was forged, or made for something or somebody else."""
        return self._cursors.open(kind, self.principal.tenant, cursor)

    async def resource_updated(self, uri: str) -> None:
        """Tell those of the caller's tenant who subscribed to this resource that it has changed."""
        await self._subscriptions.resource_updated(uri, tenant=self.principal.tenant)

    async def resources_changed(self) -> None:
        """Tell the caller's tenant that resources have come or gone."""
        await self._subscriptions.list_changed("resources", tenant=self.principal.tenant)


def current_call() -> Call:
    """The call being served. Raises `LookupError` outside of one."""
    return _current.get()


def enter_call(call: Call) -> Token[Call]:
    return _current.set(call)


def leave_call(token: Token[Call]) -> None:
    _current.reset(token)
