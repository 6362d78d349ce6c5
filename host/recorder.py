"""Writing a run to the log while it happens: what is told here is on its way at once, so that a run that is cut off
leaves what it had done.

The run never waits for the log: it is told in passing, and a task beside the run writes. Only at the end somebody
waits, and not for long. What stood in the way is kept in `trouble`: an answer is worth more than its record.
"""

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import anyio

from eventlog.event import ANY, NO_STREAM, Metadata, NewEvent, StreamId, microseconds
from eventlog.ids import ENTROPY_BYTES, id_text, new_ids
from eventlog.log import EventLog
from host import record
from host.answer import Answer, ModelAnswer, Step
from host.record import Data
from stoa.clock import Clock
from stoa.errors import StoaError, Unavailable
from stoa.tasks import beside

__all__ = ["OpenLog", "Recorder", "recording"]

OpenLog = Callable[[], AbstractAsyncContextManager[EventLog]]

PATIENCE_SECONDS: Final = 5.0
"""How long the end of a run waits for the log."""
PAUSE_SECONDS: Final = 0.5
"""Between two tries, where the log is away."""


class Recorder:
    """State: what is still to be written, and whether more will come."""

    def __init__(self, stream: StreamId, metadata: Metadata, *, secrets: Sequence[str], clock: Clock) -> None:
        self.trouble: StoaError | None = None
        self._stream = stream
        self._metadata = metadata
        self._secrets = secrets
        self._clock = clock
        self._began = clock.monotonic()
        self._steps = 0
        self._answers = 0
        self._written = 0
        self._waiting: list[NewEvent] = []
        self._told = anyio.Event()
        self._over = anyio.Event()

    def __repr__(self) -> str:
        return f"<Recorder {self._stream.name}: {self._written} events written, {len(self._waiting)} waiting>"

    @property
    def is_complete(self) -> bool:
        """Whether all that was told is in the log."""
        return self._over.is_set() and not self._waiting and self.trouble is None

    def started(self, *, run_id: str, task: str, model: str | None, servers: Sequence[str], allow_writes: bool) -> None:
        self._tell(record.started(run_id=run_id, task=task, model=model, servers=servers, allow_writes=allow_writes))

    def tool_called(self, step: Step) -> None:
        self._steps += 1
        self._tell(record.tool_called(self._steps, step))

    def model_answered(self, answer: ModelAnswer) -> None:
        self._answers += 1
        self._tell(record.answered(self._answers, answer))

    def finished(self, answer: Answer) -> None:
        self._tell(record.finished(answer, seconds=self._seconds()))
        self.close()

    def failed(self, error: BaseException) -> None:
        """What ended the run; nothing, where it had its answer already and something went wrong on the way out."""
        if self._over.is_set():
            return
        known = error if isinstance(error, StoaError) else None
        code = known.code if known else "fault" if isinstance(error, Exception) else "interrupted"
        message = known.message if known else _IN_WORDS[code]
        hint = known.hint if known else ""
        self._tell(record.failed(code=code, message=message, hint=hint, steps=self._steps, seconds=self._seconds()))
        self.close()

    def give_up(self, after_seconds: float) -> None:
        """Called when nobody waits any longer: what is not in by now, will not be."""
        if self._waiting and self.trouble is None:
            self.trouble = Unavailable(f"The event log did not take the run within {after_seconds:g} seconds.")

    async def write(self, open_log: OpenLog) -> None:
        """Write what is told, in order, until the run is over and all of it is in, or cannot be."""
        while self._waiting or not self._over.is_set():
            is_last = self._over.is_set()
            try:
                async with open_log() as log:
                    await self._write_to(log)
            except Unavailable as error:
                self.trouble = error
                if is_last:
                    return
                with anyio.move_on_after(PAUSE_SECONDS):  # it may come back while the run goes on
                    await self._over.wait()
            except StoaError as error:
                self.trouble = error
                return

    async def _write_to(self, log: EventLog) -> None:
        while self._waiting or not self._over.is_set():
            if not self._waiting:
                self._told = anyio.Event()
                await self._told.wait()
                continue
            batch = tuple(self._waiting)
            # Ids were given when the events were told: where a first try came through after all, this is its repeat.
            await log.append_to(self._stream, batch, expected=ANY if self._written else NO_STREAM)
            self._written += len(batch)
            del self._waiting[: len(batch)]
            self.trouble = None

    def _tell(self, told: Data) -> None:
        type, data = told
        now = self._clock.now()
        (event_id,) = new_ids(1, microseconds(now) // 1000, entropy=os.urandom(ENTROPY_BYTES))
        self._waiting.append(
            NewEvent(
                type,
                record.for_log(data, self._secrets),
                metadata=self._metadata,
                event_id=id_text(event_id),
                occurred_at=now,
            )
        )
        self._told.set()

    def close(self) -> None:
        """Nothing more will be told."""
        self._over.set()
        self._told.set()

    def _seconds(self) -> float:
        return round(self._clock.monotonic() - self._began, 6)


_IN_WORDS: Final = {"fault": "Something went wrong inside Stoa.", "interrupted": "Interrupted."}


@asynccontextmanager
async def recording(
    recorder: Recorder, open_log: OpenLog, *, patience_seconds: float = PATIENCE_SECONDS
) -> AsyncGenerator[Recorder]:
    """Write beside the block. It ends with `finished`, or with what it raises, which is told as `failed`."""
    # Shielded: also of a run that is cancelled, the last event has to get in. It is ended here, and in time.
    scope, done = anyio.CancelScope(shield=True), anyio.Event()

    async def write() -> None:
        with scope:
            await recorder.write(open_log)
        done.set()

    async with beside() as tasks:
        tasks.start_soon(write)
        try:
            yield recorder
        except BaseException as error:
            recorder.failed(error)
            raise
        else:
            recorder.close()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(patience_seconds):
                await done.wait()
            recorder.give_up(patience_seconds)
            scope.cancel()
