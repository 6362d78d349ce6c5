"""Which replica gets the next call. Pure: no await, no clock; chance is handed in."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Load", "least_outstanding"]


@dataclass(frozen=True, slots=True)
class Load:
    """What a strategy may know of one replica that is up."""

    in_flight: int
    max_in_flight: int

    @property
    def has_room(self) -> bool:
        return self.in_flight < self.max_in_flight


def least_outstanding(loads: Sequence[Load], rng: random.Random) -> int | None:
    """The index of a replica with the fewest calls in flight; ties by lot; None when none has room.

    Full scan: groups have at most a few dozen replicas, and the scan is exact where sampling two is not.
    """
    free = [index for index, load in enumerate(loads) if load.has_room]
    if not free:
        return None
    fewest = min(loads[index].in_flight for index in free)
    return rng.choice([index for index in free if loads[index].in_flight == fewest])
