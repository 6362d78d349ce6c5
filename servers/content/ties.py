"""This server's ties to the event log: bringing its own events there, and hearing of what other processes have changed.

The log is opened in the background, a moment after the start or with the first change: nobody who lists tools waits for
it, and no ingest fails because it is away. Events then wait in the outbox, which is said once.
"""

import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import anyio

from servers.content.library import Library
from stoa.clock import Clock, SystemClock
from stoa.errors import StoaError
from stoa.resilience.backoff import Backoff
from stoa.tasks import beside

if TYPE_CHECKING:
    from eventlog.event import Event
    from eventlog.log import EventLog
    from eventlog.outbox import OutboxRelay

__all__ = ["Ties"]

log = logging.getLogger(__name__)

OPEN_SECONDS: Final = 1.0
"""After the start, unless something is changed before."""
SETTLE_SECONDS: Final = 2.0
"""How long the end waits for events that are still in the outbox. The next process brings what stays."""
AWAY: Final = Backoff(first_seconds=0.5, most_seconds=60.0)

Tell = Callable[[str, str, bool], Awaitable[None]]
"""Called with a tenant, a document's id, and whether the document was there before: another process has changed it."""


class Ties:
    """State: the position up to which others' changes were told, the relay while the log is open, and the event that
    asks for the log. `source` tells this process's events from those of others."""

    def __init__(
        self,
        library: Library,
        tell: Tell,
        *,
        open: Callable[[], AbstractAsyncContextManager["EventLog"]],
        open_seconds: float = OPEN_SECONDS,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.source = f"content/{uuid4().hex}"
        self._library = library
        self._tell = tell
        self._open = open
        self._open_seconds = open_seconds
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._wanted = anyio.Event()
        self._position: int | None = None
        self._relay: OutboxRelay | None = None
        self._brings = anyio.Event()
        self._has_written = False
        self._is_away = False

    def __repr__(self) -> str:
        return f"<Ties {'closed' if self._relay is None else 'open'}, told up to {self._position}>"

    def wrote(self) -> None:
        """This process has put something into the outbox."""
        self._has_written = True
        self._wanted.set()
        if self._relay is not None:
            self._relay.wake()

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Work in the background; at the end, what was written here is still brought to the log if that is quick."""
        async with beside() as tasks:
            tasks.start_soon(self._keep)
            try:
                yield
            finally:
                if self._has_written and not self._is_away:
                    with anyio.move_on_after(SETTLE_SECONDS, shield=True):
                        await self._settle()
                tasks.cancel_scope.cancel()

    async def _settle(self) -> None:
        await self._brings.wait()
        try:
            if self._relay is not None:
                await self._relay.once()
        except StoaError as error:
            log.info("events stay in the outbox: %s", error.message)

    async def _keep(self) -> None:
        since, failures = self._clock.now(), 0
        with anyio.move_on_after(self._open_seconds):
            await self._wanted.wait()
        while True:
            try:
                async with self._open() as events:
                    if failures:
                        log.warning("the event log is there again")
                    failures, self._is_away = 0, False
                    await self._work(events, since)
            except StoaError as error:
                failures += 1
                if failures == 1:
                    log.warning("documents are served without the event log: %s", error)
            except Exception:
                # Whatever the log does to us, documents are served; this task is the owner of both loops below.
                failures += 1
                log.exception("the ties to the event log broke")
            self._is_away = True
            await anyio.sleep(AWAY.delay(failures, self._rng))

    async def _work(self, events: "EventLog", since: datetime) -> None:
        async with beside() as tasks:
            tasks.start_soon(self._bring, events)
            try:
                await self._follow(events, since)
            finally:
                tasks.cancel_scope.cancel()

    async def _bring(self, events: "EventLog") -> None:
        await self._library.opened.wait()  # the outbox lies in its file, and nothing is written before
        store = await self._library.store()
        from eventlog.outbox import OutboxRelay
        from servers.content.outbox import ContentOutbox

        self._relay = OutboxRelay(ContentOutbox(store.database), events)
        self._brings.set()
        try:
            await self._relay.run()
        finally:
            self._relay, self._brings = None, anyio.Event()

    async def _follow(self, events: "EventLog", since: datetime) -> None:
        from eventlog.event import Filter
        from servers.content.events import TYPES

        if self._position is None:  # what has happened since the start was perhaps not in the first listing
            self._position = await events.position_at(since)
        async for batch in events.follow(self._position, filter=Filter(types=TYPES)):
            await self._pass_on(batch)
            self._position = batch[-1].position

    async def _pass_on(self, batch: Sequence["Event"]) -> None:
        """Each document once, however often it has changed. Our own clients were told when we did it."""
        from servers.content.events import INGESTED

        changed: dict[tuple[str, str], bool] = {}
        for event in batch:
            if event.metadata.source != self.source:
                key = (event.tenant, event.stream.aggregate_id)
                changed[key] = changed.get(key, False) or event.type != INGESTED
        for (tenant, document), was_there in changed.items():
            await self._tell(tenant, document, was_there)
