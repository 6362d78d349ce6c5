"""Following a file that another process writes to."""

import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from eventlog.event import NewEvent, StreamId
from eventlog.open import open_memory, open_sqlite, serve_log

WRITE = """
import anyio, sys
from pathlib import Path
from eventlog.event import NewEvent, StreamId
from eventlog.open import open_sqlite, serve_log

async def main():
    async with open_sqlite(Path(sys.argv[1])) as store, serve_log(store) as log:
        for n in range(200):
            await log.append_to(StreamId("acme", f"order-{n % 3}"), [NewEvent("order.placed", {"n": n})] * (1 + n % 4))

anyio.run(main)
"""
TOTAL = 500


async def test_a_follower_sees_what_another_process_appends_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with open_sqlite(path) as store, serve_log(store) as log:
        seen: list[int] = []

        async def follow() -> None:
            async with aclosing(log.follow(0)) as pages:
                async for page in pages:
                    seen.extend(event.position for event in page)
                    if len(seen) >= TOTAL:
                        return

        def write() -> None:
            subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True, timeout=60)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(anyio.to_thread.run_sync, write)
                tasks.start_soon(follow)
                while len(seen) < TOTAL:  # appends of our own come between
                    await log.append_to(StreamId("acme", "order-own"), [NewEvent("order.placed", {})])
                    await anyio.lowlevel.checkpoint()
                    if len(seen) > 100:
                        break
        head = (await log.head()).position
        rest = [event.position for event in await log.read_all(len(seen), limit=10_000)]
        assert seen + rest == list(range(1, head + 1))
        assert head >= 2 * TOTAL


async def test_nobody_looks_at_the_file_while_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_sqlite(tmp_path / "events.db") as store, serve_log(store) as log:
        looks = 0
        look = store.database.data_version

        def counted() -> int:
            nonlocal looks
            looks += 1
            return look()

        monkeypatch.setattr(store.database, "data_version", counted)
        await log.append_to(StreamId("acme", "order-1"), [NewEvent("order.placed", {})])
        await log.read_all()
        assert looks == 0
        with anyio.move_on_after(0.2):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(log.grown, 1)
        assert 0 < looks < 20  # one looks for all
        so_far = looks
        await log.append_to(StreamId("acme", "order-1"), [NewEvent("order.placed", {})])
        assert looks == so_far


async def test_a_log_in_memory_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_memory() as log:
        monkeypatch.delattr("eventlog.sqlite.database.SqliteDatabase.data_version")
        with anyio.move_on_after(0.05):
            await log.grown(0)
