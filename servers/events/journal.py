"""The log, opened by the first call that needs it (or a moment after the start): a server lists its tools without
waiting for a database. While it is open, this process works on the projections."""

import importlib
import logging
import math
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from servers.events.settings import EventsSettings
from stoa.errors import Fault, StoaError, Unavailable
from stoa.settings import Settings
from stoa.tasks import beside
from stoa.telemetry import Sample

if TYPE_CHECKING:
    from eventlog.aggregates.generic import Aggregates
    from eventlog.log import EventLog
    from eventlog.model import EventModel
    from eventlog.projections.projector import Projector

__all__ = ["Journal", "Opened"]

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Opened:
    log: "EventLog"
    aggregates: "Aggregates"
    projector: "Projector"


class _Attempt:
    """One try to open the log, and who waits for it."""

    def __init__(self) -> None:
        self.wanted = anyio.Event()
        self.ended = anyio.Event()
        self.opened: Opened | None = None
        self.error: StoaError | None = None


class Journal:
    """State: the present attempt, and the tasks that run beside it."""

    def __init__(
        self, settings: Settings, events: EventsSettings, *, models: "Sequence[EventModel] | None" = None
    ) -> None:
        """`models` are those of what is installed here, unless they are handed in."""
        self._models = models
        self._settings = settings
        self._events = events
        self._attempt = _Attempt()
        self._tasks: TaskGroup | None = None
        self._closing = anyio.Event()
        self._samples: tuple[Sample, ...] = ()
        self._looked = anyio.Event()

    def __repr__(self) -> str:
        return f"<Journal{'' if self._attempt.opened else ', not opened yet'}>"

    @property
    def tasks(self) -> TaskGroup:
        """For what runs while the server does."""
        assert self._tasks is not None, "the server is not running"
        return self._tasks

    async def opened(self) -> Opened:
        """Raises why it cannot be opened; the next call tries again."""
        attempt = self._attempt
        if attempt.opened is None:
            attempt.wanted.set()
            await attempt.ended.wait()
        if attempt.opened is None:
            assert attempt.error is not None
            raise attempt.error
        return attempt.opened

    async def log(self) -> "EventLog":
        return (await self.opened()).log

    async def projector(self) -> "Projector":
        return (await self.opened()).projector

    def samples(self) -> Iterable[Sample]:
        """For metrics: how far the projections were when somebody looked the last time."""
        self._looked.set()
        return self._samples

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The server's lifespan."""
        self._attempt, self._closing, self._looked = _Attempt(), anyio.Event(), anyio.Event()
        async with beside() as owner:
            owner.start_soon(self._own)
            try:
                async with beside() as self._tasks:
                    try:
                        yield
                    finally:
                        self._tasks.cancel_scope.cancel()
            finally:
                self._closing.set()
                self._attempt.wanted.set()

    async def _own(self) -> None:
        """Open the log when it is wanted and keep it open until the server ends: what is opened in a task has to be
        closed in it."""
        wait_seconds = self._events.start_seconds
        while True:
            attempt = self._attempt
            with anyio.move_on_after(wait_seconds):
                await attempt.wanted.wait()
            if self._closing.is_set():
                break
            try:
                await self._keep_open(attempt)
            except StoaError as error:
                attempt.error = error
            except Exception:  # the owner of the log: whatever ends it, the server lives and opens it again
                logger.exception("the event log was closed")
                attempt.error = Fault("The event log failed.", hint="The server's log says how.")
            wait_seconds = math.inf if attempt.opened is None else AGAIN_SECONDS
            self._attempt = _Attempt()
            attempt.ended.set()
            if self._closing.is_set():
                break
        self._attempt.error = Unavailable("The server is stopping.")
        self._attempt.ended.set()

    async def _keep_open(self, attempt: _Attempt) -> None:
        await anyio.to_thread.run_sync(_import)
        from eventlog.bus.open import open_relays
        from eventlog.model import combined, installed_models
        from eventlog.open import open_log
        from eventlog.projections.builtin import BUILTIN
        from eventlog.projections.projector import Projector

        model = combined(installed_models() if self._models is None else self._models)
        known = {each.name for each in BUILTIN}
        added = [each for each in model.projections if each.name not in known]
        if len(added) < len(model.projections):
            logger.warning("projections of installed models that are named like built-in ones are left out")
        async with (
            open_log(self._settings, types=model.registry()) as log,
            open_relays(self._settings) as relays,
        ):
            projector = Projector(log, [*BUILTIN, *relays, *added])
            attempt.opened = Opened(log, model.by_type(), projector)
            attempt.ended.set()
            async with anyio.create_task_group() as group:
                if self._events.projections:
                    group.start_soon(projector.run)
                group.start_soon(self._measure, projector)
                await self._closing.wait()
                group.cancel_scope.cancel()

    async def _measure(self, projector: "Projector") -> None:
        """Whenever somebody has looked: nobody pays for what nobody looks at."""
        while True:
            await self._looked.wait()
            self._looked = anyio.Event()
            try:
                self._samples = tuple(await projector.samples())
            except StoaError as error:
                logger.warning("the projections cannot be measured at the moment: %s", error)


def _import() -> None:
    for room in ("bus.open", "model", "open", "projections.builtin", "projections.projector"):
        importlib.import_module(f"eventlog.{room}")  # about 0.1 s of CPU, once
