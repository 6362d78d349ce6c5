"""The rules of projections, pure: when one is built anew, which generation is worked on, what becomes of a failure."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from eventlog.event import Event
from eventlog.projections.projection import Projection
from eventlog.projections.tables import Generation, Parked, Shelf
from stoa.resilience.backoff import Backoff

__all__ = ["Build", "Policy", "build_due", "can_swap", "failed_again", "failed_first", "is_halted", "workable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`batch` events are applied in one write, of `batch_bytes` at most as far as sizes can be foreseen; a sink's
    position is written every `sink_batch` events. An event is tried `max_attempts` times before it waits for a person.
    With `max_parked` streams parked, the projection halts: then it is rather the projection that is wrong. One tenant
    counts for a tenth of that at most, so that it does not stop the projection for the others; with ten times as many
    parked, whoever's they are, it halts all the same."""

    batch: int = 500
    batch_bytes: int = 16 * 2**20
    sink_batch: int = 100
    lease_seconds: float = 30.0
    poll_seconds: float = 1.0
    max_attempts: int = 5
    backoff: Backoff = field(default_factory=lambda: Backoff(first_seconds=0.5, factor=4.0, most_seconds=60.0))
    max_parked: int = 1_000
    clear_documents: int = 2_000


@dataclass(frozen=True, slots=True)
class Build:
    """A new generation is due; `instead_of` is one that was being built for an older version."""

    reason: str
    instead_of: Generation | None = None


def build_due(shelf: Shelf, projection: Projection) -> Build | None:
    serving, building = shelf.serving, shelf.building
    if serving is None or serving.version > projection.version:
        return None
    if building is not None and building.version >= projection.version:
        return None  # it is being built already
    is_older = serving.version < projection.version
    reason = f"version {projection.version} instead of {serving.version}" if is_older else serving.stale
    return Build(reason, building) if reason else None


def workable(shelf: Shelf, projection: Projection) -> Sequence[Generation]:
    """Those that this process has the code for. Where versions stand beside each other (while a new one is rolled
    out), each process works on its own."""
    return [one for one in shelf.live if one.version == projection.version]


def can_swap(
    serving: Generation,
    building: Generation,
    *,
    does_serving_fit: bool,
    is_at_the_end: bool,
    parked: Sequence[Parked],
) -> bool:
    """Whether the new generation may serve: nobody sees the documents go back, and what can still be mended by itself
    has been. What serves another log than this one is no measure: then the new one has to be at the end of the log."""
    is_as_far = building.position >= serving.position if does_serving_fit else is_at_the_end
    return is_as_far and all(one.is_dead for one in parked)


def is_halted(parked: Sequence[Parked], policy: Policy) -> bool:
    most = policy.max_parked
    if not most <= len(parked) < 10 * most:
        return len(parked) >= most
    of_tenants = Counter(one.tenant for one in parked).values()
    return sum(min(count, max(1, most // 10)) for count in of_tenants) >= most


def failed_first(
    generation: int, event: Event, reason: str, *, now_us: int, policy: Policy, rng: random.Random
) -> Parked:
    return failed_again(
        Parked(
            generation,
            event.stream.tenant,
            event.stream.name,
            event.version,
            event.position,
            event.type,
            0,
            now_us,
            reason,
            now_us,
            now_us,
        ),
        reason,
        now_us=now_us,
        policy=policy,
        rng=rng,
    )


def failed_again(parked: Parked, reason: str, *, now_us: int, policy: Policy, rng: random.Random) -> Parked:
    """Try again later, or, after the last attempt, wait for a person."""
    attempts = parked.attempts + 1
    is_over = parked.is_dead or attempts >= policy.max_attempts
    retry_us = None if is_over else now_us + int(policy.backoff.delay(attempts, rng) * 1_000_000)
    return replace(parked, attempts=attempts, retry_us=retry_us, reason=reason, last_us=now_us)
