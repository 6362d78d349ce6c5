"""The outbox: rows and events together or not at all, and each event in the log once, whoever dies where."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from eventlog.database import Database, Statement
from eventlog.event import NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.migrations.step import Migration
from eventlog.open import open_log, open_memory
from eventlog.outbox import TABLE, DatabaseOutbox, OutboxRelay, OutboxRow, first_of, insertion, row_of
from eventlog.postgres.store import open_postgres
from eventlog.schemas import EventType, TypeRegistry
from eventlog.sqlite.database import open_database
from eventlog.sqlite.opening import Opening
from stoa.clock import SystemClock
from stoa.errors import BadInput, Conflict, Unavailable
from stoa.resilience.backoff import Backoff
from stoa.settings import Settings

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHOP = Migration(
    1, "shop", ("CREATE TABLE shop_order (id TEXT PRIMARY KEY, total {integer} NOT NULL)", *TABLE["sqlite"])
)
SOON = Backoff(first_seconds=0.01, most_seconds=0.05, floor_seconds=0.01)


def shop(path: Path | None) -> Opening:
    return Opening(path, 0x53686F70, (SHOP,), busy_seconds=30)


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        async with open_database(shop(None)) as database:
            yield database
    else:
        async with open_postgres(request.getfixturevalue("postgres_url"), clock=SystemClock()) as store:
            orders = "CREATE TABLE shop_order (id TEXT PRIMARY KEY, total BIGINT NOT NULL)"
            await store.database.write(*map(Statement, (orders, *TABLE["postgres"])))
            yield store.database


@pytest.fixture
async def log() -> AsyncIterator[EventLog]:
    paid = EventType("order.paid", schemas={1: {"type": "object", "required": ["total"]}})
    async with open_memory(TypeRegistry([paid])) as log:
        yield log


def row(number: int, stream: str = "order-1", type: str = "order.placed") -> OutboxRow:
    return row_of(StreamId("acme", stream), NewEvent(type, {"number": number}), now=NOW)


async def put(database: Database, *rows: OutboxRow) -> None:
    await database.write(insertion(rows))


async def numbers(log: EventLog, stream: str = "order-1") -> Sequence[int]:
    return [event.data["number"] for event in await log.read_stream(StreamId("acme", stream))]


async def left(database: Database) -> Sequence[tuple[object, ...]]:
    return [tuple(each) for each in await database.fetch("SELECT data, refused FROM outbox ORDER BY seq")]


async def test_rows_go_to_the_log_with_their_own_ids_and_in_their_order(database: Database, log: EventLog) -> None:
    rows = [row(number, f"order-{number % 2}") for number in range(10)]
    await put(database, *rows)
    assert await OutboxRelay(DatabaseOutbox(database), log).once() == 10
    assert await left(database) == []
    assert [event.data["number"] for event in await log.read_all()] == list(range(10))
    assert await numbers(log, "order-0") == [0, 2, 4, 6, 8]
    assert await numbers(log, "order-1") == [1, 3, 5, 7, 9]
    assert {event.event_id for event in await log.read_all()} == {each.event_id for each in rows}
    assert {event.occurred_at for event in await log.read_all()} == {NOW}


@pytest.mark.parametrize(
    ("streams", "first"), [("", ""), ("a", "a"), ("aaa", "aaa"), ("abc", "abc"), ("aabba", "aabb"), ("aba", "ab")]
)
def test_a_call_ends_where_a_stream_would_begin_again(streams: str, first: str) -> None:
    rows = [row(number, f"order-{stream}") for number, stream in enumerate(streams)]
    assert first_of(rows) == rows[: len(first)]


async def test_more_than_a_batch_goes_too(database: Database, log: EventLog) -> None:
    await put(database, *(row(number) for number in range(350)))
    assert await OutboxRelay(DatabaseOutbox(database), log).once() == 350
    assert await numbers(log) == list(range(350))


async def test_what_is_undone_with_its_rows_is_never_told(database: Database, log: EventLog) -> None:
    order = Statement("INSERT INTO shop_order VALUES ('1', 7)")
    nothing = Statement("UPDATE shop_order SET total = 8 WHERE id = 'none'", must_change=1)
    with pytest.raises(Conflict):
        await database.write(order, insertion([row(1)]), nothing)
    assert await OutboxRelay(DatabaseOutbox(database), log).once() == 0
    assert (await log.head()).position == 0


async def test_rows_of_which_some_are_in_the_log_already_keep_their_order(database: Database, log: EventLog) -> None:
    rows = [row(number) for number in range(5)]
    await log.append_to(rows[0].stream_id, [each.event() for each in rows[:2]])  # another relay, which then died
    await put(database, *rows)
    assert await OutboxRelay(DatabaseOutbox(database), log).once() == 5
    assert await numbers(log) == [0, 1, 2, 3, 4]


async def test_an_event_that_the_log_refuses_holds_up_its_own_stream_only_until_it_is_known_better(
    database: Database, log: EventLog
) -> None:
    await put(database, row(0), row(1, type="order.paid"), row(2), row(3, "order-2"))
    outbox = DatabaseOutbox(database)
    relay = OutboxRelay(outbox, log)
    assert await relay.once() == 2
    assert await numbers(log) == [0]
    assert await numbers(log, "order-2") == [3]
    ((data, refused), (_, waits)) = await left(database)
    assert (data, waits) == ('{"number":1}', None)
    assert "total" in str(refused)
    await put(database, row(4), row(5, "order-2"))
    assert await relay.once() == 1
    await outbox.forgive()
    async with open_memory() as newer:  # which knows the type otherwise
        assert await OutboxRelay(outbox, newer).once() == 3
        assert await numbers(newer) == [1, 2, 4]


async def test_the_relay_works_when_it_is_woken_and_waits_for_a_log_that_is_away(
    database: Database, log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(DatabaseOutbox):
        asked = 0

        async def waiting(self, limit: int) -> Sequence[OutboxRow]:
            self.asked += 1
            if self.asked in range(2, 5):
                raise Unavailable("The disk is busy.")
            found = await super().waiting(limit)
            if self.asked > 5:
                emptied.set()
            return found

    emptied = anyio.Event()
    relay = OutboxRelay(Away(database), log, backoff=SOON, poll_seconds=1000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay.run)
        await anyio.wait_all_tasks_blocked()
        await put(database, row(1))
        relay.wake()
        with anyio.fail_after(10):
            await emptied.wait()
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert await numbers(log) == [1]
    assert [each.message for each in caplog.records] == [
        "events wait in the outbox: The disk is busy.",
        "the log takes events again",
    ]


def test_what_is_about_a_person_does_not_wait_in_clear() -> None:
    with pytest.raises(BadInput):
        row_of(StreamId("acme", "order-1"), NewEvent("order.placed", {}, subject="ada"), now=NOW)


# Processes that die, and several at once.

PROGRAM = """
import os, signal, sys
from pathlib import Path
import anyio
from eventlog.database import Statement
from eventlog.open import open_log
from eventlog.outbox import DatabaseOutbox, OutboxRelay, insertion
from eventlog.sqlite.database import open_database
from stoa.settings import Settings
from tests.eventlog.test_outbox import row, shop

