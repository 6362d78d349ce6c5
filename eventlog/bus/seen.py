"""Which events were handled lately: what is delivered at least once is handled once, within a window. Pure."""

from collections import OrderedDict
from typing import final

__all__ = ["Seen"]


@final
class Seen:
    """Ids with the second at which they were handled; bounded by age and by number. `now` never goes back."""

    __slots__ = ("_ids", "_max_ids", "_window_seconds")

    def __init__(self, *, window_seconds: float, max_ids: int) -> None:
        self._window_seconds = window_seconds
        self._max_ids = max_ids
        self._ids: OrderedDict[str, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Seen: {len(self._ids)} ids of the last {self._window_seconds:g} s>"

    def __len__(self) -> int:
        return len(self._ids)

    def has(self, id: str, now: float) -> bool:
        self._forget(now)
        return id in self._ids

    def add(self, id: str, now: float) -> None:
        self._ids.pop(id, None)
        self._ids[id] = now
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._ids:
            id, since = next(iter(self._ids.items()))
            if len(self._ids) <= self._max_ids and now - since <= self._window_seconds:
                return
            del self._ids[id]
