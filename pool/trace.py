"""The last decisions of a pool: which replica got a request, why, what the others scored, and what came of it.

Written with every attempt, read seldom: a record keeps the decision as it is, and text is made when somebody reads.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from pool.tally import Outcome

__all__ = ["Attempt", "Kind", "Trace", "TraceRing", "Traced"]

KEEP: Final = 1000

Kind = Literal["first", "retry", "hedge"]
"""Why an attempt was made: the request itself, again after a loss, or beside a slow one."""

Scores = tuple[tuple[str, float | None, str], ...]


class Traced(Protocol):
    """What the trace shows of a decision: `pool.balance.balancer.Decision`."""

    @property
    def member(self) -> str: ...
    @property
    def strategy(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def scores(self) -> Scores: ...


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt, as it is kept. `wrong` is filled when it ended badly."""

    when: datetime
    server: str
    what: str
    decision: Traced
    kind: Kind
    number: int
    tenant: str
    waited_seconds: float
    outcome: Outcome | None = None
    seconds: float = 0.0
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """One attempt, for reading. `scores` are (replica, score or None, remark), lower is better; `outcome` is None
    while the attempt runs. `what` is `tools/call search_documents`; `tenant` is the caller's."""

    when: datetime
    server: str
    what: str
    replica: str
    strategy: str
    why: str
    scores: Scores
    kind: Kind
    attempt: int
    tenant: str
    waited_seconds: float
    outcome: Outcome | None
    seconds: float
    wrong: str


class TraceRing:
    """Bounded: the oldest record makes room for the newest."""

    def __init__(self, *, keep: int = KEEP) -> None:
        self._ring: deque[Attempt] = deque(maxlen=keep)

    def __repr__(self) -> str:
        return f"<TraceRing {len(self._ring)}/{self._ring.maxlen}>"

    def add(self, attempt: Attempt) -> None:
        self._ring.append(attempt)

    def last(self, most: int) -> tuple[Trace, ...]:
        """The newest `most`, the oldest of them first."""
        return tuple(reversed([_read(attempt) for attempt in self._newest(most)]))

    def _newest(self, most: int) -> Iterator[Attempt]:
        for count, attempt in enumerate(reversed(self._ring)):
            if count >= most:
                return
            yield attempt


def _read(attempt: Attempt) -> Trace:
    decision = attempt.decision
    return Trace(
        when=attempt.when,
        server=attempt.server,
        what=attempt.what,
        replica=decision.member,
        strategy=decision.strategy,
        why=decision.why,
        scores=decision.scores,
        kind=attempt.kind,
        attempt=attempt.number,
        tenant=attempt.tenant,
        waited_seconds=attempt.waited_seconds,
        outcome=attempt.outcome,
        seconds=attempt.seconds,
        wrong=attempt.wrong,
    )
