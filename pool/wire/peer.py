"""JSON-RPC over a stream of messages in either direction: which answer belongs to which request, and who is told.

The SDK's dispatcher does the same by way of four streams, three tasks and two pydantic models for each call, which
costs more than everything else on the way. Here a request is written by the task that asks, and its answer is handed
to that task by the one that reads.
"""

import logging
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, cast

import anyio
from anyio.abc import TaskGroup
from pydantic_core import to_json

from pool.wire.asked import Asked
from pool.wire.asker import only_one
from pool.wire.failures import Lost, Refusal, read_error
from pool.wire.link import Wire
from pool.wire.question import PROGRESS, Question
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["SUBSCRIPTION_ID", "TOO_BIG", "Peer", "write_message"]

_log = logging.getLogger(__name__)

SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
CANCELLED: Final = "notifications/cancelled"
LOG: Final = "notifications/message"
TOO_BIG: Final = -32600  # JSON-RPC's "invalid request"
CANCEL_SECONDS: Final = 5.0
"""What telling the server of a cancellation may take; nobody waits for it."""


def write_message(message: Mapping[str, Any]) -> bytes:
    """The message as JSON. Raises `Refusal` for what is too big, or cannot be written."""
    try:
        data = to_json(message, inf_nan_mode="null", fallback=_plain)
    except (ValueError, RecursionError) as error:
        raise Refusal(TOO_BIG, f"The request cannot be written as JSON: {str(error)[:200]}.") from error
    if len(data) > MAX_MESSAGE_BYTES:
        raise Refusal(TOO_BIG, f"The request has {len(data)} bytes; the limit is {MAX_MESSAGE_BYTES}.")
    return data


def _plain(value: object) -> object:
    if isinstance(value, Mapping):  # of another kind than dict
        return dict(cast("Mapping[str, object]", value))
    raise ValueError(f"a {type(value).__name__} is no JSON")


class Peer(Wire):
    """A transport sets `_tasks` while it is open, writes with `_send`, and hands what it reads to `_take`."""

    def __init__(self) -> None:
        super().__init__()
        self._pending: dict[int, Question] = {}
        self._tasks: TaskGroup | None = None
        self._asked: Asked | None = None

    @abstractmethod
    async def _send(self, data: bytes) -> None:
        """Write one message. Whoever finds that nobody takes it calls `lose`, and raises nothing."""

    def _start(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._asked = Asked(tasks, self._reply)

    def lose(self, reason: str) -> None:
        super().lose(reason)
        for question in list(self._pending.values()):
            question.fail(Lost(self.explain()))

    async def _carry(
        self,
        question: Question,
        method: str,
        params: dict[str, Any],
        *,
        headers: Mapping[str, str] | None,
        is_cancellable: bool,
    ) -> dict[str, Any]:
        id = question.id
        data = write_message({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        self._pending[id] = question
        try:
            await self._send(data)
            return await question.answered()
        finally:
            del self._pending[id]
            is_open = question.result is None and question.error is None and not self.lost.is_set()
            if is_open and is_cancellable and self._tasks is not None:
                self._tasks.start_soon(self._cancel, id)

    async def tell(self, method: str, params: dict[str, Any]) -> None:
        if self.lost.is_set():
            raise Lost(self.explain(), sent=False)
        await self._send(write_message({"jsonrpc": "2.0", "method": method, "params": params}))

    async def _cancel(self, id: int) -> None:
        if not self.lost.is_set():
            with anyio.move_on_after(CANCEL_SECONDS):
                params = {"requestId": id, "reason": "The caller no longer waits for the answer."}
                await self._send(write_message({"jsonrpc": "2.0", "method": CANCELLED, "params": params}))

    async def _reply(self, answer: dict[str, Any]) -> None:
        if not self.lost.is_set():
            await self._send(write_message(answer))

    def _take(self, message: object, *, size: int = 0) -> None:
        """A message as it came, and how many bytes it had. Raises `ValueError` for what is none."""
        fields = cast("dict[str, Any]", message) if isinstance(message, dict) else {}
        if fields.get("jsonrpc") != "2.0":
            raise ValueError("no JSON-RPC message")
        method, params = fields.get("method"), fields.get("params")
        if not isinstance(method, str):
            self._take_answer(fields)
        elif "id" in fields:
            if self._asked is not None:
                self._asked.take(fields, only_one(question.asker for question in self._pending.values()))
        else:
            self._take_notice(method, cast("dict[str, Any]", params) if isinstance(params, dict) else {}, size)

    def _take_answer(self, fields: dict[str, Any]) -> None:
        result, error = fields.get("result"), fields.get("error")
        question = self._find(fields.get("id"))
        if isinstance(result, dict):
            if question is not None:  # else nobody waits any longer
                question.answer(cast("dict[str, Any]", result))
        elif isinstance(error, dict):
            if question is not None:
                question.fail(read_error(cast("dict[str, Any]", error)))
        elif question is not None:
            question.fail(Lost("Its answer is neither a result nor an error.", is_final=False))
        else:
            raise ValueError("neither result nor error")

    def _take_notice(self, method: str, params: dict[str, Any], size: int) -> None:
        if method == PROGRESS:
            if (question := self._find(params.get("progressToken"))) is not None and question.on_notice is None:
                question.notice(method, params, size=size)
        elif method == CANCELLED:
            # A server that names one of our own requests ends the stream of notifications that it asked for.
            if (question := self._find(params.get("requestId"))) is not None and question.on_notice is not None:
                question.answer({})
            elif self._asked is not None:
                self._asked.cancel(params)
        elif (question := self._find(_subscription(params))) is not None and question.on_notice is not None:
            question.notice(method, params)
        elif method == LOG:
            self._take_log(params, size)
        else:
            self.on_notice(method, params)

    def _take_log(self, params: dict[str, Any], size: int) -> None:
        asker = only_one(question.asker for question in self._pending.values() if question.on_notice is None)
        for question in reversed(self._pending.values()):
            if question.asker is asker and question.on_notice is None:
                question.notice(LOG, params, size=size)
                break

    def _find(self, id: object) -> Question | None:
        """The request of this id; some servers give a number back as a text."""
        if isinstance(id, str) and id.isdecimal() and len(id) < 19:
            id = int(id)
        # 7.0 is 7, also as a key; True is not 1.
        return self._pending.get(cast("int", id)) if isinstance(id, int | float) and not isinstance(id, bool) else None


def _subscription(params: Mapping[str, Any]) -> object:
    meta = params.get("_meta")
    return cast("dict[str, Any]", meta).get(SUBSCRIPTION_ID) if isinstance(meta, dict) else None
