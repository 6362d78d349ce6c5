"""Real processes on one file: they fight over a projection, or are killed in the middle of it."""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from eventlog.log import EventLog
from eventlog.open import open_sqlite, serve_log
from eventlog.projections.projector import Projector
from tests.eventlog.projections.counting import SEEN, append, documents_of, folded, shelf_of

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def in_file(path: Path) -> AsyncGenerator[EventLog]:
    async with open_sqlite(path, busy_seconds=30) as store, serve_log(store) as log:
        yield log


@asynccontextmanager
async def working(path: Path, until: int, *, lease_seconds: float, batch: int) -> AsyncGenerator[Process]:
    command = [sys.executable, "-m", "tests.eventlog.projections.working"]
    arguments = [str(path), str(until), str(lease_seconds), str(batch)]
    async with await anyio.open_process([*command, *arguments], cwd=ROOT, stderr=None) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


@pytest.mark.slow
async def test_processes_that_fight_over_a_projection_apply_each_event_once(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with anyio.fail_after(110):
        async with in_file(path) as log:
            for number in range(40):
                await append(log, f"order-{number % 5}", 50)
            async with (
                working(path, 2_400, lease_seconds=0.002, batch=7) as one,
                working(path, 2_400, lease_seconds=0.002, batch=7) as two,
                working(path, 2_400, lease_seconds=0.002, batch=7) as three,
            ):
                for number in range(400):
                    await append(log, f"order-{number % 7}")
                assert [await process.wait() for process in (one, two, three)] == [0, 0, 0]
            assert await documents_of(log) == await folded(log)
            serving = (await shelf_of(log)).serving
            assert serving is not None
            assert serving.applied == 2_400
            # Each page and each takeover is one revision: that there are more than pages shows that they did fight.
            assert serving.revision > 2_400 / 7


@pytest.mark.slow
async def test_killed_in_the_middle_of_a_catch_up_the_next_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    kills = 0
    with anyio.fail_after(110):
        async with in_file(path) as log:
            position = 4_000
            for number in range(position // 100):
                await append(log, f"order-{number % 5}", 100, is_poison=number == 20)
            while kills < 5:
                async with working(path, position, lease_seconds=0.05, batch=5) as process:
                    assert process.stdout is not None
                    await process.stdout.receive()
                    before = await _position(log)
                    while process.returncode is None and await _position(log) < before + 50:
                        await anyio.lowlevel.checkpoint()
                    assert process.returncode is None, "it was too quick to be killed in the middle"
                    os.kill(process.pid, signal.SIGKILL)
                    await process.wait()
                    kills += 1
                assert await _position(log) < position
            async with working(path, position, lease_seconds=0.05, batch=500) as process:
                assert await process.wait() == 0
            assert await documents_of(log) == await folded(log)
            status = await Projector(log, [SEEN]).status("seen")
            assert (status.position, status.parked_streams) == (position, 1)


async def _position(log: EventLog) -> int:
    rows = await log.database.fetch("SELECT MAX(position) FROM projection_generation")
    return rows[0][0] if rows and isinstance(rows[0][0], int) else 0
