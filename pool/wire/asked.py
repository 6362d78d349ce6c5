"""What servers of the handshake era ask us: taken to the client whose call it belongs to, and its answer sent back."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import anyio
from anyio.abc import TaskGroup

from pool.wire.asker import Asker
from pool.wire.failures import Refusal

__all__ = ["OFFERED", "Asked"]

_log = logging.getLogger(__name__)

OFFERED: Final[Mapping[str, Any]] = {
    "elicitation": {"form": {}, "url": {}},
    "sampling": {},
    "roots": {"listChanged": True},
}
"""What a handshake offers: all that some client may be able to do. Who cannot is found out when it is asked."""

MAX_AT_ONCE: Final = 64
MAX_REFUSALS: Final = 64
"""Beyond it, what a server asks gets no answer at all: it does not take those that it is given."""
MAX_ID: Final = 1000
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INTERNAL_ERROR: Final = -32603
ASKABLE: Final = frozenset({"elicitation/create", "sampling/createMessage", "roots/list"})


class Asked:
    """The requests of one server that are being answered. `reply` sends a whole JSON-RPC message."""

    def __init__(self, tasks: TaskGroup, reply: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._tasks = tasks
        self._reply = reply
        self._scopes: dict[str | int, anyio.CancelScope] = {}
        self._refusals = 0

    def __repr__(self) -> str:
        return f"<Asked {len(self._scopes)} at once>"

    def take(self, message: Mapping[str, Any], asker: Asker | None) -> None:
        """Answer in a task of its own. `asker` is None where it cannot be told whose call it belongs to."""
        id = message.get("id")
        if not isinstance(id, str | int) or (isinstance(id, str) and len(id) > MAX_ID):
            return
        scope = anyio.CancelScope()
        if len(self._scopes) < MAX_AT_ONCE and id not in self._scopes:
            self._scopes[id] = scope
            self._tasks.start_soon(self._serve, id, message, asker, scope)
        elif self._refusals < MAX_REFUSALS:
            self._refusals += 1
            self._tasks.start_soon(self._refuse, id, f"More than {MAX_AT_ONCE} requests at once.")

    def cancel(self, params: Mapping[str, Any]) -> None:
        """The server no longer wants to know."""
        id = params.get("requestId")
        if isinstance(id, str | int) and (scope := self._scopes.get(id)) is not None:
            scope.cancel()

    async def _serve(
        self, id: str | int, message: Mapping[str, Any], asker: Asker | None, scope: anyio.CancelScope
    ) -> None:
        method, given = str(message.get("method")), message.get("params")
        params = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": id}
        try:
            try:
                with scope:
                    answer["result"] = await _answer(method, params, asker)
            except Refusal as refusal:
                more = {} if refusal.data is None else {"data": refusal.data}
                answer["error"] = {"code": refusal.code, "message": refusal.message, **more}
            except Exception:  # noqa: BLE001 - whatever a client is, its failure is an answer to the server
                _log.exception("a client failed at %s", method)
                answer["error"] = {"code": INTERNAL_ERROR, "message": "The client failed at this request."}
            if not scope.cancelled_caught:
                await self._send(answer)
        finally:  # not before the server has taken the answer: of those that it does not take there shall not be many
            self._scopes.pop(id, None)

    async def _refuse(self, id: str | int, reason: str) -> None:
        try:
            await self._send({"jsonrpc": "2.0", "id": id, "error": {"code": INVALID_REQUEST, "message": reason}})
        finally:
            self._refusals -= 1

    async def _send(self, answer: dict[str, Any]) -> None:
        try:
            await self._reply(answer)
        except Exception as error:  # noqa: BLE001 - a server that asks and goes away harms nobody but itself
            _log.debug("an answer could not be sent: %r", error)


async def _answer(method: str, params: Mapping[str, Any], asker: Asker | None) -> dict[str, Any]:
    if method == "ping":
        return {}
    if method not in ASKABLE:
        raise Refusal(METHOD_NOT_FOUND, "Method not found")
    if asker is None:
        raise Refusal(INVALID_REQUEST, f"{method} is refused: it cannot be told whose call it belongs to.")
    if asker.answer is None:
        raise Refusal(INVALID_REQUEST, f"{method} is refused: there is nobody behind the call who could answer.")
    return await asker.answer(method, params)
