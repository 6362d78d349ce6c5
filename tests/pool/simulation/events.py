"""The clock of the simulation: what happens next, in order of time."""

import heapq
from collections.abc import Callable

__all__ = ["Events"]


class Events:
    """Time jumps from one event to the next; two at the same time happen in the order they were planned."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._planned, (self.now + seconds, self._count, what))

    def step(self) -> None:
        self.now, _, what = heapq.heappop(self._planned)
        what()
