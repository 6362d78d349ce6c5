"""What `stoa servers NAME` says beside the line of each replica: its counts, its last words on stderr, the last
decisions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from host.output import printable
from pool.pool import Pool
from pool.status import GroupStats, ReplicaStats
from pool.trace import Trace

__all__ = ["Details", "as_json", "look_closely", "show_details"]

DECISIONS: Final = 10
STDERR_LINES: Final = 20


@dataclass(frozen=True, slots=True)
class Details:
    stats: GroupStats
    stderr: Mapping[str, Sequence[str]]
    trace: Sequence[Trace]


def look_closely(pool: Pool, server: str) -> Details | None:
    """Asks nobody: what the pool knows by now."""
    stats = pool.stats().group(server)
    if stats is None:
        return None
    trace = [each for each in pool.trace(1000) if each.server == server]
    return Details(stats, pool.stderr(server), trace[-DECISIONS:])


def as_json(details: Details) -> dict[str, JsonValue]:
    stats = details.stats
    return {
        "strategy": stats.strategy,
        "calls": stats.calls,
        "failures": stats.failures,
        "retries": stats.retries,
        "hedges": stats.hedges,
        "waiting": stats.waiting,
        "waited": stats.waited,
        "refused": stats.refused,
        "replicas": [_counts(replica, details.stderr.get(replica.replica, ())) for replica in stats.replicas],
        "decisions": [_decision(trace) for trace in details.trace],
    }


def show_details(console: Console, details: Details, *, told: Collection[str] = ()) -> None:
    """`told`: reasons that stand on the screen already, and are not said again."""
    stats = details.stats
    console.print()
    console.print(Text(f"{stats.server}: {stats.strategy}, {_sentence(stats)}"), soft_wrap=True)
    for replica in stats.replicas:
        console.print(Text.assemble((replica.replica, "bold"), f"  {', '.join(_facts(replica, told))}"), soft_wrap=True)
        for line in list(details.stderr.get(replica.replica, ()))[-STDERR_LINES:]:
            console.print(Text(f"    {printable(line)}", style="dim"), soft_wrap=True)
    for trace in details.trace:
        console.print(Text(f"{trace.when:%H:%M:%S}  {_told(trace)}", style="dim"), soft_wrap=True)


def _sentence(stats: GroupStats) -> str:
    parts = [_calls(stats.calls), f"{stats.failures} failed"]
    parts += [f"{count} {what}" for count, what in ((stats.retries, "sent again"), (stats.hedges, "hedged")) if count]
    parts += [f"{stats.waiting} waiting"] if stats.waiting else []
    return ", ".join(parts)


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


def _facts(replica: ReplicaStats, told: Collection[str]) -> Iterator[str]:
    yield replica.state + (f" ({replica.reason})" if replica.reason and replica.reason not in told else "")
    if replica.is_spare:
        yield "spare"
    yield f"{replica.in_flight} of {replica.max_in_flight} in flight"
    yield _calls(replica.calls)
    for count, one, more in (
        (replica.failures, "failed", "failed"),
        (replica.ejections, "ejection", "ejections"),
        (replica.reconnects, "reconnect", "reconnects"),
        (replica.recycled, "time replaced", "times replaced"),
        (replica.starts_failed, "start failed", "starts failed"),
        (replica.probes_failed, "probe failed", "probes failed"),
    ):
        if count:
            yield f"{count} {one if count == 1 else more}"
    if replica.p50_seconds is not None and replica.p99_seconds is not None:
        yield f"p50 {replica.p50_seconds * 1000:.1f} ms, p99 {replica.p99_seconds * 1000:.1f} ms"
    if replica.age_seconds is not None:
        yield f"up for {replica.age_seconds:.0f} s"
    if replica.memory_bytes is not None:
        yield f"{replica.memory_bytes / 2**20:.0f} MB"


def _counts(replica: ReplicaStats, stderr: Sequence[str]) -> dict[str, JsonValue]:
    return {
        "replica": replica.replica,
        "state": replica.state,
        "reason": replica.reason,
        "is_spare": replica.is_spare,
        "in_flight": replica.in_flight,
        "max_in_flight": replica.max_in_flight,
        "calls": replica.calls,
        "failures": replica.failures,
        "ejections": replica.ejections,
        "ewma_seconds": replica.ewma_seconds,
        "p50_seconds": replica.p50_seconds,
        "p95_seconds": replica.p95_seconds,
        "p99_seconds": replica.p99_seconds,
        "success_rate": replica.success_rate,
        "age_seconds": replica.age_seconds,
        "memory_bytes": replica.memory_bytes,
        "reconnects": replica.reconnects,
        "recycled": replica.recycled,
        "starts_failed": replica.starts_failed,
        "probes_failed": replica.probes_failed,
        "stderr": list(stderr),
    }


def _decision(trace: Trace) -> dict[str, JsonValue]:
    return {
        "when": trace.when.isoformat(),
        "what": trace.what,
        "replica": trace.replica,
        "strategy": trace.strategy,
        "why": trace.why,
        "scores": [[name, score, remark] for name, score, remark in trace.scores],
        "kind": trace.kind,
        "outcome": trace.outcome,
        "seconds": trace.seconds,
        "wrong": trace.wrong,
    }


def _told(trace: Trace) -> str:
    outcome = "running" if trace.outcome is None else f"{trace.outcome} in {trace.seconds * 1000:.1f} ms"
    wrong = f" ({trace.wrong})" if trace.wrong else ""
    return printable(f"{trace.what} on {trace.replica}: {trace.why}; {outcome}{wrong}")
