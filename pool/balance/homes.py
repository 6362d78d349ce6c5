"""Where callers are at home: the replica that keeps a session's state for them. Pure, and bounded."""

from collections import OrderedDict
from typing import Final

__all__ = ["Homes"]

MAX_HOMES: Final = 10_000


class Homes:
    """Replicas by the callers' keys; of too many, those that have not called for longest are forgotten."""

    __slots__ = ("_homes", "_most")

    def __init__(self, *, most: int = MAX_HOMES) -> None:
        self._homes: OrderedDict[str, str] = OrderedDict()
        self._most = most

    def __repr__(self) -> str:
        return f"<Homes of {len(self._homes)} callers>"

    def find(self, key: str) -> str | None:
        home = self._homes.get(key)
        if home is not None:
            self._homes.move_to_end(key)
        return home

    def settle(self, key: str, name: str) -> None:
        self._homes[key] = name
        self._homes.move_to_end(key)
        if len(self._homes) > self._most:
            self._homes.popitem(last=False)
