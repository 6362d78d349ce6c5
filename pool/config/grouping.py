"""A pool's settings and its members into the description of a group. Pure."""

from collections.abc import Sequence

from pool.config.entry import Entry
from pool.config.pools import PoolSection
from pool.spec import GroupSpec, LoginSpec

__all__ = ["as_group"]


def as_group(name: str, settings: PoolSection, members: Sequence[tuple[Entry, LoginSpec | None]]) -> GroupSpec:
    """The group. It is trusted when the file says so, else when all of its members are servers of our own."""
    trusted = all(entry.is_ours for entry, _ in members) if settings.trusted is None else settings.trusted
    names = settings.members or [name]
    return GroupSpec(
        name=name,
        members=tuple(entry.spec(trusted=trusted, login=login) for entry, login in members),
        replicas=settings.replicas,
        max_in_flight=settings.max_in_flight,
        max_waiting=settings.max_waiting,
        acquire_timeout_seconds=settings.acquire_timeout_seconds,
        call_timeout_seconds=settings.call_timeout_seconds,
        start_timeout_seconds=settings.start_timeout_seconds,
        stop_grace_seconds=settings.stop_grace_seconds,
        trusted=trusted,
        weights=tuple(settings.weights.get(member, 1.0) for member in names) if settings.weights else (),
        tiers=tuple(settings.tiers.get(member, 0) for member in names) if settings.tiers else (),
        policy=settings.policy(),
        idle_timeout_seconds=settings.idle_timeout_seconds,
        max_age_seconds=settings.max_age_seconds,
        max_calls=settings.max_calls,
        max_memory_mb=settings.max_memory_mb,
        spares=settings.spares,
        probe_interval_seconds=settings.probe_interval_seconds,
        probe_timeout_seconds=settings.probe_timeout_seconds,
        affinity=settings.affinity,
    )
