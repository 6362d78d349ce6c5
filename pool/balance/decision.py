"""Which member a call goes to, and why: what a balancer gives and gets back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pool.balance.member import Member

__all__ = ["Decision", "Outcome", "Score"]

Outcome = Literal["ok", "failed", "cancelled", "not_sent"]
"""How a call ended, as far as the replica is concerned.

`ok`: it answered, be it with an error of the tool. `failed`: it did not, or not in time. `cancelled`: the caller gave
up (or another replica was faster): no failure, but a replica that let somebody wait long counts as slow. `not_sent`: it
could not be reached: a failure like any other, or a closed port would attract the calls.
"""
Score = tuple[str, float | None, str]
"""A member, what it scored (lower is better; None: it was not compared), and why it was not compared."""


@dataclass(slots=True, eq=False)
class Decision:
    """A slot on `member`, until it is finished. `why` in words. `is_probe`: the call that tries an ejected member."""

    member: str
    strategy: str
    why: str
    is_probe: bool = False
    holder: Member | None = field(default=None, repr=False)
    """The balancer's own; None once finished."""
    compared: tuple[Sequence[Member], Sequence[float]] | None = field(default=None, repr=False)
    skipped: Sequence[tuple[str, str]] = field(default=(), repr=False)

    @property
    def is_finished(self) -> bool:
        return self.holder is None

    @property
    def scores(self) -> tuple[Score, ...]:
        """What the members scored at that moment; built when somebody wants to see it."""
        found: list[Score] = []
        if self.compared is not None:
            for member, score in zip(*self.compared, strict=True):
                found.append((member.name, None, "not drawn") if math.isnan(score) else (member.name, score, ""))
        else:
            found.append((self.member, None, ""))
        found += [(name, None, note) for name, note in self.skipped]
        return tuple(found)
