"""Transactions of one process are done in the order in which they come."""

import sqlite3
import threading
from pathlib import Path

import anyio
import pytest

from eventlog.open import open_sqlite
from stoa.errors import Unavailable


async def test_transactions_are_done_in_their_order_and_one_that_is_done_twice_keeps_its_turn(tmp_path: Path) -> None:
    done: list[str] = []
    goes_on = threading.Event()

    def first(_: sqlite3.Connection) -> None:
        assert goes_on.wait(10)
        raise sqlite3.IntegrityError("as if an id were there already")

    async with open_sqlite(tmp_path / "events.db") as store:
        database = store.database

        async def ask(number: int) -> None:
            if number:
                await database.transact(lambda _: done.append(str(number)))
            else:
                await database.transact(first, again=lambda _: done.append("0 again"))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for number in range(6):
                    tasks.start_soon(ask, number)
                    await anyio.wait_all_tasks_blocked()
                goes_on.set()
    assert done == ["0 again", "1", "2", "3", "4", "5"]


async def test_who_is_cancelled_or_gives_up_in_the_line_holds_up_nobody(tmp_path: Path) -> None:
    done: list[int] = []
    goes_on = threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        assert goes_on.wait(10)

    async with open_sqlite(tmp_path / "events.db", busy_seconds=0.2) as store:
        database = store.database

        async def ask(number: int) -> None:
            await database.transact(lambda _: done.append(number))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(database.transact, hold)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(Unavailable):
                    await ask(1)
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await ask(2)
                goes_on.set()
            for number in (3, 4, 5):
                await ask(number)
    assert done == [3, 4, 5]
