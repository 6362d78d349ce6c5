"""One open MCP session, whatever the way to it and the revision: raw requests, raw answers, and what is told by itself.

Any task may ask; only the task that opened the session closes it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

import anyio
from pydantic import JsonValue
from pydantic_core import to_json

from pool.wire.asker import HOST, Asker
from pool.wire.failures import Lost, Refusal
from pool.wire.handshake import Hello, discover, stamp
from pool.wire.link import Traffic, Wire
from pool.wire.lists import without_malformed
from pool.wire.question import OnNotice
from stoa.errors import Fault
from stoa.tools import Progress

__all__ = ["ACKNOWLEDGED", "Connection", "Meta"]

Meta = Mapping[str, JsonValue]

MAX_PAGES: Final = 100
MAX_ITEMS: Final = 10_000
MAX_LIST_BYTES: Final = 2**25
"""Of all pages together."""
METHOD_NOT_FOUND: Final = -32601
INTERNAL_ERROR: Final = -32603
UPDATED: Final = "notifications/resources/updated"
OFFERS: Final[Mapping[str, str]] = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resources",
}
"""The capability that a server declares when it has such a list."""

WANTS: Final[Mapping[str, str]] = {
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
}
"""What a listener's filter says when it wants these."""


ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


class Connection:
    """`lost` is set once the session is of no more use; `explain` then says why, for people."""

    def __init__(
        self, wire: Wire, hello: Hello, *, server: str, on_notice: OnNotice, secrets: Sequence[str] = ()
    ) -> None:
        self._wire = wire
        self._server = server
        self._on_notice = on_notice
        self._secrets = tuple(secrets)
        self._listeners: dict[int, tuple[Mapping[str, Any], OnNotice]] = {}
        self._subscribed: Counter[str] = Counter()
        self._subscribing = anyio.Lock()
        self.lost = wire.lost
        self.protocol = hello.protocol
        self.is_modern = hello.is_modern
        self.server_name = hello.name
        self.server_version = hello.version
        self.instructions = hello.instructions
        self.capabilities = hello.capabilities
        self.is_session = wire.is_session
        wire.on_notice = self._noticed

    def __repr__(self) -> str:
        return f"<Connection {self._server} {self.protocol}{' lost' if self.lost.is_set() else ''}>"

    @property
    def explain(self) -> Callable[[], str]:
        return self._wire.explain

    @property
    def pid(self) -> int | None:
        """Of a child: it leads the group of all that it started."""
        return self._wire.pid

    @property
    def traffic(self) -> Traffic:
        """Messages and bytes so far."""
        return self._wire.traffic

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        *,
        progress: Progress | None = None,
        asker: Asker = HOST,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The raw result. Raises `Lost` or `Refusal`; leaving by cancellation tells the server."""
        try:
            return await self._wire.ask(
                method, self._stamp(params, asker), asker=asker, progress=progress, headers=headers
            )
        except (Lost, Refusal) as failure:
            failure.clean(self._secrets)  # a server may quote what we have sent it
            raise

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        """Raises `Lost`. Where the revision has no notifications to a server, nothing is sent."""
        await self._wire.tell(method, params)

    async def list_all(self, method: str, key: str) -> tuple[dict[str, Any], ...]:
        """All pages of a list; nothing where the server does not offer it. What is malformed in it is left out."""
        if not self.is_modern and OFFERS.get(method) not in self.capabilities:
            return ()
        items: list[dict[str, Any]] = []
        cursor: Any = None
        seen: set[str] = set()
        size = 0
        for _ in range(MAX_PAGES):
            try:
                page = await self.request(method, {} if cursor is None else {"cursor": cursor})
            except Refusal as refusal:
                if refusal.code == METHOD_NOT_FOUND:
                    return ()
                raise
            found = page.get(key)
            if not isinstance(found, list):
                raise self._malformed()
            items += without_malformed(
                method, key, cast("list[object]", found), server=self._server, is_modern=self.is_modern
            )
            cursor = page.get("nextCursor")
            if cursor is None:
                return tuple(items)
            size += len(to_json(found, inf_nan_mode="null"))
            if size > MAX_LIST_BYTES:
                raise Refusal(INTERNAL_ERROR, f"its list of {key} is larger than {MAX_LIST_BYTES >> 20} MiB")
            if not isinstance(cursor, str):
                raise self._malformed()
            if cursor in seen or len(items) > MAX_ITEMS:
                break
            seen.add(cursor)
        raise Refusal(INTERNAL_ERROR, f"its list of {key} does not end")

    async def ping(self) -> None:
        """The cheapest question that both ends must answer."""
        if self.is_modern:
            await discover(self._wire, self.protocol)
        else:
            await self._wire.ask("ping", {})

    async def listen(self, *, filter: Mapping[str, Any], meta: Meta, on_notice: OnNotice) -> None:
        """Be told of what the filter names (`toolsListChanged`, `resourceSubscriptions`, …), until the server ends it.

        Raises `Lost` and `Refusal`. Servers of the handshake era tell of changed lists by themselves; resources are
        subscribed to for as long as anybody listens. In either era it begins with the notification `ACKNOWLEDGED`.
        """
        if self.is_modern:
            params = self._stamp({"notifications": dict(filter), "_meta": dict(meta)}, HOST)
            await self._wire.ask("subscriptions/listen", params, on_notice=on_notice)
            return
        wanted = filter.get("resourceSubscriptions")
        uris = [str(uri) for uri in cast("list[object]", wanted)] if isinstance(wanted, list) else []
        key = id(on_notice)
        while key in self._listeners:
            key += 1
        self._listeners[key] = (filter, on_notice)
        subscribed: list[str] = []
        try:
            for uri in uris:
                await self._subscribe(uri, meta)
                subscribed.append(uri)
            on_notice(ACKNOWLEDGED, {"notifications": dict(filter)})
            await self.lost.wait()
            raise Lost(self.explain())
        finally:
            del self._listeners[key]
            with anyio.move_on_after(2, shield=True):
                for uri in subscribed:
                    await self._unsubscribe(uri, meta)

    async def _subscribe(self, uri: str, meta: Meta) -> None:
        async with self._subscribing:
            if not self._subscribed[uri]:
                await self.request("resources/subscribe", {"uri": uri, **({"_meta": dict(meta)} if meta else {})})
            self._subscribed[uri] += 1

    async def _unsubscribe(self, uri: str, meta: Meta) -> None:
        async with self._subscribing:
            self._subscribed[uri] -= 1
            if not self._subscribed[uri]:
                del self._subscribed[uri]
                with suppress(Lost, Refusal):  # it is over either way
                    await self.request("resources/unsubscribe", {"uri": uri, **({"_meta": dict(meta)} if meta else {})})

    def _noticed(self, method: str, params: Mapping[str, Any]) -> None:
        """What came on no request's account."""
        for filter, listener in [*self._listeners.values()]:
            wanted = filter.get("resourceSubscriptions") if method == UPDATED else None
            if (isinstance(wanted, list) and params.get("uri") in wanted) or filter.get(WANTS.get(method, "")) is True:
                listener(method, params)
        self._on_notice(method, params)

    def _stamp(self, params: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """A copy of the parameters with what the revision wants in `_meta`. The token of progress is the wire's own."""
        meta = params.get("_meta")
        if not isinstance(meta, dict):
            meta = {}
        elif "progressToken" in meta:
            meta = {name: value for name, value in cast("dict[str, Any]", meta).items() if name != "progressToken"}
        if self.is_modern:
            return {**params, "_meta": stamp(cast("dict[str, Any]", meta), self.protocol, asker.capabilities)}
        if not meta and "_meta" in params:
            return {name: value for name, value in params.items() if name != "_meta"}
        return {**params, "_meta": meta} if meta else {**params}

    def _malformed(self) -> Fault:
        return Fault(
            f"The server {self._server!r} answered with something that is not valid MCP {self.protocol}.",
            hint="Its makers have to mend it.",
        )
