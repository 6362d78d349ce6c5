"""What the event log takes and gives in a second, on SQLite and on PostgreSQL, beside simpler ways to keep events.

`python -m benchmarks.bench_eventlog [--json] [--rounds N] [--seconds N] [--store sqlite|postgres] [--read-events N]
[--sync-ms N]`

Appending: callers that each append to a stream of their own with the version they expect, and wait until the events
are durable. Beside it stand one INSERT in one transaction for each event, and the recorders of the `eventsourcing`
library. All take turns in each round, each on a database of its own; ratios are of medians over the rounds. Schemas
are checked, checksums made, `synchronous` is FULL and `synchronous_commit` on: the benchmark looks, and verifies the
chain of everything that it wrote. `--sync-ms` makes each sync of SQLite's files last so much longer, as on a slower
disk (`benchmarks.slow_sync`).

Reading: a log of `--read-events` events from the first to the last, data and metadata parsed. Following: how long after
the acknowledgement an event has reached a follower, in this process and in another; and what an idle follower costs.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import psutil
import uvloop

from benchmarks.cpu import cpu_seconds
from benchmarks.event_writers import (
    ORDER_PLACED,
    Load,
    LogWriter,
    Writer,
    Written,
    one_insert_postgres,
    one_insert_sqlite,
    payload,
    rival_postgres,
    rival_sqlite,
)
from benchmarks.report import Report, Row
from benchmarks.slow_sync import begin_again_slowly, sync_milliseconds
from eventlog.event import Metadata, NewEvent, StreamId
from eventlog.keeping.verify import verify
from eventlog.log import EventLog
from eventlog.open import open_log
from eventlog.schemas import TypeRegistry
from eventlog.sqlite.database import SqliteDatabase
from stoa.settings import Settings
from tests.fakes.postgres import Cluster, fresh_database, open_cluster

__all__ = ["Place", "measure"]

OURS, ONE, RIVAL = "log", "one insert a transaction", "eventsourcing recorder"
PACKAGES = ("asyncpg", "eventsourcing", "orjson", "jsonschema-rs", "psycopg")


@dataclass(frozen=True, slots=True)
class Case:
    """`least`: events per second to reach, by store."""

    load: Load
    least: dict[str, float]


CASES = (
    Case(Load(256, 10), {"sqlite": 50_000, "postgres": 40_000}),
    Case(Load(32, 100), {"sqlite": 80_000, "postgres": 80_000}),
    Case(Load(1_000, 1), {"sqlite": 25_000, "postgres": 25_000}),
)
TIMES_THE_RIVAL = 8
MOST_P99_MS = 80
LEAST_READ = 100_000
MOST_LAG_MS = {
    ("sqlite", "here"): 20,
    ("postgres", "here"): 20,
    ("sqlite", "another"): 100,
    ("postgres", "another"): 20,
}
MOST_IDLE_SHARE = 0.01
FOLLOWED = 400
"""Events whose way to a follower is timed."""


class Place:
    """A fresh database for each who asks, of one kind."""

    def __init__(self, store: str, folder: Path, server: Cluster | None) -> None:
        self.store = store
        self._folder = folder
        self._server = server
        self._databases = ExitStack()
        self._made = 0

    def close(self) -> None:
        self._databases.close()

    def _database(self) -> str:
        assert self._server is not None
        return self._databases.enter_context(fresh_database(self._server))

    def _next(self) -> Path:
        self._made += 1
        folder = self._folder / f"{self.store}-{self._made}"
        folder.mkdir()
        return folder

    def settings(self) -> Settings:
        values = {"STOA_HOME": str(self._next())}
        if self._server is not None:
            values["STOA_DATABASE_URL"] = self._database()
        return Settings.load(values, default_home=Path(values["STOA_HOME"]))

    @asynccontextmanager
    async def writers(self) -> AsyncGenerator[dict[str, Writer]]:
        """Ours and the others, each on a database of its own. The one on our log is last."""
        async with AsyncExitStack() as stack:
            if self._server is None:
                one = await stack.enter_async_context(one_insert_sqlite(self._next()))
                rival = await stack.enter_async_context(rival_sqlite(self._next()))
            else:
                one = await stack.enter_async_context(one_insert_postgres(self._database()))
                rival = await stack.enter_async_context(rival_postgres(self._database()))
            log = await stack.enter_async_context(open_log(self.settings(), types=TypeRegistry([ORDER_PLACED])))
            await check_durable(log)
            yield {ONE: one, RIVAL: rival, OURS: LogWriter(log)}
            report = await verify(log)
            assert not report.problems, report.problems[:3]

    def server_cpu(self) -> float:
        """Processor seconds of the database's own processes, 0 for SQLite."""
        if self._server is None:
            return 0.0
        main = psutil.Process(self._server.pid)
        return sum(cpu_seconds(each.pid) for each in [main, *main.children(recursive=True)])


