"""What every way to a server has in common: whether it is lost and why, how to ask over it, and how to leave it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from pool.wire.asker import HOST, Asker
from pool.wire.failures import Lost
from pool.wire.question import OnNotice, Question
from stoa.tools import Progress

__all__ = ["Link", "Traffic", "Wire"]


class Traffic:
    """What went over one connection: JSON-RPC messages and their bytes, without what carries them."""

    __slots__ = ("received_bytes", "received_messages", "sent_bytes", "sent_messages")

    def __init__(self) -> None:
        self.sent_messages = self.sent_bytes = self.received_messages = self.received_bytes = 0

    def __repr__(self) -> str:
        return f"<Traffic {self.sent_messages} sent, {self.received_messages} received>"

    def sent(self, count: int) -> None:
        self.sent_messages += 1
        self.sent_bytes += count

    def received(self, count: int) -> None:
        self.received_messages += 1
        self.received_bytes += count


class Link:
    """A connection's fate: `lost` is set once, and the first reason is the one that is told."""

    def __init__(self) -> None:
        self.lost = anyio.Event()
        self.reason = ""

    def lose(self, reason: str) -> None:
        """The connection is of no more use."""
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()

    def explain(self) -> str:
        """What is known about the end, for people."""
        return self.reason


class Wire(Link, ABC):
    """Raw requests and notifications to one server. `open` is entered and left by the same task; any task may ask.

    `on_notice` gets the notifications that belong to no request. `protocol` is set by whoever shakes hands.
    """

    on_notice: OnNotice
    protocol: str | None = None
    is_modern = True

    def __init__(self) -> None:
        super().__init__()
        self.on_notice = _ignore
        self.traffic = Traffic()
        self._next_id = 0

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[None]:
        """Connect on entering, close on leaving. Raises `StoaError` when there is no connection to be had."""

    async def ask(
        self,
        method: str,
        params: dict[str, Any],
        *,
        asker: Asker = HOST,
        progress: Progress | None = None,
        headers: Mapping[str, str] | None = None,
        on_notice: OnNotice | None = None,
        is_cancellable: bool = True,
    ) -> dict[str, Any]:
        """The raw result. Raises `Lost` or `Refusal`; leaving by cancellation tells the server, if it may be told.

        `params` is given away: it may be changed.
        """
        if self.lost.is_set():
            raise Lost(self.explain(), sent=False)
        self._next_id = id = self._next_id + 1
        if progress is not None:
            params["_meta"] = {**params.get("_meta", {}), "progressToken": id}
        question = Question(id, asker=asker, progress=progress, on_notice=on_notice)
        return await self._carry(question, method, params, headers=headers, is_cancellable=is_cancellable)

    @abstractmethod
    async def _carry(
        self,
        question: Question,
        method: str,
        params: dict[str, Any],
        *,
        headers: Mapping[str, str] | None,
        is_cancellable: bool,
    ) -> dict[str, Any]:
        """Send the request of a question, and bring its result."""

    @abstractmethod
    async def tell(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification. Raises `Lost`."""

    @property
    def is_session(self) -> bool:
        """Whether the server keeps a state that is tied to this connection alone."""
        return False

    @property
    def pid(self) -> int | None:
        return None


def _ignore(method: str, params: Mapping[str, Any]) -> None:
    pass
