"""Full disks, limits, moved files, damage, other writers: what callers hear, and that nothing is lost or half there."""

import resource
import signal
import sqlite3
from collections.abc import Generator
from contextlib import aclosing, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from eventlog.conflict import WrongVersion
from eventlog.database import Statement
from eventlog.event import Append, Appended, NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.open import open_sqlite, serve_log
from eventlog.sqlite.opening import CHECKPOINT_PAGES, PAGE_BYTES
from stoa.errors import BadInput, Conflict, StoaError, Unavailable

ORDER = StreamId("acme", "order-1")
LARGE = NewEvent("order.placed", {"text": "x" * 20_000})
SMALL = NewEvent("order.placed", {})


async def fill(log: EventLog) -> tuple[int, StoaError]:
    """Append until that is refused: the last version that was acknowledged, and the error."""
    version = 0
    for _ in range(1000):
        try:
            version = (await log.append_to(ORDER, [LARGE] * 5, expected=version)).version
        except StoaError as error:
            return version, error
    raise AssertionError("it never filled up")


async def test_a_full_disk_refuses_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with open_sqlite(path, max_bytes=3_000_000) as store, serve_log(store) as log:
        version, error = await fill(log)
        assert isinstance(error, Unavailable)
        assert "no room" in error.message
        assert error.retry_after
        assert (await log.stream_info(ORDER)).version == version > 0
    async with open_sqlite(path) as store, serve_log(store) as log:
        assert (await log.head()).position == version
        assert len(await log.read_stream(ORDER, limit=10_000)) == version
        assert (await log.append_to(ORDER, [LARGE], expected=version)).version == version + 1


@contextmanager
def file_size_limit(limit: int) -> Generator[None]:
    """What `ulimit -f` sets. The signal that comes with it would end the process; Python ignores it by itself."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_limit_on_file_sizes_refuses_and_is_survived(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "events.db") as store, serve_log(store) as log:
        with file_size_limit(2_000_000):
            version, error = await fill(log)
        assert isinstance(error, Unavailable)
        assert (await log.stream_info(ORDER)).version == version > 0
        assert (await log.append_to(ORDER, [LARGE] * 5, expected=version)).version == version + 5
        assert [event.version for event in await log.read_stream(ORDER)] == list(range(1, version + 6))


async def test_a_file_that_may_not_be_written_refuses_appends_and_can_still_be_read(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "events.db") as store, serve_log(store) as log:
        await log.append_to(ORDER, [SMALL])
        await store.database.transact(lambda connection: None)
        store.database._writer.execute("PRAGMA query_only = ON")  # pyright: ignore[reportPrivateUsage] - root may write every file, so SQLite has to say no
        with pytest.raises(BadInput, match="cannot be opened or written"):
            await log.append_to(ORDER, [SMALL])
        assert len(await log.read_stream(ORDER)) == 1
        store.database._writer.execute("PRAGMA query_only = OFF")  # pyright: ignore[reportPrivateUsage] - as above
        assert (await log.append_to(ORDER, [SMALL])).version == 2


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_a_file_that_was_moved_away_is_noticed(tmp_path: Path, how: str) -> None:
    path = tmp_path / "events.db"
    async with open_sqlite(path) as store, serve_log(store) as log:
        await log.append_to(ORDER, [SMALL])
        path.rename(tmp_path / "elsewhere.db")
        if how == "replaced":
            path.write_bytes(b"")
        with pytest.raises(Unavailable, match="removed or replaced"):
            await log.append_to(ORDER, [SMALL])
        with pytest.raises(Unavailable, match="removed or replaced"):
            await log.read_all()
        path.unlink(missing_ok=True)
        (tmp_path / "elsewhere.db").rename(path)
        assert (await log.append_to(ORDER, [SMALL])).version == 2


async def test_who_waits_for_events_of_a_file_that_was_moved_away_is_told(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with open_sqlite(path) as store, serve_log(store) as log:
        await log.append_to(ORDER, [SMALL])
        with anyio.fail_after(10):
            async with aclosing(log.follow(0)) as pages:
                assert len(await anext(pages)) == 1
                path.rename(tmp_path / "elsewhere.db")
                with pytest.raises(Unavailable, match="removed or replaced"):
                    await anext(pages)


async def test_damage_is_told_and_not_hidden(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with open_sqlite(path) as store, serve_log(store) as log:
        await log.append_to(ORDER, [LARGE] * 20)
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // PAGE_BYTES):
            file.seek(page * PAGE_BYTES)
            file.write(b"\xff" * 100)
    with pytest.raises(BadInput, match="cannot be read") as raised:
        async with open_sqlite(path) as store, serve_log(store) as log:
            await log.read_all()
    assert "backup" in raised.value.hint


async def test_a_writer_waits_for_another_process_and_then_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with open_sqlite(path, busy_seconds=0.1) as store, serve_log(store) as log:
        await log.append_to(ORDER, [SMALL])
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="Others have been writing"):
                await log.append_to(ORDER, [SMALL])
            assert len(await log.read_stream(ORDER)) == 1  # readers are not held up
            other.execute("ROLLBACK")
        finally:
            other.close()
        assert (await log.append_to(ORDER, [SMALL])).version == 2


async def test_what_another_process_has_appended_is_not_overlooked(tmp_path: Path) -> None:
    """Each store remembers the streams it wrote; the other one's appends make that worthless."""
    path = tmp_path / "events.db"
    async with open_sqlite(path) as one, open_sqlite(path) as two, serve_log(one) as first, serve_log(two) as second:
        for version in range(0, 20, 2):
            assert (await first.append_to(ORDER, [SMALL], expected=version)).version == version + 1
            outcomes = await second.append([Append(ORDER, [SMALL], version), Append(ORDER, [SMALL], version + 1)])
            assert isinstance(outcomes[0], WrongVersion)
            assert isinstance(outcomes[1], Appended)
        assert [event.version for event in await first.read_stream(ORDER)] == list(range(1, 21))


