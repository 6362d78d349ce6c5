"""The pool's series for Prometheus, out of what its groups counted. Made when somebody asks."""

import math
from collections.abc import Iterable, Iterator

from pool.group import Group
from pool.reporting import state_of, sum_of
from pool.tally import BUCKETS, Tally
from stoa import telemetry as names
from stoa.telemetry import Sample

__all__ = ["samples"]

OUTCOMES = ("ok", "failed", "cancelled", "not_sent")


def samples(groups: Iterable[Group]) -> Iterator[Sample]:
    for group in groups:
        yield from _of_group(group)


def _of_group(group: Group) -> Iterator[Sample]:
    server = {"server": group.spec.name}
    up = [replica for replica in group.replicas if replica.is_ready]
    in_flight = [group.slots.balancer.in_flight(replica.name) for replica in up]
    slots = group.spec.max_in_flight * len(up)
    total = sum_of(group)
    yield _gauge(names.POOL_CONNECTIONS, server, len(up))
    yield _gauge(names.POOL_HEALTHY, server, sum(state_of(group, replica)[0] == "healthy" for replica in up))
    yield _gauge(names.POOL_BUSY, server, sum(count > 0 for count in in_flight))
    yield _gauge(names.POOL_USED, server, sum(in_flight) / slots if slots else 0.0)
    yield _gauge(names.POOL_WAITING, server, group.slots.waiting)
    yield _counter(names.POOL_WAITED, server, group.counts.waited)
    yield _counter(names.POOL_REFUSED, server, group.counts.refused)
    for replica in group.replicas:
        yield from _requests({**server, "replica": replica.name}, replica.tally)
    gone = group.gone
    if gone.calls or gone.not_sent:
        yield from _requests({**server, "replica": ""}, gone)
    yield Sample(
        names.POOL_REQUEST_SECONDS,
        "histogram",
        names.POOL_HELP[names.POOL_REQUEST_SECONDS],
        server,
        total.latency.total_seconds,
        tuple(zip((*BUCKETS, math.inf), total.latency.cumulated(), strict=True)),
    )
    yield _counter(names.POOL_EXTRA, {**server, "kind": "retry"}, group.counts.retries)
    yield _counter(names.POOL_EXTRA, {**server, "kind": "hedge"}, group.counts.hedges)
    now = group.workshop.clock.monotonic()
    for replica in group.replicas:
        labels = {**server, "replica": replica.name}
        health = group.slots.balancer.health(replica.name, now)
        is_open = health.state == "ejected"
        is_half = health.until is not None and health.until <= now
        yield _gauge(names.POOL_CIRCUIT, labels, 1 if is_half else 2 if is_open else 0)
        yield _counter(names.POOL_CIRCUIT_TRIPS, labels, health.ejections)
    yield _counter(names.POOL_PROBES, {**server, "result": "ok"}, total.probes_ok)
    yield _counter(names.POOL_PROBES, {**server, "result": "failed"}, total.probes_failed)
    yield _counter(names.POOL_RECONNECTS, server, total.reconnects)
    yield _counter(names.POOL_RECYCLED, server, total.recycled)
    for direction, messages, count in (
        ("sent", total.sent_messages, total.sent_bytes),
        ("received", total.received_messages, total.received_bytes),
    ):
        yield _counter(names.POOL_MESSAGES, {**server, "direction": direction}, messages)
        yield _counter(names.POOL_BYTES, {**server, "direction": direction}, count)
    yield _counter(names.POOL_STARTS_FAILED, server, total.starts_failed)


def _requests(labels: dict[str, str], tally: Tally) -> Iterator[Sample]:
    for outcome in OUTCOMES:
        yield _counter(names.POOL_REQUESTS, {**labels, "outcome": outcome}, int(getattr(tally, outcome)))


def _gauge(name: str, labels: dict[str, str], value: float) -> Sample:
    return Sample(name, "gauge", names.POOL_HELP[name], labels, float(value))


def _counter(name: str, labels: dict[str, str], value: float) -> Sample:
    return Sample(name, "counter", names.POOL_HELP[name], labels, float(value))
