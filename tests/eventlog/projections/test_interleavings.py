"""Failures, retries, pauses, rebuilds, crashes, in any order: in the end the documents are those of a plain fold."""

import random
from collections.abc import Sequence
from typing import Literal

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.database import Database, Row, Statement, Value
from eventlog.event import Event
from eventlog.log import EventLog
from eventlog.open import open_sqlite, serve_log
from eventlog.projections.fold import Sandbox
from eventlog.projections.projection import Document, DocumentProjection
from eventlog.projections.projector import Projector
from eventlog.projections.work import Means
from eventlog.projections.worker import Worker
from eventlog.store import Outcome, Request, Store
from stoa.clock import ManualClock
from stoa.errors import NotFound, Unavailable
from tests.eventlog.projections.counting import POLICY, append, served, settle


class Crash(Exception):
    """The process ends here: what it had in memory is gone."""


class ShakyDatabase:
    """Does what the one behind it does, until told to fail before or after the next write, or at the next read."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.trouble: Literal["before", "after", "away", "blind"] | None = None

    @property
    def dialect(self) -> Literal["sqlite", "postgres"]:
        return self._inner.dialect

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        if self.trouble == "blind":
            self.trouble = None
            raise Unavailable("The database is away.")
        return await self._inner.fetch(sql, *values)

    async def write(self, *statements: Statement) -> None:
        trouble, self.trouble = self.trouble, None
        if trouble == "away":
            raise Unavailable("The database is away.")
        if trouble == "before":
            raise Crash
        await self._inner.write(*statements)
        if trouble == "after":
            raise Crash


class ShakyStore:
    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self._database = ShakyDatabase(inner.database)

    @property
    def database(self) -> ShakyDatabase:
        return self._database

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        return await self._inner.commit(requests)

    async def grown(self, position: int) -> None:
        await self._inner.grown(position)


class Play:
    """A log, two processes that work on one projection, and whatever befalls them."""

    def __init__(self, log: EventLog, database: ShakyDatabase) -> None:
        self.log = log
        self.database = database
        self.clock = ManualClock()
        self.poison: set[object] = set()
        self.processes = 0
        self.projection = DocumentProjection(name="seen", types=("order.*",), keys=self._keys, apply=self._apply)
        self.workers = {"a": self._worker(), "b": self._worker()}
        self.operator = Projector(log, [self.projection], clock=self.clock, policy=POLICY)

    async def do(self, action: tuple[str, int]) -> None:
        what, which = action
        match what:
            case "append":
                await append(self.log, f"order-{which % 3}", 1 + which % 4, mark=which % 5)
            case "turn":
                await self._turn("ab"[which % 2], 1 + which % 4)
            case "trouble":
                self.database.trouble = ("before", "after", "away", "blind")[which % 4]
                await self._turn("ab"[which // 4 % 2], 3)
                self.database.trouble = None
            case "poison":
                self.poison ^= {which % 5}
            case "time":
                self.clock.advance((1, 5, 40)[which % 3])
            case "pause":
                await self.operator.pause("seen")
            case "resume":
                await self.operator.resume("seen")
            case "rebuild":
                await self.operator.rebuild("seen")
            case _:
                await self.retry()

    async def retry(self) -> None:
        for letter in await self.operator.dead_letters("seen"):
            try:
                await self.operator.retry_dead_letter("seen", letter.id)
            except NotFound:
                continue  # another retry of this round has mended it, or it was built anew

    async def end_well(self) -> None:
        """The causes are mended: then, with time, nothing waits any more."""
        self.poison.clear()
        await self.operator.resume("seen")
        for _ in range(12):
            self.clock.advance(60)
            for worker in self.workers.values():
                await settle(worker)
            await self.retry()

    async def _turn(self, name: str, count: int) -> None:
        for _ in range(count):
            try:
                await self.workers[name].turn()
            except Unavailable:
                continue
            except Crash:
                self.workers[name] = self._worker()

    def _worker(self) -> Worker:
        self.processes += 1
        return Worker(
            Means(self.log, f"process-{self.processes}", self.clock, random.Random(self.processes), POLICY),
            self.projection,
        )

    def _keys(self, event: Event) -> list[str]:
        return [event.stream.aggregate_id, "all"]

    def _apply(self, key: str, document: Document | None, event: Event) -> Document | None:
        if key == "all":
            document = document or {"count": 0, "positions": 0}
            document["count"] += 1
            document["positions"] += event.position
        else:
            document = document or {"versions": []}
            document["versions"].append(event.version)
        if event.data.get("mark") in self.poison:
            raise ValueError("poison")
        return document


ACTIONS = st.tuples(
    st.sampled_from(
        [
            *("append", "append", "append", "turn", "turn", "turn", "trouble", "trouble", "poison", "time", "time"),
            *("pause", "resume", "resume", "rebuild", "retry"),
        ]
    ),
    st.integers(0, 59),
)


@settings(max_examples=60)
@given(st.lists(ACTIONS, max_size=60))
def test_any_interleaving_ends_with_the_documents_of_a_plain_fold(actions: list[tuple[str, int]]) -> None:
    anyio.run(_play, actions)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(ACTIONS, min_size=20, max_size=200))
def test_any_long_interleaving_ends_with_the_documents_of_a_plain_fold(actions: list[tuple[str, int]]) -> None:
    anyio.run(_play, actions)


async def _play(actions: list[tuple[str, int]]) -> None:
    async with open_sqlite(None) as inner:
        store = ShakyStore(inner)
        async with serve_log(store) as log:
            play = Play(log, store.database)
            await play.operator.pause("seen")
            await play.operator.resume("seen")
            for action in actions:
                await play.do(action)
            await play.end_well()
            assert await play.operator.dead_letters("seen", with_retrying=True) == []
            sandbox = Sandbox(play.projection)
            for event in await log.read_all(0, limit=10_000):
                sandbox.apply(event)
            assert await served(log) == sandbox.all_documents()
            assert (await play.operator.status("seen")).state == "live"
