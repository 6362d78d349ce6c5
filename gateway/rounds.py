"""A client of the handshake era calls a 2026-07-28 server: what the answer asks for is asked on the client's
connection, and the request goes out again with it, for so many rounds."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import anyio
import mcp_types as types

from gateway.client import Client
from gateway.shapes import is_input_required
from pool.wire.failures import Refusal
from stoa.errors import Denied, Fault, Unavailable

__all__ = ["MAX_QUESTIONS", "MAX_ROUNDS", "answer_for"]

MAX_ROUNDS: Final = 10
MAX_QUESTIONS: Final = 16
"""Questions of one round."""

WAIT_SECONDS: Final = 0.05
LONGEST_WAIT_SECONDS: Final = 1.0
"""Before a request is repeated for which nothing was asked: the server only wants more time."""

Send = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


async def answer_for(client: Client, first: dict[str, Any], send: Send, *, seconds: float) -> dict[str, Any]:
    """The result at the end of all rounds. `send` repeats the request with more parameters; each round of questions
    may take `seconds`. Raises `Denied` when the client refuses, and `Fault` when there is no end to it."""
    result = first
    wait = WAIT_SECONDS
    for _ in range(MAX_ROUNDS):
        more: dict[str, Any] = {}
        asked = result.get("inputRequests")
        if isinstance(asked, dict) and asked:
            more["inputResponses"] = await _ask_all(client, cast("dict[str, Any]", asked), seconds)
            wait = WAIT_SECONDS
        else:
            await anyio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        if (state := result.get("requestState")) is not None:
            more["requestState"] = state
        result = await send(more)
        if not is_input_required(result):
            return result
    raise Fault(f"The server asked for input {MAX_ROUNDS} times and still has no answer.")


async def _ask_all(client: Client, asked: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """All questions of a round at the same time."""
    if len(asked) > MAX_QUESTIONS:
        raise Fault(f"The server asks {len(asked)} questions at once; {MAX_QUESTIONS} is the limit.")
    answers: dict[str, Any] = {}
    refusals: list[Refusal] = []
    with anyio.move_on_after(seconds) as scope:
        async with anyio.create_task_group() as group:

            async def ask(key: str, request: object) -> None:
                try:
                    answers[key] = await client.ask(*_read(request))
                except Refusal as refusal:
                    refusals.append(refusal)
                    group.cancel_scope.cancel()

            for key, request in asked.items():
                group.start_soon(ask, key, request)
    if refusals:
        raise Denied(f"The server asked the client for input. {refusals[0].message}") from refusals[0]
    if scope.cancelled_caught:
        raise Unavailable(f"The server's question was not answered within {seconds:g} seconds.", hint="Call again.")
    return answers


def _read(request: object) -> tuple[str, Mapping[str, Any]]:
    fields: Mapping[str, object] = cast("Mapping[str, object]", request) if isinstance(request, dict) else {}
    method, params = fields.get("method"), fields.get("params")
    if not isinstance(method, str):
        raise Refusal(types.INTERNAL_ERROR, "The server asks for something that is no request.")
    return method, cast("Mapping[str, Any]", params) if isinstance(params, dict) else {}
