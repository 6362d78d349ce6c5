"""Are the snapshots what the events add up to? Each is compared with a replay that uses none of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, cast

import orjson

from eventlog.aggregates.aggregate import Aggregate, written
from eventlog.aggregates.generic import Aggregates
from eventlog.aggregates.loading import Loaded, advance, begin
from eventlog.aggregates.snapshots import COLUMNS, JOINED, Kept, opened
from eventlog.database import Row, Statement
from eventlog.event import StreamId
from eventlog.keeping.progress import OnProgress, silent
from eventlog.log import EventLog
from stoa.errors import StoaError

__all__ = ["Checked", "SnapshotReport", "check_stream_snapshots", "verified_version", "verify_snapshots"]

PAGE: Final = 200
MOST_NAMED: Final = 1_000

S = TypeVar("S")

_NO_BOUND: Final = 2**62


@dataclass(frozen=True, slots=True)
class Checked:
    """`good`: the same as a replay. `wrong`: not, or it cannot be read. `unproven`: the events that it came from were
    truncated, and nothing older stands for them. `failed`: its events cannot be applied, so nobody can tell.
    `outdated`: of another version of the aggregate; not used any more."""

    stream: StreamId
    fold: str
    version: int
    outcome: Literal["good", "wrong", "unproven", "failed", "outdated"]
    reason: str = ""


@dataclass(slots=True)
class SnapshotReport:
    """`problems` are those that are wrong or failed, at most 1,000 of them."""

    streams: int = 0
    good: int = 0
    wrong: int = 0
    failed: int = 0
    unproven: int = 0
    outdated: int = 0
    problems: list[Checked] = field(default_factory=list[Checked])

    @property
    def is_clean(self) -> bool:
        return not self.wrong and not self.failed

    def add(self, checked: Checked) -> None:
        match checked.outcome:
            case "good":
                self.good += 1
            case "unproven":
                self.unproven += 1
            case "outdated":
                self.outdated += 1
            case "wrong":
                self.wrong += 1
            case "failed":
                self.failed += 1
        if checked.outcome in ("wrong", "failed") and len(self.problems) < MOST_NAMED:
            self.problems.append(checked)


async def verify_snapshots(
    log: EventLog,
    aggregates: Aggregates,
    *,
    tenant: str | None = None,
    repair: bool = False,
    on_progress: OnProgress = silent,
) -> SnapshotReport:
    """All snapshots of a tenant (of all tenants without one), stream by stream. What is wrong in one stream does not
    hold up the others. With `repair`, wrong ones are deleted where all events are there to replace them.
    `on_progress` counts streams."""
    report = SnapshotReport()
    last = 0
    ((count,),) = await log.database.fetch(
        "SELECT COUNT(DISTINCT n.stream) FROM snapshot n JOIN stream s ON s.pk = n.stream JOIN tenant t"
        " ON t.pk = s.tenant WHERE t.name = COALESCE($1, t.name)",
        tenant,
    )
    while True:
        rows = await log.database.fetch(
            "SELECT DISTINCT s.pk, t.name, s.name FROM snapshot n JOIN stream s ON s.pk = n.stream JOIN tenant t"
            " ON t.pk = s.tenant WHERE s.pk > $1 AND t.name = COALESCE($2, t.name) ORDER BY s.pk LIMIT $3",
            last,
            tenant,
            PAGE,
        )
        for pk, owner, name in cast("Sequence[tuple[int, str, str]]", rows):
            last = pk
            stream = StreamId(owner, name)
            aggregate = aggregates.of(stream)
            for checked in await check_stream_snapshots(log, aggregate, stream):
                report.add(checked)
                if repair and checked.outcome == "wrong":
                    await _delete(log, pk, checked)
            report.streams += 1
            on_progress(report.streams, cast(int, count))
        if len(rows) < PAGE:
            return report


async def verified_version(log: EventLog, aggregate: Aggregate[S], stream: StreamId) -> int:
    """The newest version that a good snapshot stands for, as was just found out; 0 when there is none, or when a newer
    one is wrong. Older events may be truncated: the state comes from this snapshot then."""
    checked = await check_stream_snapshots(log, aggregate, stream)
    newest = [each for each in checked if each.outcome in ("good", "wrong", "failed")][-1:]
    return newest[0].version if newest and newest[0].outcome == "good" else 0


async def check_stream_snapshots(log: EventLog, aggregate: Aggregate[S], stream: StreamId) -> Sequence[Checked]:
    """The snapshots of one stream, oldest first, in one pass over its events."""
    checked: list[Checked] = []
    loaded: Loaded[S] | None = await begin(log, aggregate, stream, with_snapshots=False)
    first_version = (await log.stream_info(stream)).first_version
    if first_version > 1:
        loaded = None  # nothing to begin with but a snapshot at or above the truncation
    for fold, version in await _present(log, stream):
        if fold != aggregate.fold_name:
            checked.append(Checked(stream, fold, version, "outdated"))
            continue
        found = await _row(log, stream, fold, version)
        if found is None:
            continue  # it went meanwhile
        kept = opened(found)
        if not isinstance(kept, Kept):
            checked.append(Checked(stream, fold, version, "wrong", kept.reason))
            continue
        if loaded is None:
            checked.append(Checked(stream, fold, version, "unproven", "the events that it came from were truncated"))
            if version >= first_version - 1:
                loaded = _from(kept)
            continue
        try:
            loaded = await advance(log, aggregate, loaded, version=version, max_events=_NO_BOUND)
            is_same = loaded.version == version and written(aggregate, loaded.state) == kept.state
        except StoaError as error:
            checked.append(Checked(stream, fold, version, "failed", error.message))
            break  # nothing later can be compared either
        reason = "" if is_same else "a replay of its events gives another state"
        checked.append(Checked(stream, fold, version, "good" if is_same else "wrong", reason))
    return checked


def _from(kept: Kept) -> Loaded[Any]:
    return Loaded(kept.stream, orjson.loads(kept.state), kept.version, kept.position, snapshot_version=kept.version)


async def _delete(log: EventLog, pk: int, wrong: Checked) -> None:
    await log.database.write(
        Statement(
            "DELETE FROM snapshot WHERE stream = $1 AND fold = $2 AND version = $3"
            " AND EXISTS (SELECT 1 FROM stream s WHERE s.pk = $1 AND s.first_version = 1)",
            [(pk, wrong.fold, wrong.version)],
        )
    )


async def _present(log: EventLog, stream: StreamId) -> Sequence[tuple[str, int]]:
    rows = await log.database.fetch(
        f"SELECT n.fold, n.version FROM {JOINED} WHERE t.name = $1 AND s.name = $2 ORDER BY n.version, n.fold",  # noqa: S608 - words of ours
        *stream,
    )
    return cast("Sequence[tuple[str, int]]", rows)


async def _row(log: EventLog, stream: StreamId, fold: str, version: int) -> Row | None:
    rows = await log.database.fetch(
        f"SELECT {COLUMNS} FROM {JOINED} WHERE t.name = $1 AND s.name = $2 AND n.fold = $3 AND n.version = $4",  # noqa: S608 - words of ours
        *stream,
        fold,
        version,
    )
    return rows[0] if rows else None
