"""How many processes may be starting at once: a start costs a second or more of processor time, and twenty servers
that all start at the same moment are ready later than the same twenty one after the other."""

import random
from types import TracebackType
from typing import Final, Self

import anyio

__all__ = ["MAX_STARTS", "Permit", "SpawnGate"]

MAX_STARTS: Final = 4
HOLD_SECONDS: Final = 5.0
"""A start that takes longer than this waits for something; it no longer keeps the next one from beginning."""
JITTER_SECONDS: Final = 0.1


class SpawnGate:
    """One for a pool. Who finds it open goes through at once; who had to wait starts a moment apart from the others."""

    def __init__(self, *, max_starts: int = MAX_STARTS, rng: random.Random, hold_seconds: float = HOLD_SECONDS) -> None:
        self._max_starts = max_starts
        self._room = anyio.Semaphore(max_starts)
        self._rng = rng
        self.hold_seconds = hold_seconds

    def __repr__(self) -> str:
        return f"<SpawnGate {self._max_starts - self._room.value}/{self._max_starts} starting>"

    async def enter(self) -> "Permit":
        try:
            self._room.acquire_nowait()
        except anyio.WouldBlock:
            await self._room.acquire()
            permit = Permit(self)
            try:
                await anyio.sleep(self._rng.uniform(0.0, JITTER_SECONDS))
            except BaseException:
                permit.release()
                raise
            return permit
        return Permit(self)

    def leave(self) -> None:
        self._room.release()


class Permit:
    """Leave to start one process, given back when it is ready or failed, or by `expire` when it takes too long."""

    def __init__(self, gate: SpawnGate) -> None:
        self._gate = gate
        self._is_over = anyio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        if not self._is_over.is_set():
            self._is_over.set()
            self._gate.leave()

    async def expire(self) -> None:
        """To be run beside the start."""
        with anyio.move_on_after(self._gate.hold_seconds):
            await self._is_over.wait()
        self.release()
