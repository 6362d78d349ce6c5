"""A process whose children do a job and die in it, at every point where something was or is about to be made durable.

    python -m tests.eventlog.keeping.dying FOLDER JOB

For each point: a copy of the prepared folder, a child that is killed there (SIGKILL), and another one that does the job
again to its end. Prints a line of JSON for each: the point, and what is left; the first line is of a child that lived.
"""

import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import anyio
import orjson

from eventlog.backup.exporting import export_events
from eventlog.backup.importing import import_events
from eventlog.database import Database, Row, Statement, Value
from eventlog.event import NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.keeping.truncate import truncate_before
from eventlog.keeping.verify import verify
from eventlog.log import EventLog
from eventlog.migrations.subjects import SUBJECTS
from eventlog.open import SUBJECTS_ID, open_sqlite, serve_log
from eventlog.sqlite.database import open_database
from eventlog.sqlite.opening import Opening
from eventlog.store import Outcome, Request, Store
from eventlog.subjects.erase import erase_subject
from eventlog.subjects.keys import SubjectKeys
from tests.eventlog.keeping.scenes import ORDER, ORDERS, PERSON, fill, known, truncate

MASTER = b"m" * 32
MAX_POINTS = 60


class Points:
    """Counts what is made durable, and dies at the one that is asked for: just before it, or just after."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.passed = 0

    def __call__(self, *_: object) -> None:
        self.passed += 1
        if self.passed == self.wanted:
            os.kill(os.getpid(), signal.SIGKILL)


class DyingDatabase:
    def __init__(self, database: Database, point: Points) -> None:
        self._database = database
        self._point = point

    @property
    def dialect(self) -> Literal["sqlite", "postgres"]:
        return self._database.dialect

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        return await self._database.fetch(sql, *values)

    async def write(self, *statements: Statement) -> None:
        self._point()
        await self._database.write(*statements)
        self._point()


class DyingStore:
    def __init__(self, store: Store, point: Points) -> None:
        self._store = store
        self._point = point
        self.database = DyingDatabase(store.database, point)

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        self._point()
        outcomes = await self._store.commit(requests)
        self._point()
        return outcomes

    async def grown(self, position: int) -> None:
        await self._store.grown(position)


async def prepare(folder: Path, job: str) -> None:
    async with open_sqlite(folder / "events.db") as store, open_database(_subjects(folder)) as kept:
        keys = SubjectKeys(kept, MASTER)
        async with serve_log(store, keys=keys) as log:
            for number in range(3):
                await log.append_to(PERSON, [known(each) for each in range(100 * number, 100 * number + 100)])
                await fill(log, ORDER, 400)
                await log.append_to(ORDER, [known(each) for each in range(100)])
            if job == "erase":
                await log.append_to(StreamId("acme", "order-2"), [NewEvent("order.placed", {"n": 1})] * 700)
            if job == "truncate":
                for _ in range(2):
                    await fill(log, StreamId("acme", "order-2"), 400)
                await truncate(log, StreamId("acme", "order-2"), 1)
            if job == "import":
                await erase(log, ORDER, [5, 6, 1_200])
                await export_events(log, folder / "events.jsonl")
    if job == "import":
        _forget_the_log(folder)


def _forget_the_log(folder: Path) -> None:
    for file in folder.glob("events.db*"):
        file.unlink()


async def work(folder: Path, job: str, point: Points) -> None:
    async with open_sqlite(folder / "events.db") as store, open_database(_subjects(folder)) as kept:
        keys = SubjectKeys(DyingDatabase(kept, point), MASTER)
        async with serve_log(DyingStore(store, point), keys=keys) as log:
            match job:
                case "erase_subject":
                    await erase_subject(log, "acme", "bob")
                case "erase":
                    await erase(log, StreamId("acme", "order-2"))
                case "truncate":
                    await truncate_before(log, StreamId("acme", "order-2"), 700, aggregate=ORDERS)
                case "export":
                    await export_events(log, folder / "events.jsonl", on_progress=point)
                case _:
                    await import_events(log, folder / "events.jsonl", on_progress=point)


async def look(folder: Path) -> dict[str, Any]:
    async with (
        open_sqlite(folder / "events.db") as store,
        open_database(_subjects(folder)) as kept,
        serve_log(store, keys=SubjectKeys(kept, MASTER)) as log,
    ):
        return {
            "problems": [str(each) for each in (await verify(log)).problems],
            "events": await _digest(log),
            "file": _file(folder / "events.jsonl"),
        }


async def _digest(log: EventLog) -> str:
    """Of all that is the same however often a job is begun: not the times."""
    said = hashlib.sha256()
    after = 0
    while page := await log.read_all(after):
        for each in page:
            told = orjson.dumps([each.event_id, *each.stream, each.version, each.type, each.is_erased])
            said.update(told + (each.stored_data or b""))
        after = page[-1].position
    return f"{after} {said.hexdigest()}"


def _file(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _subjects(folder: Path) -> Opening:
    return Opening(folder / "subjects.db", SUBJECTS_ID, (SUBJECTS,))


def in_a_child(task: Callable[[], object]) -> bool:
    """Whether it lived. This process has one thread, and no event loop: forking it is safe."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            task()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def main(folder: Path, job: str) -> None:
    ready, trial = folder / "ready", folder / "trial"
    ready.mkdir(parents=True)
    in_a_child(lambda: anyio.run(prepare, ready, job))
    for wanted in range(MAX_POINTS):
        shutil.copytree(ready, trial)
        lived = in_a_child(lambda: anyio.run(work, trial, job, Points(wanted)))  # noqa: B023 - called at once
        if lived and wanted:
            return
        in_a_child(lambda: anyio.run(work, trial, job, Points(0)))

        def tell() -> None:
            found = anyio.run(look, trial)
            os.write(1, orjson.dumps({"point": wanted, **found}) + b"\n")  # noqa: B023 - called at once

        in_a_child(tell)
        shutil.rmtree(trial)
    raise AssertionError("more points than were thought of")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
