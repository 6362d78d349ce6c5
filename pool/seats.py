"""Which replicas a group has by its spec, and which of those that are there can stay when the spec changes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol, TypeVar

from pool.spec import GroupSpec, MemberSpec, StdioSpec

__all__ = ["Changes", "Seat", "compare", "place", "seats"]


@dataclass(frozen=True, slots=True)
class Seat:
    """One replica to have. A spare has a tier behind all others: it is used when they are away or full."""

    member: MemberSpec
    weight: float
    tier: int
    is_spare: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new configuration changed, as names of servers."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class _Seated(Protocol):
    @property
    def member(self) -> MemberSpec: ...
    @property
    def is_spare(self) -> bool: ...


S = TypeVar("S", bound=_Seated)


def seats(spec: GroupSpec) -> list[Seat]:
    """Every member `replicas` times, in the order in which they are started: lower tiers first. Spares are processes:
    a connection over the network is up in no time, and needs none."""
    found = [
        Seat(member, spec.weight(number), spec.tier(number))
        for number, member in enumerate(spec.members)
        for _ in range(spec.replicas)
    ]
    found.sort(key=lambda seat: seat.tier)
    local = [seat for seat in found if isinstance(seat.member, StdioSpec)]
    last = max((seat.tier for seat in found), default=0) + 1
    for _, seat in zip(range(spec.spares), cycle(local), strict=False):
        found.append(Seat(seat.member, 1.0, last, is_spare=True))
    return found


def place(wanted: Sequence[Seat], present: Sequence[S]) -> tuple[Mapping[int, S], tuple[int, ...], tuple[S, ...]]:
    """Who of those present takes which wanted seat (by number), which seats are new, and who has to go."""
    left = list(present)
    kept: dict[int, S] = {}
    for number, seat in enumerate(wanted):
        for one in left:
            if one.member == seat.member and one.is_spare == seat.is_spare:
                kept[number] = one
                left.remove(one)
                break
    fresh = tuple(number for number in range(len(wanted)) if number not in kept)
    return kept, fresh, tuple(left)


def compare(old: Mapping[str, GroupSpec], new: Mapping[str, GroupSpec]) -> Changes:
    return Changes(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(name for name in new if name in old and new[name] != old[name]),
    )
