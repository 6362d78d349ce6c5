"""Opening the file: ours and nobody else's, brought up to date once, by however many processes at a time."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from eventlog.event import NewEvent, StreamId
from eventlog.migrations.all import MIGRATIONS
from eventlog.migrations.step import Migration
from eventlog.open import open_log, open_sqlite, serve_log
from eventlog.sqlite.database import open_database
from eventlog.sqlite.opening import Opening
from eventlog.sqlite.store import APPLICATION_ID
from stoa.errors import BadInput
from stoa.settings import Settings

ORDER = StreamId("acme", "order-1")
PLACED = NewEvent("order.placed", {})


async def refused(path: Path) -> BadInput:
    with pytest.raises(BadInput) as raised:
        async with open_sqlite(path):
            raise AssertionError("it was opened")
    assert raised.value.hint
    return raised.value


async def test_the_files_are_readable_for_their_owner_alone(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path / "home"})
    async with open_log(settings) as log:
        await log.append_to(ORDER, [PLACED])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in settings.home.iterdir()}
    assert {"events.db", "events.db-wal", "subjects.db"} <= modes.keys()
    assert set(modes.values()) == {0o600}


async def test_every_write_is_synchronous(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "events.db") as store:
        assert await store.synchronous() == "FULL"
        assert await store.database.fetch("PRAGMA journal_mode") == [("wal",)]


async def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    before = path.read_bytes()
    assert "another program" in (await refused(path)).message
    assert path.read_bytes() == before


async def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"dear diary, " * 1000)
    assert "cannot be read" in (await refused(path)).message
    assert path.read_bytes() == b"dear diary, " * 1000


async def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.db").mkdir()
    assert "no regular file" in (await refused(tmp_path / "events.db")).message


LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM event").fetchone()[0])
connection.close()
"""


async def test_opening_a_file_twice_in_a_process_leaves_it_its_locks(tmp_path: Path) -> None:
    """Without them, another process that closes the file removes the write-ahead log that is being written to."""
    path = tmp_path / "events.db"

    async def seen_elsewhere() -> int:
        with anyio.fail_after(30):
            done = await anyio.run_process([sys.executable, "-c", LOOK, str(path)])
        return int(done.stdout)

    async with open_sqlite(path) as store, serve_log(store) as log:
        await log.append_to(ORDER, [PLACED])
        async with open_sqlite(path):
            assert await seen_elsewhere() == 1
            await log.append_to(ORDER, [PLACED])
            assert await seen_elsewhere() == 2


async def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    await refused(tmp_path / "nowhere" / "events.db")


async def test_postgresql_without_its_client_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.startswith(("eventlog.postgres", "asyncpg"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    settings = Settings.model_validate({"home": tmp_path, "database_url": "postgresql://stoa@127.0.0.1:1/stoa"})
    with pytest.raises(BadInput, match="asyncpg") as raised:
        async with open_log(settings):
            raise AssertionError("it was opened")
    assert "stoa-mcp[postgres]" in raised.value.hint


async def test_a_file_of_a_newer_stoa_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    newer = Opening(path, APPLICATION_ID, (*MIGRATIONS, Migration(99, "later", ("CREATE TABLE later (a)",))))
    async with open_database(newer):
        pass
    error = await refused(path)
    assert "99" in error.message
    assert "newer Stoa" in error.hint


@pytest.mark.parametrize("count", range(len(MIGRATIONS)))
async def test_a_file_of_each_earlier_version_is_brought_up_and_keeps_its_events(tmp_path: Path, count: int) -> None:
    path = tmp_path / "events.db"
    async with open_database(Opening(path, APPLICATION_ID, MIGRATIONS[:count])) as database:
        taken = await database.fetch("SELECT number FROM migration ORDER BY number")
        assert taken == [(step.number,) for step in sorted(MIGRATIONS[:count], key=lambda step: step.number)]
    for _ in range(2):
        async with open_sqlite(path) as store, serve_log(store) as log:
            await log.append_to(ORDER, [PLACED])
    async with open_sqlite(path) as store, serve_log(store) as log:
        assert (await log.stream_info(ORDER)).version == 2
        numbers = [row[0] for row in await store.database.fetch("SELECT number FROM migration")]
        assert len(numbers) == len(set(numbers)) >= len(MIGRATIONS) - 1


async def test_a_step_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    broken = Migration(50, "broken", ("CREATE TABLE half (a)", "CREATE TABLE half (a)"))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        async with open_database(Opening(path, APPLICATION_ID, (*MIGRATIONS, broken))):
            raise AssertionError("it was opened")
    async with open_sqlite(path) as store:
        assert await store.database.fetch("SELECT count(*) FROM sqlite_master WHERE name = 'half'") == [(0,)]


OPEN = """
import anyio, sys
from pathlib import Path
from eventlog.event import NewEvent, StreamId
from eventlog.open import open_sqlite, serve_log

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    async with open_sqlite(Path(sys.argv[1])) as store, serve_log(store) as log:
        done = await log.append_to(StreamId("acme", f"order-{sys.argv[2]}"), [NewEvent("order.placed", {})])
        print((await log.head()).epoch, done.position, flush=True)

anyio.run(main)
"""


async def test_several_processes_open_a_new_file_at_the_same_moment(tmp_path: Path) -> None:
    def race() -> list[list[str]]:
        children = [
            subprocess.Popen(
                [sys.executable, "-c", OPEN, str(tmp_path / "events.db"), str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(4)
        ]
        try:
            for child in children:
                assert child.stdout is not None
                assert child.stdout.readline() == "ready\n"
            return [child.communicate("go\n", timeout=30)[0].split() for child in children]
        finally:
            for child in children:
                child.kill()
                child.wait()

    with anyio.fail_after(60):
        answers = await anyio.to_thread.run_sync(race)
    assert len({epoch for epoch, _ in answers}) == 1
    assert sorted(int(position) for _, position in answers) == [1, 2, 3, 4]
