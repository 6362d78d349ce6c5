"""From windows to figures: medians over the rounds, ratios within each round, and what is held to which target."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from benchmarks.clients import HANDSHAKE
from benchmarks.load import Window, percentile
from benchmarks.report import Row

__all__ = ["DIRECT", "Round", "rows"]

DIRECT = "direct"
MOST_TIMES_DIRECT = 3.0
MOST_ADDED_MS = 1.0

BESIDE: tuple[tuple[str, str, float | None], ...] = (
    ("ours, http upstream", "fastmcp create_proxy(url)", 20.0),
    ("ours, http upstream", "fastmcp create_proxy(client)", 4.0),
    (f"ours, stdio upstream, {HANDSHAKE}", f"mcp-proxy, stdio upstream, {HANDSHAKE}", 1.5),
    (f"ours, http upstream, {HANDSHAKE}", f"fastmcp create_proxy(url), {HANDSHAKE}", None),
    (f"ours, http upstream, {HANDSHAKE}", f"fastmcp create_proxy(client), {HANDSHAKE}", None),
)
"""Ours and theirs, called by the same client in the same era, and how many times cheaper ours has to be."""


@dataclass(frozen=True, slots=True)
class Round:
    """One case in one round: one caller, then sixteen; with the direct calls right before and after it."""

    one: Window
    some: Window
    beside: "tuple[Round, ...]" = ()

    @property
    def p50_ms(self) -> float:
        return percentile(self.one.latencies, 50) * 1e3

    @property
    def cpu_us(self) -> float:
        return self.some.server_cpu_us

    @property
    def times_direct(self) -> float:
        return self.cpu_us / mean(each.cpu_us for each in self.beside)

    @property
    def added_ms(self) -> float:
        return self.p50_ms - mean(each.p50_ms for each in self.beside)


FIGURES: tuple[tuple[str, str, Callable[[Round], float]], ...] = (
    ("p50 at 1", "ms", lambda round: round.p50_ms),
    ("p99 at 1", "ms", lambda round: percentile(round.one.latencies, 99) * 1e3),
    ("p50 at 16", "ms", lambda round: percentile(round.some.latencies, 50) * 1e3),
    ("p99 at 16", "ms", lambda round: percentile(round.some.latencies, 99) * 1e3),
    ("at 1", "calls/s", lambda round: round.one.calls_per_second),
    ("at 16", "calls/s", lambda round: round.some.calls_per_second),
    ("CPU at 1", "µs/call", lambda round: round.one.server_cpu_us),
)


def rows(taken: Mapping[str, Sequence[Round]]) -> tuple[Row, ...]:
    """`taken` holds one round after the other for each case."""
    found: list[Row] = []
    for case, rounds in taken.items():
        found += [_middle(case, metric, unit, [read(each) for each in rounds]) for metric, unit, read in FIGURES]
        if case == DIRECT:
            found.append(_middle(case, "CPU at 16", "µs/call", [each.cpu_us for each in rounds]))
            continue
        is_held = case.startswith("ours") and HANDSHAKE not in case
        found.append(_times_direct(case, rounds, target=MOST_TIMES_DIRECT if is_held else None))
        if is_held:
            added = [each.added_ms for each in rounds]
            found.append(_middle(case, "added p50 at 1", "ms", added, target=MOST_ADDED_MS))
    return (*found, *_beside(taken))


def _beside(taken: Mapping[str, Sequence[Round]]) -> list[Row]:
    found: list[Row] = []
    for ours, theirs, target in BESIDE:
        if ours in taken and theirs in taken:
            times = [its.cpu_us / mine.cpu_us for mine, its in zip(taken[ours], taken[theirs], strict=True)]
            name = f"{ours} beside {theirs}"
            found.append(_middle(name, "CPU, times cheaper", "x", times, target=target, more_is_better=True))
    return found


def _middle(
    case: str,
    metric: str,
    unit: str,
    values: Sequence[float],
    *,
    target: float | None = None,
    more_is_better: bool = False,
) -> Row:
    return Row(
        case,
        metric,
        unit,
        median(values),
        target=target,
        low=min(values),
        high=max(values),
        more_is_better=more_is_better,
    )


def _times_direct(case: str, rounds: Sequence[Round], *, target: float | None) -> Row:
    times = [each.times_direct for each in rounds]
    return Row(
        case,
        "CPU at 16",
        "µs/call",
        median(each.cpu_us for each in rounds),
        rival=DIRECT,
        ratio=median(times),
        target=target,
        low=min(times),
        high=max(times),
    )