async def check_durable(log: EventLog) -> None:
    """What is measured survives a crash of the machine, as far as the disk keeps its word."""
    if log.database.dialect == "postgres":
        assert (await log.database.fetch("SHOW synchronous_commit"))[0][0] == "on"
        assert (await log.database.fetch("SHOW fsync"))[0][0] == "on"
    else:
        assert isinstance(log.database, SqliteDatabase)
        full = await log.database.transact(lambda writer: writer.execute("PRAGMA synchronous").fetchone()[0])
        assert full == 2, "SQLite syncs its log at each commit"


async def appending(place: Place, *, rounds: int, seconds: float) -> AsyncIterator[Row]:
    found: dict[tuple[Load, str], list[Written]] = {}
    server: dict[Load, list[float]] = {}
    for _ in range(rounds):
        async with place.writers() as writers:
            for case in CASES:
                for name, writer in writers.items():
                    gc.collect()
                    before = place.server_cpu()
                    written = await writer.write(case.load, seconds)
                    found.setdefault((case.load, name), []).append(written)
                    if name == OURS:
                        spent = (place.server_cpu() - before) / written.events * 1e6
                        server.setdefault(case.load, []).append(spent)
    for case in CASES:
        name = f"{place.store}, append {case.load}"
        ours = found[case.load, OURS]
        speed = median(each.per_second for each in ours)
        lows = [each.per_second for each in ours]
        yield Row(
            name,
            "events/s",
            "1/s",
            speed,
            target=case.least[place.store],
            low=min(lows),
            high=max(lows),
            more_is_better=True,
        )
        for rival in (ONE, RIVAL):
            theirs = median(each.per_second for each in found[case.load, rival])
            target = TIMES_THE_RIVAL if rival == RIVAL and case.load.batch == 10 else None
            yield Row(name, f"x {rival}", "1/s", theirs, rival, speed / theirs, target, more_is_better=True)
        yield Row(name, "p50", "ms", median(_cut(each.latencies, 50) for each in ours) * 1e3)
        p99 = median(_cut(each.latencies, 99) for each in ours) * 1e3
        yield Row(name, "p99", "ms", p99, target=MOST_P99_MS if case.load.batch == 1 else None)
        yield Row(name, "client CPU", "us/event", median(each.cpu_seconds / each.events for each in ours) * 1e6)
        yield Row(name, "server CPU", "us/event", median(server[case.load]))


async def reading(place: Place, events: int) -> AsyncIterator[Row]:
    settings = place.settings()
    async with open_log(settings, types=TypeRegistry([ORDER_PLACED])) as log:
        await fill(log, events)
        speeds, peaks = list[float](), list[int]()
        for _ in range(3):
            gc.collect()
            started, read = time.perf_counter(), 0
            after, grown = 0, 0
            first = _resident()
            while page := await log.read_all(after, limit=1_000):
                for event in page:
                    read += bool(event.data) and bool(event.metadata)
                after = page[-1].position
                if read % 100_000 < 1_000:
                    grown = max(grown, _resident() - first)
            assert read == events, f"{read} of {events} events were read"
            speeds.append(events / (time.perf_counter() - started))
            peaks.append(grown)
    name = f"{place.store}, read {events:,}"
    yield Row(name, "events/s", "1/s", median(speeds), target=LEAST_READ, more_is_better=True)
    yield Row(name, "memory grown by", "MB", max(peaks[1:]) / 2**20, target=16)


async def fill(log: EventLog, events: int) -> None:
    metadata = Metadata(correlation_id="fill", principal="bench")

    async def caller(each: int) -> None:
        for first in range(each * 500, events, 32 * 500):
            batch = [NewEvent("order.placed", payload(n), metadata) for n in range(first, min(first + 500, events))]
            await log.append_to(StreamId("bench", f"order-{first // 500}"), batch)

    await asyncio.gather(*(caller(each) for each in range(32)))


