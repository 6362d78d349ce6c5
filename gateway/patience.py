"""How long a call may take when its server can ask the user something meanwhile: people are slower than deadlines."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Self

import anyio

from pool.wire.failures import Refusal
from stoa.errors import StoaError, Unavailable

__all__ = ["LONGEST_SECONDS", "Patience"]

LONGEST_SECONDS: Final = 3600.0
"""What a call with all its questions may take."""


INVALID_REQUEST: Final = -32600


class Patience:
    """A deadline that stands still while a question is open. Use as a context around the call.

    A question that is not answered within `answer_seconds` ends the call, which the server is told.
    """

    def __init__(self, seconds: float, *, answer_seconds: float) -> None:
        self.seconds = seconds
        self._answer_seconds = answer_seconds
        self._unanswered = False
        self._open: set[anyio.CancelScope] = set()
        self._until = anyio.current_time() + LONGEST_SECONDS
        self.scope = anyio.CancelScope(deadline=anyio.current_time() + seconds)

    def __repr__(self) -> str:
        return f"<Patience: {len(self._open)} open questions>"

    def __enter__(self) -> Self:
        self.scope.__enter__()
        return self

    def __exit__(self, *error: object) -> bool:
        self._unanswered = bool(self._open)
        for question in self._open:
            question.cancel()  # the call is over: nobody wants the answer any more
        return bool(self.scope.__exit__(*error))  # pyright: ignore[reportArgumentType]  # the three that `with` gives

    @property
    def is_over(self) -> bool:
        return self.scope.cancelled_caught

    @contextmanager
    def asking(self) -> Generator[None]:
        """While somebody is being asked, in whichever task. Raises `Refusal` when the call ends meanwhile."""
        with anyio.CancelScope() as question:
            self._open.add(question)
            self._move(self._answer_seconds)
            try:
                yield
                return
            finally:
                self._open.discard(question)
                if not self._open:
                    self._move(self.seconds)
        raise Refusal(INVALID_REQUEST, "The call that this belongs to is over.")

    def unanswered(self) -> StoaError | None:
        """Why the time was over, if that was for want of an answer."""
        if not self._unanswered:
            return None
        return Unavailable(
            f"The server's question was not answered within {self._answer_seconds:g} seconds; the call was given up.",
            hint="Call again.",
        )

    def _move(self, seconds: float) -> None:
        self.scope.deadline = min(self._until, anyio.current_time() + seconds)
