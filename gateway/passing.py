"""One request of a client, passed to a server in whichever era each of them speaks.

| client     | server     | what the server asks in between                                                    |
|------------|------------|------------------------------------------------------------------------------------|
| 2026-07-28 | 2026-07-28 | `input_required` passes as it is; its state remembers the replica                  |
| 2025-11-25 | 2026-07-28 | asked on the client's connection, then the request goes out again (`rounds`)       |
| 2026-07-28 | 2025-11-25 | the call waits here while the client is away (`suspended`)                         |
| 2025-11-25 | 2025-11-25 | asked on the client's connection, answered on the server's                         |
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final

import mcp_types as types
from mcp_types.methods import INPUT_REQUIRED_METHODS
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from gateway.circle import GATEWAY_NAME
from gateway.client import Client, Clients
from gateway.options import Limits
from gateway.patience import LONGEST_SECONDS, Patience
from gateway.rounds import answer_for
from gateway.shapes import is_input_required
from gateway.suspended import Held, Owner, Suspended
from kit.call import Call
from pool.offer import Offer
from pool.pool import Pool
from pool.verdict import after_deadline
from pool.wire.asker import Asker
from pool.wire.failures import Refusal

__all__ = ["Passing"]

_AT: Final = "stoa-at."
"""Begins a request state that remembers a replica. It is a wish and no secret: the server guards its own state."""

_OURS: Final = frozenset(
    {
        "progressToken",
        types.PROTOCOL_VERSION_META_KEY,
        types.CLIENT_INFO_META_KEY,
        types.CLIENT_CAPABILITIES_META_KEY,
        types.LOG_LEVEL_META_KEY,
    }
)
"""Keys in `_meta` that belong to one connection; each has its own on either side."""

_STOA: Final = "io.stoa/"

Raw = Mapping[str, Any]


class Passing:
    """`call_seconds` says how long calls of a server may take. State is that of `suspended`."""

    def __init__(
        self,
        pool: Pool,
        *,
        clients: Clients,
        suspended: Suspended,
        call_seconds: Callable[[str], float],
        limits: Limits,
    ) -> None:
        self._pool = pool
        self._clients = clients
        self._suspended = suspended
        self._call_seconds = call_seconds
        self._limits = limits

    def __repr__(self) -> str:
        return f"<Passing {self._suspended!r}>"

    async def send(
        self, client: Client, call: Call, server: str, method: str, params: Raw, *, offer: Offer | None, target: str
    ) -> dict[str, Any]:
        """The server's raw result. `target` is the thing's own name, for messages and handles.

        Raises `Refusal` for an error of the server's, and errors of ours.
        """
        is_modern = offer is None or offer.protocol in MODERN_PROTOCOL_VERSIONS
        may_ask = not is_modern or self._is_mixed(server)
        wanted = {key: value for key, value in params.items() if key not in ("_meta", "inputResponses", "requestState")}
        wanted["_meta"] = _meta(client, is_modern=is_modern)
        hops = call.hops + (offer is not None and offer.server_name == GATEWAY_NAME)
        request = _Request(self, client, call, server, method, wanted, hops, f"{server}.{target}")
        if client.is_modern:
            return await self._for_modern(request, params, may_ask=may_ask, target=target)
        return await self._for_handshake(request, may_ask=may_ask)

    def _is_mixed(self, server: str) -> bool:
        """Whether its replicas may be of different eras: then nobody knows how one asks before it has been chosen."""
        first, *others = self._pool.spec(server).members
        return any(other != first for other in others)

    async def _for_modern(self, request: "_Request", params: Raw, *, may_ask: bool, target: str) -> dict[str, Any]:
        """`may_ask`: whether the server may ask in the middle of the call."""
        client, state = request.client, params.get("requestState")
        principal = request.call.principal
        owner = Owner(principal.tenant, principal.subject, request.method, f"{request.server}.{target}")
        if isinstance(state, str) and self._suspended.is_handle(state):
            return await self._suspended.resume(state, owner, client, params.get("inputResponses"))
        if request.method not in INPUT_REQUIRED_METHODS:
            return await request.send()
        if isinstance(state, str):
            request.prefer, request.params["requestState"] = _unwrapped(state)
        if "inputResponses" in params:
            request.params["inputResponses"] = params["inputResponses"]
        if may_ask and client.can_be_asked:
            patience = self._patience(request.server)
            result = await self._suspended.begin(owner, client, request.send_held, patience=patience)
            if self._suspended.is_handle(result.get("requestState")):
                return result
        else:
            result = await request.send()
        if is_input_required(result) and isinstance(result.get("requestState"), str):
            result["requestState"] = _wrapped(request.replica, result["requestState"])
        return result

    async def _for_handshake(self, request: "_Request", *, may_ask: bool) -> dict[str, Any]:
        client = request.client
        if may_ask and client.can_be_asked:
            first = await request.send_patiently(self._patience(request.server))
        else:
            first = await request.send()
        if not is_input_required(first):
            return first
        request.prefer = request.replica

        async def again(more: Raw) -> dict[str, Any]:
            request.params = {**request.params, **more}
            return await request.send()

        return await answer_for(client, first, again, seconds=self._limits.answer_seconds)

    def _patience(self, server: str) -> Patience:
        return Patience(self._call_seconds(server), answer_seconds=self._limits.answer_seconds)

    def key(self, client: Client, call: Call) -> str:
        """Requests of one client on behalf of one principal."""
        return f"{self._clients.key(client.connection)} {call.principal.tenant} {call.principal.subject}"


class _Request:
    """A request on its way. `prefer` is the replica that it should go to, `replica` the one that served it last."""

    __slots__ = ("_hops", "_passing", "_what", "call", "client", "method", "params", "prefer", "replica", "server")

    def __init__(
        self,
        passing: Passing,
        client: Client,
        call: Call,
        server: str,
        method: str,
        params: dict[str, Any],
        hops: int,
        what: str,
    ) -> None:
        self._passing = passing
        self.client = client
        self.call = call
        self.server = server
        self.method = method
        self.params = params
        self._hops = hops
        self._what = what
        self.prefer: str | None = None
        self.replica: str | None = None

    async def send(self) -> dict[str, Any]:
        """By the group's own deadline; what the server asks in between is refused with the reason."""
        client = self.client
        return await self._request(
            Asker(
                key=self._passing.key(client, self.call),
                capabilities=client.capabilities,
                answer=self._cannot_ask,
                notice=client.notice,
            ),
            progress=client.progress if client.wants_progress else None,
        )

    async def send_patiently(self, patience: Patience) -> dict[str, Any]:
        """For a client that is asked on its own connection while the call goes on."""
        client = self.client

        async def answer(method: str, params: Raw) -> dict[str, Any]:
            with patience.asking():
                return await client.ask(method, params)
            raise AssertionError  # `asking` has raised

        asker = Asker(
            key=self._passing.key(client, self.call),
            capabilities=client.capabilities,
            answer=answer,
            notice=client.notice,
        )
        with patience:
            return await self._request(
                asker,
                progress=client.progress if client.wants_progress else None,
                timeout_seconds=LONGEST_SECONDS,
            )
        raise patience.unanswered() or after_deadline(self._what, patience.seconds, may_repeat=False)

    async def send_held(self, held: Held) -> dict[str, Any]:
        """For a client that may be away while the call goes on: whichever request waits for it is told of progress."""

        async def notice(method: str, params: Raw) -> None:
            await held.client.notice(method, params)

        async def progress(done: float, total: float | None, message: str | None) -> None:
            if held.client.wants_progress:
                await held.client.progress(done, total, message)

        asker = Asker(
            key=self._passing.key(self.client, self.call),
            capabilities=self.client.capabilities,
            answer=held.answer,
            notice=notice,
        )
        return await self._request(asker, progress=progress, timeout_seconds=LONGEST_SECONDS)

    async def _request(self, asker: Asker, **options: Any) -> dict[str, Any]:
        passed = await self._passing._pool.request(  # pyright: ignore[reportPrivateUsage]  # two halves of one room
            self.server,
            self.method,
            self.params,
            principal=self.call.principal,
            hops=self._hops,
            asker=asker,
            prefer=self.prefer,
            **options,
        )
        self.replica = passed.replica
        return passed.result

    async def _cannot_ask(self, method: str, params: Raw) -> dict[str, Any]:
        self.client.check(method, params)
        if self.client.is_modern:
            raise Refusal(
                types.INVALID_REQUEST,
                f"{method} is refused: in the middle of {self.method} this client cannot be asked.",
            )
        return await self.client.ask(method, params)


def _meta(client: Client, *, is_modern: bool) -> dict[str, Any]:
    """The client's `_meta` without what belongs to its connection, and without what nobody outside may say."""
    meta = {key: value for key, value in client.meta.items() if key not in _OURS and not key.startswith(_STOA)}
    if is_modern and client.level is not None:
        meta[types.LOG_LEVEL_META_KEY] = client.level
    return meta


def _wrapped(replica: str | None, state: str) -> str:
    if replica is None:
        return state
    return f"{_AT}{base64.urlsafe_b64encode(replica.encode()).decode()}.{state}"


def _unwrapped(state: str) -> tuple[str | None, str]:
    if not state.startswith(_AT):
        return None, state
    name, dot, own = state.removeprefix(_AT).partition(".")
    try:
        return (base64.urlsafe_b64decode(name).decode(), own) if dot else (None, state)
    except (binascii.Error, ValueError):
        return None, state
