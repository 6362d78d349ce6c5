"""Pages of the log in the order of positions, forwards and backwards, all of it or what a filter lets through.

A filter may match one event in a million. So the log is looked through in windows of positions, which grow while they
are quick: no single query takes long, and whoever follows learns how far the looking has come.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast, final

from eventlog.database import Database, Row
from eventlog.event import EVERYTHING, Event, Filter, microseconds
from eventlog.filters import Conditions, conditions
from eventlog.reading import DATA, MAX_PAGE_BYTES, Reading

__all__ = ["Page", "Scanning"]

SMALLEST_WINDOW: Final = 2_000
LARGEST_WINDOW: Final = 250_000
QUICK_SECONDS: Final = 0.02
SLOW_SECONDS: Final = 0.1
WORTH_SEARCHING: Final = 20_000
"""Positions: a range of time is looked up in larger ranges of positions only."""


@dataclass(frozen=True, slots=True)
class Page:
    """`reached`: forwards, there is no other matching event up to this position; backwards, from it on."""

    events: Sequence[Event]
    reached: int


@final
class Scanning:
    def __init__(self, database: Database, reading: Reading) -> None:
        self._database = database
        self._reading = reading

    def __repr__(self) -> str:
        return f"<Scanning {self._database!r}>"

    async def forwards(self, after: int, before: int | None, filter: Filter, limit: int) -> Page:
        """Matching events between the two positions, oldest first; both ends are left out."""
        if filter == EVERYTHING and before is None:
            where = ("e.position > $1", (after,))
            rows = await self._reading.rows(*where, by="position", backwards=False, limit=limit)
            return Page(await self._reading.events(rows), _position(rows[-1]) if rows else after)
        after, before = await self._bounds(after, before, filter)
        wanted, window, rows, is_full = conditions(filter, first_mark=3), SMALLEST_WINDOW, list[Row](), False
        while after < before - 1 and not is_full:
            upper = min(before, after + window + 1)
            started = time.perf_counter()
            rows.extend(await self._select(after, upper, wanted, backwards=False, limit=limit - len(rows)))
            window = _next_window(window, time.perf_counter() - started)
            after, is_full = upper - 1, _is_full(rows, limit)
        return Page(await self._reading.events(rows), _position(rows[-1]) if is_full else after)

    async def backwards(self, after: int, before: int | None, filter: Filter, limit: int) -> Page:
        """Matching events between the two positions, newest first; both ends are left out."""
        after, before = await self._bounds(after, before, filter)
        wanted, window, rows, is_full = conditions(filter, first_mark=3), SMALLEST_WINDOW, list[Row](), False
        while after < before - 1 and not is_full:
            lower = max(after, before - window - 1)
            started = time.perf_counter()
            rows.extend(await self._select(lower, before, wanted, backwards=True, limit=limit - len(rows)))
            window = _next_window(window, time.perf_counter() - started)
            before, is_full = lower + 1, _is_full(rows, limit)
        return Page(await self._reading.events(rows), _position(rows[-1]) if is_full else before)

    async def end(self) -> int:
        """The last position of the log."""
        rows = await self._database.fetch("SELECT position FROM log WHERE id = 1")
        return cast(int, rows[0][0])

    async def last_recorded(self, until_us: int, *, low: int = 0, high: int | None = None) -> int:
        """The last position that was recorded at or before a time: time never goes back in the log."""
        high = await self.end() if high is None else high
        while low < high:
            middle = (low + high + 1) // 2
            rows = await self._database.fetch(
                "SELECT recorded_us FROM event WHERE position >= $1 AND position <= $2 ORDER BY position LIMIT 1",
                middle,
                high,
            )
            # Where all of the upper half was truncated, the answer is as good as any in it.
            if not rows or cast(int, rows[0][0]) > until_us:
                high = middle - 1
            else:
                low = middle
        return low

    async def _bounds(self, after: int, before: int | None, filter: Filter) -> tuple[int, int]:
        end = await self.end()
        before = end + 1 if before is None else min(before, end + 1)
        if before - after > WORTH_SEARCHING:
            if filter.since is not None:
                after = await self.last_recorded(microseconds(filter.since) - 1, low=after, high=before - 1)
            if filter.until is not None:
                before = 1 + await self.last_recorded(microseconds(filter.until) - 1, low=after, high=before - 1)
        return after, before

    async def _select(
        self, after: int, before: int, wanted: Conditions, *, backwards: bool, limit: int
    ) -> Sequence[Row]:
        where = f"e.position > $1 AND e.position < $2{wanted.sql}"
        values = (after, before, *wanted.values)
        return await self._reading.rows(where, values, by="position", backwards=backwards, limit=limit)


def _is_full(rows: Sequence[Row], limit: int) -> bool:
    """By number, or by bytes: what was cut has more than half of what a page may have."""
    return (
        len(rows) >= limit or sum([len(cast("bytes | None", row[DATA]) or b"") for row in rows]) > MAX_PAGE_BYTES // 2
    )


def _position(row: Row) -> int:
    return cast(int, row[0])


def _next_window(window: int, seconds: float) -> int:
    if seconds < QUICK_SECONDS:
        return min(window * 4, LARGEST_WINDOW)
    return max(window // 2, SMALLEST_WINDOW) if seconds > SLOW_SECONDS else window