async def following(place: Place) -> AsyncIterator[Row]:
    settings = place.settings()
    name = f"{place.store}, follow"
    async with open_log(settings, types=TypeRegistry([ORDER_PLACED])) as log:
        seen: dict[int, int] = {}

        async def follow() -> None:
            async with aclosing(log.follow(0)) as pages:
                async for events in pages:
                    now = time.monotonic_ns()
                    seen.update((event.position, now) for event in events)
                    if len(seen) == FOLLOWED:
                        return

        here = asyncio.create_task(follow())
        acked = await _paced(log)
        await here
        lags = [max(0, seen[position] - at) / 1e6 for position, at in acked.items()]
        yield _lag(name, "here", place.store, lags)
        environ = os.environ | {"STOA_HOME": str(settings.home)}
        if settings.database_url is not None:
            environ["STOA_DATABASE_URL"] = settings.database_url.get_secret_value()
        command = [sys.executable, "-m", "benchmarks.event_follower"]
        child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environ)
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        acked = await _paced(log)
        told: dict[int, int] = {}
        while len(told) < len(acked):
            position, at = map(int, (await child.stdout.readline()).split())
            told[position] = at
        yield _lag(name, "another", place.store, [max(0, told[p] - at) / 1e6 for p, at in acked.items()])
        before = cpu_seconds(child.pid)
        await asyncio.sleep(5)
        yield Row(name, "idle follower", "CPU share", (cpu_seconds(child.pid) - before) / 5, target=MOST_IDLE_SHARE)
        child.kill()
        await child.wait()


async def _paced(log: EventLog) -> dict[int, int]:
    """Single events, some 100 in a second: when each was acknowledged, by position."""
    acked: dict[int, int] = {}
    for number in range(FOLLOWED):
        done = await log.append_to(StreamId("bench", "order-paced"), [NewEvent("order.placed", payload(number))])
        acked[done.position] = time.monotonic_ns()
        await asyncio.sleep(0.01)
    return acked


def _lag(name: str, where: str, store: str, lags: Sequence[float]) -> Row:
    process = "in process" if where == "here" else "another process"
    return Row(name, f"p95, {process}", "ms", _cut(lags, 95), target=MOST_LAG_MS[store, where])


def _cut(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]


def _resident() -> int:
    return psutil.Process().memory_info().rss


async def measure(place: Place, *, rounds: int, seconds: float, read_events: int) -> Sequence[Row]:
    rows = [row async for row in appending(place, rounds=rounds, seconds=seconds)]
    rows += [row async for row in reading(place, read_events)]
    return rows + [row async for row in following(place)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of appending")
    parser.add_argument("--store", choices=["sqlite", "postgres"], help="only this one")
    parser.add_argument("--read-events", type=int, default=2_000_000)
    parser.add_argument("--sync-ms", type=int, default=0, help="how much longer a sync is to last; SQLite, on Linux")
    options = parser.parse_args()
    if options.sync_ms and not sync_milliseconds():
        if options.store != "sqlite":
            parser.error("--sync-ms is for --store sqlite")
        begin_again_slowly(options.sync_ms, Path(tempfile.mkdtemp()), "benchmarks.bench_eventlog")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="stoa-bench-") as folder:
        for store in ("sqlite", "postgres"):
            if options.store in (None, store):
                rows += _run(_measured(store, Path(folder), options))
    report = Report("bench_eventlog", tuple(rows), seed=0, packages=PACKAGES)
    print(json.dumps(report.document(), indent=1) if options.json else report.table())


def _run(work: Coroutine[None, None, Sequence[Row]]) -> Sequence[Row]:
    """On the event loop and with the settings of the collector that our servers have (`kit.serve`)."""
    gc.collect()
    gc.freeze()
    return uvloop.run(work)


async def _measured(store: str, folder: Path, options: argparse.Namespace) -> Sequence[Row]:
    with open_cluster() if store == "postgres" else nullcontext() as server:
        place = Place(store, folder, server)
        try:
            return await measure(place, rounds=options.rounds, seconds=options.seconds, read_events=options.read_events)
        finally:
            place.close()


if __name__ == "__main__":
    main()
