"""From what groups and replicas know of themselves to what is told: status, statistics. Asks nobody but for `probe`."""

import anyio

from pool.balance.member import Health
from pool.group import Group
from pool.recycling import memory_of_group
from pool.replica import Replica
from pool.status import GroupStats, ReplicaState, ReplicaStats, ReplicaStatus
from pool.tally import Tally
from pool.wire.failures import Lost, Refusal
from stoa.errors import StoaError

__all__ = ["describe", "group_stats", "probe", "state_of", "sum_of"]


def state_of(group: Group, replica: Replica) -> tuple[ReplicaState, str]:
    """How it is, and why it is not healthy."""
    if not replica.is_ready:
        return _away(replica)
    health = _health(group, replica)
    if health.state == "ejected":
        return "ejected", health.reason
    if (odd := group.odd.get(replica.name)) is not None:
        return "degraded", odd
    return health.state, health.reason or replica.reason


def _away(replica: Replica) -> tuple[ReplicaState, str]:
    if replica.phase in ("starting", "restarting", "ready"):
        return "starting", str(replica.error) if replica.error is not None else ""
    if replica.phase == "closed":
        return "stopped", "The pool is closed."
    if replica.phase == "idle":
        return "stopped", replica.reason or "Nobody has needed it yet."
    return "stopped", str(replica.error) if replica.error is not None else ""


async def probe(group: Group, *, within_seconds: float) -> tuple[ReplicaStatus, ...]:
    """Every replica, after starting what has not been started, and asking a small question of what is up."""
    group.want(len(group.replicas))
    with anyio.move_on_after(group.start_seconds):
        while any(replica.is_coming for replica in group.replicas):
            await group.changed.wait()
    found: dict[str, ReplicaStatus] = {}

    async def look(replica: Replica) -> None:
        found[replica.name] = await _ask(group, replica, within_seconds)

    replicas = tuple(group.replicas)
    async with anyio.create_task_group() as tasks:
        for replica in replicas:
            tasks.start_soon(look, replica)
    return tuple(found[replica.name] for replica in replicas)


async def _ask(group: Group, replica: Replica, within_seconds: float) -> ReplicaStatus:
    connection, clock = replica.connection, group.workshop.clock
    if connection is None:
        return describe(group, replica)
    started = clock.monotonic()
    try:
        with anyio.fail_after(within_seconds):
            await connection.ping()
    except TimeoutError:
        trouble = f"It did not answer a probe within {within_seconds:g} seconds."
    except (StoaError, Lost, Refusal) as error:
        trouble = str(error)
    else:
        return describe(group, replica, latency_seconds=clock.monotonic() - started)
    return describe(group, replica, trouble=trouble)


def describe(
    group: Group, replica: Replica, *, latency_seconds: float | None = None, trouble: str = ""
) -> ReplicaStatus:
    state, reason = state_of(group, replica)
    if trouble and state == "healthy":
        state, reason = "degraded", trouble
    connection = replica.connection
    return ReplicaStatus(
        server=group.spec.name,
        replica=replica.name,
        state=state,
        era=None if connection is None else "modern" if connection.is_modern else "legacy",
        protocol=connection.protocol if connection is not None else None,
        version=connection.server_version if connection is not None else None,
        latency_seconds=latency_seconds,
        in_flight=group.slots.balancer.in_flight(replica.name),
        calls=replica.tally.calls,
        failures=replica.tally.failed,
        reason=reason,
    )


def sum_of(group: Group) -> Tally:
    """What all replicas counted, those that are gone included."""
    total = Tally()
    total.merge(group.gone)
    for replica in group.every:
        total.merge(replica.tally)
        for traffic in replica.traffic:
            total.carried(traffic)
    return total


def group_stats(group: Group, *, is_offer_known: bool, with_memory: bool = True) -> GroupStats:
    total = sum_of(group)
    return GroupStats(
        server=group.spec.name,
        strategy=group.spec.policy.strategy,
        in_flight=group.slots.in_flight,
        waiting=group.slots.waiting,
        waited=group.counts.waited,
        refused=group.counts.refused,
        retries=group.counts.retries,
        hedges=group.counts.hedges,
        hedges_won=group.counts.hedges_won,
        calls=total.calls,
        failures=total.failed,
        p50_seconds=total.latency.quantile(0.5),
        p95_seconds=total.latency.quantile(0.95),
        p99_seconds=total.latency.quantile(0.99),
        sent_messages=total.sent_messages,
        sent_bytes=total.sent_bytes,
        received_messages=total.received_messages,
        received_bytes=total.received_bytes,
        is_offer_known=is_offer_known,
        replicas=tuple(_replica_stats(group, replica, with_memory=with_memory) for replica in group.replicas),
    )


def _replica_stats(group: Group, replica: Replica, *, with_memory: bool) -> ReplicaStats:
    state, reason = state_of(group, replica)
    health, tally, life, connection = _health(group, replica), replica.tally, replica.life, replica.connection
    pid = connection.pid if connection is not None and with_memory else None
    return ReplicaStats(
        replica=replica.name,
        state=state,
        reason=reason,
        is_spare=replica.is_spare,
        in_flight=group.slots.balancer.in_flight(replica.name),
        max_in_flight=group.spec.max_in_flight,
        calls=tally.calls,
        answered=tally.ok,
        failures=tally.failed,
        cancelled=tally.cancelled,
        not_sent=tally.not_sent,
        ejections=health.ejections,
        ewma_seconds=health.ewma_seconds,
        p50_seconds=tally.latency.quantile(0.5),
        p95_seconds=tally.latency.quantile(0.95),
        p99_seconds=tally.latency.quantile(0.99),
        success_rate=health.success_rate,
        age_seconds=group.workshop.clock.monotonic() - life.born_at if life is not None else None,
        memory_bytes=memory_of_group(pid) if pid is not None else None,
        connects=tally.connects,
        reconnects=tally.reconnects,
        recycled=tally.recycled,
        starts_failed=tally.starts_failed,
        probes_ok=tally.probes_ok,
        probes_failed=tally.probes_failed,
    )


def _health(group: Group, replica: Replica) -> Health:
    return group.slots.balancer.health(replica.name, group.workshop.clock.monotonic())
