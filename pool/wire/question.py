"""One request in flight: what has come for it so far, handed on in order by the task that waits for its answer."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio

from pool.wire.asker import Asker
from stoa.tools import Progress

__all__ = ["PROGRESS", "OnNotice", "Question"]

_log = logging.getLogger(__name__)

OnNotice = Callable[[str, Mapping[str, Any]], None]

PROGRESS: Final = "notifications/progress"
MAX_NEWS: Final = 1000
MAX_NEWS_BYTES: Final = 2**22
"""Notifications that wait for a slow listener; beyond either the oldest are dropped."""


class Question:
    """Waited for by the task that asked. Notifications are told by that task, too: in order, and before the answer.

    `on_notice` takes the place of progress and asker where the answer is a stream of notifications (`listen`).
    """

    __slots__ = (
        "_news",
        "_news_bytes",
        "_waiter",
        "asker",
        "elsewhere",
        "error",
        "id",
        "on_notice",
        "progress",
        "result",
    )

    def __init__(self, id: int, *, asker: Asker, progress: Progress | None, on_notice: OnNotice | None) -> None:
        self.id = id
        self.asker = asker
        self.progress = progress
        self.on_notice = on_notice
        self.result: dict[str, Any] | None = None
        self.error: Exception | None = None
        self.elsewhere: anyio.CancelScope | None = None
        """What waits for the answer where it is expected; left when it comes elsewhere, or not any more."""
        self._news: deque[tuple[str, Mapping[str, Any], int]] | None = None
        self._news_bytes = 0
        self._waiter: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        state = "answered" if self.result is not None else "failed" if self.error is not None else "waiting"
        return f"<Question {self.id} {state}>"

    def answer(self, result: dict[str, Any]) -> None:
        if self.result is None and self.error is None:  # the first answer counts
            self.result = result
            self._wake()

    def fail(self, error: Exception) -> None:
        if self.result is None and self.error is None:
            self.error = error
            self._wake()

    def notice(self, method: str, params: Mapping[str, Any], *, size: int = 0) -> None:
        """A notification that belongs to this request, and how many bytes it had."""
        if self.on_notice is not None:
            self.on_notice(method, params)
            return
        if (self.progress if method == PROGRESS else self.asker.notice) is None:
            return
        if self._news is None:
            self._news = deque()
        self._news.append((method, params, size))
        self._news_bytes += size
        while len(self._news) > MAX_NEWS or (self._news_bytes > MAX_NEWS_BYTES and len(self._news) > 1):
            self._news_bytes -= self._news.popleft()[2]
        self._wake()

    async def answered(self) -> dict[str, Any]:
        """The raw result. Raises what `fail` was given."""
        while True:
            while self._news:
                method, params, size = self._news.popleft()
                self._news_bytes -= size
                await self.tell(method, params)
            if self.error is not None:
                raise self.error
            if self.result is not None:
                return self.result
            # Not an anyio.Event: this is the one wait of every call.
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def tell(self, method: str, params: Mapping[str, Any]) -> None:
        """Hand a notification on. A listener that fails costs its own news only."""
        try:
            if method != PROGRESS:
                if self.asker.notice is not None:
                    await self.asker.notice(method, params)
            elif self.progress is not None and (told := _progress(params)) is not None:
                await self.progress(*told)
        except Exception:  # noqa: BLE001 - whatever a listener is, its failure is its own
            _log.exception("a listener failed at %s", method)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _progress(params: Mapping[str, Any]) -> tuple[float, float | None, str | None] | None:
    done, total, message = params.get("progress"), params.get("total"), params.get("message")
    if isinstance(done, bool) or not isinstance(done, int | float):
        return None
    is_total = isinstance(total, int | float) and not isinstance(total, bool)
    return done, total if is_total else None, message if isinstance(message, str) else None