async def test_a_commit_that_failed_leaves_no_wrong_memory(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with open_sqlite(path) as one, open_sqlite(path) as two, serve_log(one) as first, serve_log(two) as second:
        await first.append_to(ORDER, [SMALL])
        with file_size_limit(path.stat().st_size), pytest.raises(Unavailable):
            await first.append_to(StreamId("acme", "order-2"), [LARGE] * 10)
        await second.append_to(StreamId("new tenant", "invoice-3"), [NewEvent("invoice.sent", {})] * 10)
        await first.append_to(StreamId("acme", "order-4"), [NewEvent("order.paid", {})])
        names = [(event.stream.name, event.type) for event in await second.read_all(10)]
        assert names == [("invoice-3", "invoice.sent"), ("order-4", "order.paid")]


async def test_the_write_ahead_log_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with open_sqlite(path) as store, serve_log(store) as log:
        most = 0
        for n in range(14):
            await log.append_to(StreamId("acme", f"order-{n}"), [NewEvent("order.placed", {"t": "x" * 10_000})] * 1_000)
            most = max(most, path.with_name("events.db-wal").stat().st_size)
        written = path.stat().st_size
    assert written > PAGE_BYTES * CHECKPOINT_PAGES
    # Up to the bound, and the one transaction that passes it.
    assert most < PAGE_BYTES * CHECKPOINT_PAGES + 40_000_000


async def test_writes_beside_the_events_are_whole_or_not_at_all(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "events.db") as store:
        database = store.database
        await database.write(Statement("CREATE TABLE note (name TEXT PRIMARY KEY, n INTEGER)"))
        insert = "INSERT INTO note VALUES ($2, $1)"
        await database.write(Statement(insert, [(1, "a"), (2, "b")], must_change=2))
        for statements in (
            (Statement(insert, [(3, "c")]), Statement("UPDATE note SET n = 9 WHERE n = 7", must_change=1)),
            (Statement(insert, [(3, "c")]), Statement(insert, [(4, "a")])),
        ):
            with pytest.raises(Conflict):
                await database.write(*statements)
        assert await database.fetch("SELECT name, n FROM note ORDER BY name") == [("a", 1), ("b", 2)]
        assert await database.fetch("SELECT n FROM note WHERE name = $1 OR n = $2 OR name = $1 ORDER BY n", "a", 2) == [
            (1,),
            (2,),
        ]


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "events.db") as store, serve_log(store) as log:
        await log.append_to(ORDER, [SMALL])
    with pytest.raises(Unavailable, match="clos"):
        await log.append_to(ORDER, [SMALL])
    with pytest.raises(Unavailable, match="clos"):
        await log.read_all()
    assert "closed" in repr(log)


async def test_no_thread_is_taken_from_others_while_writers_wait(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with open_sqlite(path, busy_seconds=5) as store, serve_log(store) as log:
        await log.append_to(ORDER, [SMALL])
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with anyio.fail_after(10):
                async with anyio.create_task_group() as tasks:
                    for n in range(50):
                        tasks.start_soon(log.append_to, StreamId("acme", f"order-{n}"), [SMALL])
                        tasks.start_soon(store.database.write, Statement("UPDATE log SET id = 1"))
                    await anyio.to_thread.run_sync(lambda: None)
                    other.execute("COMMIT")
        finally:
            other.close()
        assert (await log.head()).position == 51
