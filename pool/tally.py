"""Counting what a replica did: calls, failures, and how long answers took, in buckets. No clock, no I/O."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

__all__ = ["BUCKETS", "Histogram", "Outcome", "Tally"]

Outcome = Literal["ok", "failed", "cancelled", "not_sent"]

BUCKETS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds in seconds: from a tool in this process to one that asks a language model."""


class Histogram:
    """Counts by bucket; the last one is everything above the largest bound."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total_seconds = 0.0

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}>"

    @property
    def count(self) -> int:
        return sum(self.counts)

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total_seconds += seconds

    def merge(self, other: "Histogram") -> None:
        for index, count in enumerate(other.counts):
            self.counts[index] += count
        self.total_seconds += other.total_seconds

    def cumulated(self) -> tuple[int, ...]:
        """How many took at most each bound, then all: the form Prometheus wants."""
        sums: list[int] = []
        so_far = 0
        for count in self.counts:
            so_far += count
            sums.append(so_far)
        return tuple(sums)

    def quantile(self, share: float) -> float | None:
        """Seconds, interpolated inside the bucket; None before the first call. Above the largest bound: that bound."""
        return _quantile(self.counts, share)


def _quantile(counts: Sequence[int], share: float) -> float | None:
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for index, count in enumerate(counts[:-1]):
        if count and below + count >= wanted:
            low = BUCKETS[index - 1] if index else 0.0
            return low + (BUCKETS[index] - low) * (wanted - below) / count
        below += count
    return BUCKETS[-1]


class Carried(Protocol):
    """What went over one connection: `pool.wire.link.Traffic`."""

    @property
    def sent_messages(self) -> int: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def received_messages(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...


@dataclass(slots=True)
class Tally:
    """Counters of one replica over all its connections. `calls` counts attempts that are over, by outcome.

    Messages and bytes are those of connections that have ended; one that lives keeps its own count.
    """

    ok: int = 0
    failed: int = 0
    cancelled: int = 0
    not_sent: int = 0
    connects: int = 0
    reconnects: int = 0
    recycled: int = 0
    starts_failed: int = 0
    probes_ok: int = 0
    probes_failed: int = 0
    sent_messages: int = 0
    sent_bytes: int = 0
    received_messages: int = 0
    received_bytes: int = 0
    latency: Histogram = field(default_factory=Histogram)

    @property
    def calls(self) -> int:
        return self.ok + self.failed + self.cancelled

    def count(self, outcome: Outcome, seconds: float) -> None:
        """One attempt is over. Only answers count into the latency: what was given up says nothing of the server."""
        if outcome == "ok":
            self.ok += 1
            self.latency.add(seconds)
        elif outcome == "failed":
            self.failed += 1
        elif outcome == "cancelled":
            self.cancelled += 1
        else:
            self.not_sent += 1

    def carried(self, traffic: Carried) -> None:
        """What went over a connection that has ended."""
        self.sent_messages += traffic.sent_messages
        self.sent_bytes += traffic.sent_bytes
        self.received_messages += traffic.received_messages
        self.received_bytes += traffic.received_bytes

    def merge(self, other: "Tally") -> None:
        """Take over what another counted: a replica that is gone stays in the sums of its group."""
        for name in _COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency.merge(other.latency)


_COUNTERS: Final = (
    "ok", "failed", "cancelled", "not_sent", "connects", "reconnects", "recycled", "starts_failed", "probes_ok",
    "probes_failed", "sent_messages", "sent_bytes", "received_messages", "received_bytes",
)  # fmt: skip