def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

async def write(database, first, count, streams):
    for number in range(first, first + count):
        order = Statement("INSERT INTO shop_order VALUES ($1, $2)", [(str(number), number)])
        await database.write(order, insertion([row(number, f"order-{number % streams}")]))

async def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    async with open_database(shop(folder / "shop.db")) as database:
        outbox = DatabaseOutbox(database)
        match what:
            case "committed":
                await write(database, 0, 7, 2)
                die()
            case "appended":
                await write(database, 0, 7, 2)
                async with open_log(Settings(home=folder)) as log:
                    await OutboxRelay(outbox, log, at=lambda name: die() if name == "appended" else None).once()
            case "write":
                await write(database, 0, int(sys.argv[3]), 3)
            case "relay":
                async with open_log(Settings(home=folder)) as log:
                    relay = OutboxRelay(outbox, log)
                    while True:
                        if await relay.once():
                            print("x", flush=True)
                        else:
                            await anyio.sleep(0.005)

anyio.run(main)
"""


async def start(*arguments: str) -> "subprocess.Popen[bytes]":
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    return await anyio.to_thread.run_sync(
        lambda: subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE
        )
    )


async def end(process: "subprocess.Popen[bytes]") -> int:
    return await anyio.to_thread.run_sync(process.wait)


@pytest.mark.parametrize("moment", ["committed", "appended"])
async def test_a_process_killed_between_two_steps_leaves_each_event_once(tmp_path: Path, moment: str) -> None:
    with anyio.fail_after(60):
        process = await start(moment, str(tmp_path))
        assert await end(process) == -signal.SIGKILL
        assert process.stdout is not None
        process.stdout.close()
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(open_database(shop(tmp_path / "shop.db")))
            log = await stack.enter_async_context(open_log(Settings.model_validate({"home": tmp_path})))
            assert len(await left(database)) == 7
            assert (await log.head()).position == (0 if moment == "committed" else 2)
            assert await OutboxRelay(DatabaseOutbox(database), log).once() == 7
            assert await left(database) == []
            assert await numbers(log, "order-0") == [0, 2, 4, 6]
            assert await numbers(log, "order-1") == [1, 3, 5]
            assert (await log.head()).position == 7
            orders = await database.fetch("SELECT count(*) FROM shop_order")
            assert orders[0][0] == 7


@pytest.mark.slow
async def test_several_relays_at_once_of_which_some_are_killed_keep_every_event_once_and_in_order(
    tmp_path: Path,
) -> None:
    count = 300
    with anyio.fail_after(100):
        relays = [await start("relay", str(tmp_path)) for _ in range(3)]
        writer = await start("write", str(tmp_path), str(count))
        try:
            for victim in relays[:2]:
                assert victim.stdout is not None
                output = victim.stdout
                await anyio.to_thread.run_sync(output.readline)  # it has brought something
                victim.kill()
            assert await end(writer) == 0
            async with open_log(Settings.model_validate({"home": tmp_path})) as log:
                position = 0
                while position < count:
                    await log.grown(position)
                    position = (await log.head()).position
        finally:
            for process in (*relays, writer):
                process.kill()
                await end(process)
                assert process.stdout is not None
                process.stdout.close()
        async with (
            open_database(shop(tmp_path / "shop.db")) as database,
            open_log(Settings.model_validate({"home": tmp_path})) as log,
        ):
            await OutboxRelay(DatabaseOutbox(database), log).once()
            assert await left(database) == []
            assert (await log.head()).position == count
            for stream in range(3):
                assert await numbers(log, f"order-{stream}") == list(range(stream, count, 3))
