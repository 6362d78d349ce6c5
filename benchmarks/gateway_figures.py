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
    """One case in one round: one caller, then sixteen."""

    one: Window
    some: Window

    @property
    def p50_ms(self) -> float:
        return percentile(self.one.latencies, 50) * 1e3

    @property
    def cpu_us(self) -> float:
        return self.some.server_cpu_us


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
    """`taken` holds one round after the other for each case; the direct call has two for each, before and after."""
    pairs = list(zip(taken[DIRECT][::2], taken[DIRECT][1::2], strict=True))
    found: list[Row] = []
    for case, rounds in taken.items():
        found += [_middle(case, metric, unit, [read(each) for each in rounds]) for metric, unit, read in FIGURES]
        used = [each.cpu_us for each in rounds]
        if case == DIRECT:
            found.append(_middle(case, "CPU at 16", "µs/call", used))
            continue
        bare = [mean((before.cpu_us, after.cpu_us)) for before, after in pairs]
        target = MOST_TIMES_DIRECT if case.startswith("ours") and HANDSHAKE not in case else None
        found.append(_times(case, "CPU at 16", used, bare, rival=DIRECT, target=target))
        if target is not None:
            p50 = [mean((before.p50_ms, after.p50_ms)) for before, after in pairs]
            added = [each.p50_ms - less for each, less in zip(rounds, p50, strict=True)]
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


def _times(
    case: str, metric: str, used: Sequence[float], bare: Sequence[float], *, rival: str, target: float | None
) -> Row:
    ratios = [mine / its for mine, its in zip(used, bare, strict=True)]
    return Row(
        case,
        metric,
        "µs/call",
        median(used),
        rival=rival,
        ratio=median(ratios),
        target=target,
        low=min(ratios),
        high=max(ratios),
    )
