"""Ways to write events, each driven for a while by so many callers: the log, and what it is compared with."""

import asyncio
import itertools
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
import orjson
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore
from psycopg.conninfo import conninfo_to_dict

from eventlog.event import Metadata, NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.schemas import EventType

__all__ = [
    "ORDER_PLACED",
    "Load",
    "LogWriter",
    "Writer",
    "Written",
    "one_insert_postgres",
    "one_insert_sqlite",
    "rival_postgres",
    "rival_sqlite",
]

ORDER_PLACED = EventType(
    "order.placed",
    schemas={
        1: {
            "type": "object",
            "required": ["order_id", "customer", "amount", "lines"],
            "properties": {
                "order_id": {"type": "string", "minLength": 1},
                "customer": {"type": "string"},
                "amount": {"type": "string", "pattern": "^[0-9]+\\.[0-9]{2}$"},
                "currency": {"type": "string", "minLength": 3, "maxLength": 3},
                "lines": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["sku", "quantity"],
                        "properties": {"sku": {"type": "string"}, "quantity": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        }
    },
)


@dataclass(frozen=True, slots=True)
class Load:
    """Callers, each of whom appends `batch` events at a time to a stream of its own and waits for the answer."""

    callers: int
    batch: int

    def __str__(self) -> str:
        return f"{self.callers:,} x {self.batch}"


@dataclass(frozen=True, slots=True)
class Written:
    """`cpu_seconds` is this process's; latencies are of one append each, in seconds."""

    events: int
    seconds: float
    cpu_seconds: float
    latencies: Sequence[float]

    @property
    def per_second(self) -> float:
        return self.events / self.seconds


class Writer(Protocol):
    async def write(self, load: Load, seconds: float) -> Written: ...


def payload(number: int) -> dict[str, object]:
    """About 180 bytes of JSON."""
    return {
        "order_id": f"A-{number:08d}",
        "customer": f"customer-{number % 997}",
        "amount": "129.90",
        "currency": "EUR",
        "lines": [{"sku": "lamp-1", "quantity": 2}, {"sku": "cable-7", "quantity": 1}],
        "note": "to the back door, please",
    }


class LogWriter:
    """The log itself, with everything that it does: schema, checksums, metadata, default ids."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._runs = itertools.count()

    async def write(self, load: Load, seconds: float) -> Written:
        run, latencies = next(self._runs), list[float]()
        payloads = itertools.cycle([payload(number) for number in range(1_000)])  # made before, as whoever calls has it
        metadata = Metadata(correlation_id=f"run-{run}", principal="bench")

        async def caller(each: int, until: float) -> None:
            stream, version = StreamId("bench", f"order-{run}.{each}"), 0
            while time.perf_counter() < until:
                started = time.perf_counter()
                events = [NewEvent("order.placed", next(payloads), metadata) for _ in range(load.batch)]
                version = (await self._log.append_to(stream, events, expected=version)).version
                latencies.append(time.perf_counter() - started)

        async def everyone(until: float) -> None:
            await asyncio.gather(*(caller(each, until) for each in range(load.callers)))

        return await _timed(everyone, seconds, load, latencies)


class _Threaded:
    """Something that blocks, called from so many threads as it takes well; each stands for a share of the callers."""

    def __init__(self, insert: Callable[[str, int, int, int], None], *, threads: int) -> None:
        self._insert = insert
        self._threads = threads

    async def write(self, load: Load, seconds: float) -> Written:
        latencies, run = list[float](), uuid4().hex

        def work(each: int, until: float) -> None:
            version = 0
            while time.perf_counter() < until:
                started = time.perf_counter()
                self._insert(f"{run}{each:04d}", version, load.batch, each)
                version += load.batch
                latencies.append(time.perf_counter() - started)

        async def everyone(until: float) -> None:
            threads = [threading.Thread(target=work, args=(each, until)) for each in range(self._threads)]
            for thread in threads:
                thread.start()
            for thread in threads:
                await asyncio.to_thread(thread.join)

        return await _timed(everyone, seconds, load, latencies)


@asynccontextmanager
async def one_insert_sqlite(folder: Path) -> AsyncGenerator[Writer]:
    """One INSERT and one COMMIT for each event: WAL, synchronous=FULL, one thread (SQLite has one writer)."""
    connection = sqlite3.connect(folder / "one.db", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE event (position INTEGER PRIMARY KEY, stream TEXT, version INTEGER, type TEXT, data BLOB,"
        " UNIQUE (stream, version))"
    )

    def insert(stream: str, version: int, batch: int, _: int) -> None:
        for offset in range(batch):
            connection.execute(
                "INSERT INTO event (stream, version, type, data) VALUES (?, ?, 'order.placed', ?)",
                (stream, version + offset, orjson.dumps(payload(offset))),
            )

    try:
        yield _Threaded(insert, threads=1)
    finally:
        connection.close()


@asynccontextmanager
async def one_insert_postgres(url: str) -> AsyncGenerator[Writer]:
    """One INSERT in a transaction of its own for each event, over 32 connections."""
    make: Any = asyncpg.create_pool  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - as above
    pool = await make(url, min_size=32, max_size=32)
    await pool.execute(
        "DROP TABLE IF EXISTS one; CREATE TABLE one (position bigserial PRIMARY KEY, stream text, version bigint,"
        " type text, data text, UNIQUE (stream, version))"
    )

    class Many:
        async def write(self, load: Load, seconds: float) -> Written:
            latencies, run = list[float](), uuid4().hex

            async def caller(each: int, until: float) -> None:
                version = 0
                while time.perf_counter() < until:
                    started = time.perf_counter()
                    for _ in range(load.batch):
                        data = orjson.dumps(payload(version)).decode()
                        await pool.execute(
                            "INSERT INTO one (stream, version, type, data) VALUES ($1, $2, 'order.placed', $3)",
                            f"{run}{each}",
                            version,
                            data,
                        )
                        version += 1
                    latencies.append(time.perf_counter() - started)

            async def everyone(until: float) -> None:
                await asyncio.gather(*(caller(each, until) for each in range(min(load.callers, 64))))

            return await _timed(everyone, seconds, load, latencies)

    try:
        yield Many()
    finally:
        await pool.close()


@asynccontextmanager
async def rival_sqlite(folder: Path) -> AsyncGenerator[Writer]:
    """The recorder of the `eventsourcing` library, which is what it stores with, below its mappers and aggregates."""
    store = SQLiteDatastore(db_name=str(folder / "rival.db"))
    recorder = SQLiteApplicationRecorder(store)
    recorder.create_table()
    with store.transaction(commit=False) as cursor:
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone()[0] == 2, "the rival is to be as durable as we are"
    try:
        yield _Threaded(_recorded(recorder), threads=1)
    finally:
        store.close()


@asynccontextmanager
async def rival_postgres(url: str) -> AsyncGenerator[Writer]:
    """The same for PostgreSQL, from eight threads with a connection each."""
    at = conninfo_to_dict(url)
    store = PostgresDatastore(
        dbname=str(at["dbname"]),
        host=str(at["host"]),
        port="5432",
        user="postgres",
        password="none",
        pool_size=8,
        max_overflow=0,
    )
    recorder = PostgresApplicationRecorder(store, events_table_name="rival_events")
    recorder.create_table()
    try:
        yield _Threaded(_recorded(recorder), threads=8)
    finally:
        store.close()


def _recorded(
    recorder: SQLiteApplicationRecorder | PostgresApplicationRecorder,
) -> Callable[[str, int, int, int], None]:
    ids = [uuid4() for _ in range(64)]
    versions = [itertools.count() for _ in ids]

    def insert(_stream: str, _version: int, batch: int, each: int) -> None:
        recorder.insert_events(
            [
                StoredEvent(ids[each], next(versions[each]), "orders:Placed", orjson.dumps(payload(offset)))
                for offset in range(batch)
            ]
        )

    return insert


async def _timed(
    everyone: Callable[[float], Awaitable[None]],
    seconds: float,
    load: Load,
    latencies: list[float],
) -> Written:
    cpu, started = time.process_time(), time.perf_counter()
    await everyone(started + seconds)
    taken = time.perf_counter() - started
    return Written(len(latencies) * load.batch, taken, time.process_time() - cpu, latencies)
