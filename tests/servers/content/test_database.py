"""One file, many processes: who may open it, what its errors say, and that nothing is ever half-written."""

import os
import resource
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest
from sqlmodel import SQLModel

from servers.content.database import Database, ask
from servers.content.migrations import APPLICATION_ID, MIGRATIONS
from servers.content.store import Store
from stoa.errors import BadInput, StoaError, Unavailable
from tests.servers.content.consistency import consistent
from tests.servers.content.drafts import document, draft

MAX_BYTES = 400_000
NO_DATABASE = b"Dear diary, " * 500


def read(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


async def fails(database: Database) -> StoaError:
    with pytest.raises(StoaError) as caught:
        await Store(database).put("here", draft("words"))
    await database.close()
    return caught.value


async def test_the_file_is_private_and_writes_ahead(store: Store) -> None:
    await store.put("here", draft("words"))
    for file in store.database.path.parent.glob("content.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    modes = await store.database.read(
        lambda session: [ask(session)(f"PRAGMA {name}", {})[0][0] for name in ("journal_mode", "synchronous")]
    )
    assert modes == ["wal", 2]
    assert repr(store.database) == f"<Database {str(store.database.path)!r} open>"


async def test_the_migrated_tables_are_the_ones_that_the_code_expects(store: Store) -> None:
    await store.put("here", draft("words"))
    connection = sqlite3.connect(store.database.path)
    for name, table in SQLModel.metadata.tables.items():
        found = {row[1]: bool(row[3]) for row in connection.execute(f"PRAGMA table_info({name})") if not row[5]}
        keys = {column.name for column in table.primary_key}
        assert {column.name: not column.nullable for column in table.columns if column.name not in keys} == found
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


async def test_a_foreign_database_is_named_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    before = read(path)
    error = await fails(Database(path))
    assert isinstance(error, BadInput)
    assert str(path) in error.message
    assert "STOA_HOME" in error.hint
    assert read(path) == before


async def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    write(path, NO_DATABASE)
    error = await fails(Database(path))
    assert isinstance(error, BadInput)
    assert str(path) in error.message
    assert "Move it away" in error.hint or "move it away" in error.hint


async def test_a_database_with_damaged_pages_is_named(path: Path) -> None:
    store = Store(Database(path))
    for number in range(3):
        await store.put("here", draft(document(number)))
    await store.database.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    whole = read(path)
    write(path, whole[:4096] + b"\xa5" * (len(whole) - 4096))
    error = await fails(Database(path))
    assert isinstance(error, BadInput)
    assert str(path) in error.message


async def test_a_database_of_a_newer_schema_is_refused(path: Path) -> None:
    store = Store(Database(path))
    await store.put("here", draft("words"))
    await store.database.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    error = await fails(Database(path))
    assert isinstance(error, BadInput)
    assert "schema version 99" in error.message
    assert "newer Stoa" in error.hint


async def test_a_place_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    error = await fails(Database(tmp_path))
    assert isinstance(error, BadInput)
    assert str(tmp_path) in error.message


async def test_a_failed_opening_can_be_mended_and_tried_again(path: Path) -> None:
    write(path, NO_DATABASE)
    database = Database(path)
    await fails(database)
    remove(path)
    assert (await Store(database).put("here", draft("words"))).created
    await database.close()


async def test_a_write_that_waits_too_long_for_another_process_is_unavailable(path: Path) -> None:
    store = Store(Database(path, busy_seconds=0.2))
    await store.put("here", draft("words"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with anyio.fail_after(5), pytest.raises(Unavailable) as caught:
        await store.put("here", draft("more words"))
    assert caught.value.retry_after is not None
    assert [each.title for each in await store.list("here", before=None, limit=10)] == ["A title"]  # readers go on
    other.execute("ROLLBACK")
    other.close()
    assert (await store.put("here", draft("more words"))).created
    await store.database.close()


async def test_a_write_that_waits_too_long_in_its_own_process_is_unavailable(path: Path) -> None:
    database = Database(path, busy_seconds=0.2)
    started, release = anyio.Event(), threading.Event()

    async def hold() -> None:
        def work(_: object) -> None:
            anyio.from_thread.run_sync(started.set)
            release.wait(10)

        await database.write(work)

    async with anyio.create_task_group() as group:
        group.start_soon(hold)
        with anyio.fail_after(5):
            await started.wait()
            with pytest.raises(Unavailable):
                await Store(database).put("here", draft("words"))
        release.set()
    assert (await Store(database).put("here", draft("words"))).created
    await database.close()


async def test_a_full_database_refuses_the_document_whole_and_goes_on(path: Path) -> None:
    store = Store(Database(path, max_bytes=MAX_BYTES))
    kept, refused = 0, None
    while refused is None and kept < 100:
        try:
            await store.put("here", draft(document(kept), name=f"{kept}"))
            kept += 1
        except Unavailable as error:
            refused = error
    assert refused is not None
    assert str(path) in refused.message
    assert kept > 0
    documents = await store.list("here", before=None, limit=100)
    assert [each.name for each in documents] == [f"{number}" for number in range(kept)][::-1]
    assert await consistent(store.database) == kept
    for each in documents:
        await store.delete("here", each.id)
    assert (await store.put("here", draft(document(500)))).created
    await store.database.close()


async def test_a_replacement_that_does_not_fit_leaves_the_older_version(path: Path) -> None:
    store = Store(Database(path, max_bytes=MAX_BYTES))
    older = (await store.put("here", draft("older words", name="guide"))).document
    with pytest.raises(Unavailable):
        await store.put("here", draft(document(1, sentences=20_000), name="guide"))
    assert await store.read("here", older.id) == (older, "older words")
    assert await consistent(store.database) == 1
    await store.database.close()


LIMITED = """
import resource, sys
from pathlib import Path
import anyio
from servers.content.database import Database
from servers.content.store import Store
from stoa.errors import Unavailable
from tests.servers.content.drafts import document, draft

async def main() -> None:
    store = Store(Database(Path(sys.argv[1])))
    await store.put("here", draft("first words"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    kept = 1
    try:
        for number in range(200):
            await store.put("here", draft(document(number)))
            kept += 1
    except Unavailable as error:
        assert sys.argv[1] in error.message, error
        assert error.retry_after, error
    else:
        raise SystemExit("nothing was refused")
    assert len(await store.list("here", before=None, limit=500)) == kept
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.put("here", draft(document(999)))
    print(kept + 1)

anyio.run(main)
"""


@pytest.mark.parametrize("limit", [300_000, 1_000_000])
async def test_a_file_that_may_not_grow_refuses_the_document_whole(path: Path, limit: int) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    with anyio.fail_after(60):
        child = await anyio.run_process(
            [sys.executable, "-c", LIMITED, str(path), str(limit)], stderr=subprocess.PIPE, check=False, cwd=Path.cwd()
        )
    assert child.returncode == 0, child.stderr.decode()
    database = Database(path)
    assert await consistent(database) == int(child.stdout)
    await database.close()


async def test_many_who_open_a_missing_file_at_once_all_get_it(tmp_path: Path) -> None:
    for round in range(25):
        databases = [Database(tmp_path / f"{round}.db") for _ in range(6)]
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for database in databases:
                    group.start_soon(Store(database).find, "here", "none")
        for database in databases:
            await database.close()


CLOSE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT * FROM document").fetchall()
connection.close()
"""


async def test_opening_a_file_twice_in_a_process_leaves_it_its_locks(path: Path) -> None:
    """Without them, another process that closes the file removes the write-ahead log that is being written to."""
    one, other = Database(path), Database(path)
    await Store(one).put("here", draft("words"))
    await Store(other).find("here", "none")
    ahead = path.with_name(f"{path.name}-wal")
    before = ahead.stat().st_ino
    with anyio.fail_after(30):
        await anyio.run_process([sys.executable, "-c", CLOSE, str(path)])
    assert ahead.stat().st_ino == before
    await one.close()
    await other.close()


async def test_a_pipe_in_place_of_the_database_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path)
    with anyio.fail_after(10):
        error = await fails(Database(path))
    assert isinstance(error, BadInput)
    assert "no regular file" in error.message


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_nothing_is_written_to_a_file_that_has_lost_its_name(path: Path, *, is_replaced: bool) -> None:
    database = Database(path)
    store = Store(database)
    await store.put("here", draft("words"))
    if is_replaced:
        other = path.with_name("other.db")
        before = Database(other)
        await Store(before).put("here", draft("other words"))
        await before.close()
        other.rename(path)
        for each in ("content.db-wal", "content.db-shm"):
            path.with_name(each).unlink()
    else:
        remove(path)
    with pytest.raises(Unavailable, match="removed or replaced"):
        await store.put("here", draft("lost words"))
    again = await store.put("here", draft("lost words"))
    assert again.created
    await database.close()
    fresh = Database(path)
    assert (await Store(fresh).get("here", again.document.id)).id == again.document.id
    count = await fresh.read(lambda session: ask(session)("SELECT count(*) FROM document", {})[0][0])
    await fresh.close()
    assert count == 1 + is_replaced


async def test_a_home_that_is_gone_is_said_and_not_made_up_for(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    database = Database(folder / "content.db")
    store = Store(database)
    await store.put("here", draft("words"))
    for each in list(folder.iterdir()):
        each.unlink()
    folder.rmdir()
    with pytest.raises(Unavailable, match="removed or replaced"):
        await store.read("here", "x")
    assert isinstance(await fails(database), BadInput)
