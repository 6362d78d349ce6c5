"""What a benchmark hands out: rows, where and with what they were measured, as a table or as one JSON document."""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

__all__ = ["Report", "Row", "machine", "versions"]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ratio` is `value` divided by the rival's; `target` is the most that `ratio`, or without a rival
    `value`, may be; where more is better, the least.

    `low` and `high` are the extremes over the rounds, of what the target speaks of.
    """

    case: str
    metric: str
    unit: str
    value: float
    rival: str | None = None
    ratio: float | None = None
    target: float | None = None
    low: float | None = None
    high: float | None = None
    more_is_better: bool = False

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; none without a target."""
        if self.target is None:
            return None
        reached = self.value if self.ratio is None else self.ratio
        return reached >= self.target if self.more_is_better else reached <= self.target

    def document(self) -> dict[str, object]:
        """As JSON: what does not apply is left out."""
        all = asdict(self) | {"ok": self.ok, "more_is_better": self.more_is_better or None}
        return {name: value for name, value in all.items() if value is not None}

    def cell(self) -> str:
        told = f"{self.value:,.0f}" if abs(self.value) >= 100 else f"{self.value:.3g}"
        if self.ratio is not None:
            told += f" ({self.ratio:.{1 if self.ratio >= 1 else 2}f}x {self.rival})"
        if self.target is not None:
            told += self._spread() + f" {'ok' if self.ok else 'MISSED'}, target {self.target:g}"
        return told

    def _spread(self) -> str:
        return "" if self.low is None or self.high is None else f" [{self.low:.3g} to {self.high:.3g}]"


@dataclass(frozen=True, slots=True)
class Report:
    bench: str
    rows: tuple[Row, ...]
    seed: int
    switched_off: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def document(self) -> dict[str, object]:
        return {
            "bench": self.bench,
            "command": " ".join(["python", "-m", f"benchmarks.{self.bench}", *sys.argv[1:]]),
            "machine": machine(),
            "versions": versions(self.packages),
            "seed": self.seed,
            "switched_off": list(self.switched_off),
            "rows": [row.document() for row in self.rows],
        }

    def table(self) -> str:
        """One line a case, one column a metric; rows that compare with different rivals get lines of their own."""
        parts: list[str] = []
        for metrics in _families(self.rows):
            cases = list(dict.fromkeys(row.case for row in self.rows if row.metric in metrics))
            cells = {(row.case, row.metric): row.cell() for row in self.rows}
            units = {row.metric: row.unit for row in self.rows}
            head = ["", *(f"{metric} [{units[metric]}]" for metric in metrics)]
            parts.append(_grid([head, *([case, *(cells.get((case, m), "") for m in metrics)] for case in cases)]))
        return "\n\n".join(parts)


def _families(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Metrics that stand together in a table: those that the same cases have."""
    metrics: dict[str, list[str]] = {}
    for row in rows:
        metrics.setdefault(row.metric, []).append(row.case)
    families: dict[str, list[str]] = {}
    for metric, cases in metrics.items():
        families.setdefault(cases[0], []).append(metric)
    return [tuple(family) for family in families.values()]


def _grid(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def machine() -> dict[str, object]:
    """Where it ran. The load average tells how much else did."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "load_average": load,
        "python": platform.python_version(),
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    return {name: version(name) for name in packages}
