"""Calls of 2026-07-28 clients that wait in a server of the handshake era.

Such a server asks in the middle of a call and waits; such a client is asked by the answer to its call, and calls again
with what was asked. So the call goes on here in a task of its own while its client is away: the client gets
`input_required` with a handle as its request state, and whoever brings the handle back answers, and waits again.
A handle is a secret of 256 bits, good once, for the principal who called and for the same request.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import anyio
import mcp_types as types
from anyio.abc import TaskGroup

from gateway.client import Client, question
from gateway.options import Limits
from gateway.patience import Patience
from pool.wire.failures import Refusal
from stoa.errors import BadInput, StoaError, Unavailable

__all__ = ["Held", "Owner", "Suspended"]

PREFIX: Final = "stoa-held."

Run = Callable[["Held"], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose call it is, and which."""

    tenant: str
    subject: str
    method: str
    target: str


@dataclass(slots=True, eq=False)
class _Question:
    method: str
    params: Mapping[str, Any]
    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: dict[str, Any] = field(default_factory=dict[str, Any])


class Held:
    """One call. `client` is the one whose request waits for it now, or did last: progress and messages go there."""

    def __init__(self, owner: Owner, client: Client, patience: Patience, *, has_room: Callable[[], bool]) -> None:
        self.owner = owner
        self.client = client
        self.patience = patience
        self.result: dict[str, Any] | None = None
        self.error: Exception | None = None
        self.is_over = False
        self._has_room = has_room
        self._questions: dict[str, _Question] = {}
        self._asked = 0
        self._news = anyio.Event()

    def __repr__(self) -> str:
        return f"<Held {self.owner.method} {self.owner.target!r}: {len(self._questions)} questions>"

    async def answer(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The server asks. Returns what the client brings back; raises `Refusal`."""
        self.client.check(method, params)
        if not self._has_room():
            raise Refusal(types.INTERNAL_ERROR, "Too many calls wait for their clients already.")
        self._asked += 1
        key = f"question-{self._asked}"
        asked = self._questions[key] = _Question(method, params)
        self._news.set()
        try:
            with self.patience.asking():
                await asked.answered.wait()
        finally:
            self._questions.pop(key, None)
        return asked.answer

    @property
    def waits(self) -> bool:
        """Whether its server waits for an answer."""
        return bool(self._questions)

    def take(self, responses: object) -> None:
        """Answers by the keys of their questions; what is still open is asked again."""
        if not isinstance(responses, dict):
            return
        for key, answer in cast("dict[str, object]", responses).items():
            asked = self._questions.get(key)
            if asked is not None and isinstance(answer, dict):
                asked.answer = cast("dict[str, Any]", answer)
                asked.answered.set()
                del self._questions[key]

    def end(self) -> None:
        self.is_over = True
        self._news.set()

    async def next(self) -> dict[str, Any] | None:
        """The result, or none when there are questions. Raises what the call has raised."""
        while not self.is_over and not self._questions:
            self._news = anyio.Event()
            await self._news.wait()
        if not self.is_over:
            return None
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    def questions(self) -> dict[str, Any]:
        """What the client is asked, as 2026-07-28 writes it."""
        return {key: _written(asked) for key, asked in self._questions.items()}


class Suspended:
    """State: calls whose clients are away, by their handles. `tasks` gives the group that calls run in."""

    def __init__(self, tasks: Callable[[], TaskGroup], limits: Limits) -> None:
        self._tasks = tasks
        self._limits = limits
        self._waiting: dict[str, Held] = {}
        self._running: set[Held] = set()

    def __repr__(self) -> str:
        return f"<Suspended: {len(self._waiting)} calls wait for their clients>"

    def __len__(self) -> int:
        return len(self._waiting)

    @staticmethod
    def is_handle(state: object) -> bool:
        return isinstance(state, str) and state.startswith(PREFIX)

    async def begin(self, owner: Owner, client: Client, run: Run, *, patience: Patience) -> dict[str, Any]:
        """Run a call until its result or its first question, which is given as a result, too."""
        held = Held(owner, client, patience, has_room=lambda: self._has_room(owner))
        self._tasks().start_soon(self._run, held, run)
        return await self._follow(held)

    async def resume(self, state: str, owner: Owner, client: Client, responses: object) -> dict[str, Any]:
        """Go on with the call of a handle. Raises `BadInput` for one that is not, or no longer, good for this."""
        held = self._waiting.get(state)
        if held is None or held.owner != owner:
            raise BadInput(
                "The question of this request is no longer open.", hint="Call again without requestState to start anew."
            )
        del self._waiting[state]
        held.client = client
        held.take(responses)
        return await self._follow(held)

    async def _follow(self, held: Held) -> dict[str, Any]:
        try:
            result = await held.next()
        except anyio.get_cancelled_exc_class():
            held.patience.scope.cancel()  # its client has gone for good: the server is told to stop
            raise
        if result is not None:
            return result
        handle = PREFIX + secrets.token_urlsafe(32)
        self._waiting[handle] = held
        return {"resultType": "input_required", "inputRequests": held.questions(), "requestState": handle}

    async def _run(self, held: Held, run: Run) -> None:
        self._running.add(held)
        try:
            with held.patience:
                held.result = await run(held)
            if held.patience.is_over:
                held.error = held.patience.unanswered() or Unavailable("The call was given up.")
        except (StoaError, Refusal) as error:
            held.error = error
        except Exception as error:  # noqa: BLE001  # the owner task of this call: whoever waits for it raises it again
            held.error = error
        finally:
            self._running.discard(held)
            held.end()
            for handle in [handle for handle, each in self._waiting.items() if each is held]:
                del self._waiting[handle]

    def _has_room(self, owner: Owner) -> bool:
        # Counted by their questions: of many that ask at the same moment, none has a handle yet.
        waiting = [held.owner for held in self._running if held.waits]
        own = sum((each.tenant, each.subject) == (owner.tenant, owner.subject) for each in waiting)
        return len(waiting) < self._limits.max_held and own < self._limits.max_held_each


def _written(asked: _Question) -> dict[str, Any]:
    request: dict[str, Any] = {"method": asked.method}
    params = question(asked.params)
    params.pop("elicitationId", None)  # 2026-07-28 has none: the request state says which question it is
    if params or asked.method != "roots/list":
        request["params"] = params
    return request
