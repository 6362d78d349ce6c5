"""Commands on aggregates: load, decide, append where nobody was faster; else load and decide again."""

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar, cast, final

import anyio

from eventlog.aggregates.aggregate import Aggregate, fresh
from eventlog.aggregates.loading import Loaded, StateLost, advance, begin, load, snapshot, snapshot_if_due
from eventlog.aggregates.policy import DEFAULT, Policy
from eventlog.conflict import WrongVersion
from eventlog.event import MAX_EVENTS, Appended, NewEvent, StreamId, microseconds
from eventlog.ids import id_bytes
from eventlog.log import EventLog
from eventlog.names import shown
from stoa.clock import Clock, SystemClock
from stoa.errors import BadInput, Conflict, NotFound
from stoa.resilience.backoff import Backoff

__all__ = ["RETRIES", "Command", "Executed", "Repository", "event_id_of"]

RETRIES: Final = 10
MAX_COMMAND_ID: Final = 200
_NO_BOUND: Final = 2**62

_BACKOFF: Final = Backoff(first_seconds=0.005, most_seconds=0.5, floor_seconds=0.0)
_NAMESPACE: Final = uuid.UUID("6f0d7a54-6a3c-5d57-9a5e-1b0f6d2c8e41")

_PLACES: Final = "SELECT stream, version, position, event_id FROM event"
_TRUNCATED: Final = "UNION ALL SELECT stream, version, position, event_id FROM truncated"

S = TypeVar("S")

Command = Callable[[S], Sequence[NewEvent]]
"""A decision: the events that follow from the state, maybe none. It refuses by raising `BadInput` or `Conflict`. Pure,
for it may be asked again with a newer state; it does not change the state it is given."""


@dataclass(frozen=True)  # no slots: with them, `Executed[…](…)` raises in Python 3.11
class Executed(Generic[S]):
    """What a command has done: `appended` is None where it had nothing to say. `is_repeat` when the command with this
    id was done before; then `appended` is of that time. `tries` counts how often it was decided."""

    stream: StreamId
    appended: Appended | None
    version: int
    tries: int
    is_repeat: bool = False
    before: Loaded[S] | None = field(default=None, repr=False)
    """The state that the decision was taken on; None for a repeat."""


@final
class Repository(Generic[S]):
    """The aggregates of one type. Several may work on the same log, in several processes: the streams' versions keep
    their decisions in order. Snapshots are taken by `policy` when a state is loaded."""

    def __init__(
        self,
        log: EventLog,
        aggregate: Aggregate[S],
        *,
        policy: Policy = DEFAULT,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        self.aggregate = aggregate
        self._log = log
        self._policy = policy
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._backoff = backoff

    def __repr__(self) -> str:
        return f"<Repository of {self.aggregate!r}, snapshots by {self._policy!r}>"

    async def load(self, stream: StreamId) -> Loaded[S]:
        """The state now. Raises `NotFound` for an unknown stream; else as `loading.load`."""
        self._check(stream)
        loaded = await load(self._log, self.aggregate, stream)
        return await snapshot_if_due(self._log, self.aggregate, loaded, self._policy, now=self._clock.now())

    async def take_snapshot(self, stream: StreamId) -> int:
        """Now, whatever the policy; answers the version that it is of. Raises `Conflict` as `loading.snapshot`.

        However long the stream is: a snapshot is what makes a long one loadable."""
        self._check(stream)
        loaded = await load(self._log, self.aggregate, stream, max_events=_NO_BOUND)
        return await snapshot(self._log, self.aggregate, loaded, now_us=microseconds(self._clock.now()))

    async def execute(
        self, stream: StreamId, command: Command[S], *, command_id: str | None = None, retries: int = RETRIES
    ) -> Executed[S]:
        """Decide on the present state and append. A stream that does not exist yet has the initial state.

        When others have appended meanwhile, it is decided anew on what they have left, at most `retries` times more;
        then `Conflict`. What `command` raises goes to the caller, and nothing is written.

        With a `command_id` the same command is not done twice on this stream, however often it is sent: the ids of its
        events follow from it, and a repeat is answered with what was done, without deciding anew. (A command that had
        nothing to say leaves no trace, and is decided again.) Two different commands must not share an id.
        """
        self._check(stream)
        if command_id is not None and not (0 < len(command_id) <= MAX_COMMAND_ID and command_id.isprintable()):
            raise BadInput(
                f"The command id {shown(command_id)} cannot be used.",
                hint=f"Give 1 to {MAX_COMMAND_ID} printable characters.",
            )
        if retries < 0:
            raise BadInput(f"{retries} retries cannot be made.", hint="Give 0 or more.")
        loaded = await begin(self._log, self.aggregate, stream)
        for tries in range(1, retries + 2):
            if command_id is not None and (done := await self._done(stream, command_id)) is not None:
                return Executed(stream, done, done.version, tries, is_repeat=True)
            loaded = await self._present(loaded)
            events = command(loaded.state)
            if not events:
                return Executed(stream, None, loaded.version, tries, before=loaded)
            if command_id is not None:
                events = _with_ids(events, stream, command_id)
            try:
                appended = await self._log.append_to(stream, events, expected=loaded.version)
            except WrongVersion as error:
                if tries > retries:
                    raise Conflict(
                        f"The command on {stream.name!r} was decided {tries} times, and each time somebody else was"
                        " faster.",
                        hint="Try again later, or spread the work over more streams.",
                    ) from error
            except Conflict:
                # The ids are there already: the same command was done by somebody else in this very moment.
                if command_id is not None and (done := await self._done(stream, command_id)) is not None:
                    return Executed(stream, done, done.version, tries, is_repeat=True)
                raise
            else:
                if appended.is_repeat and command_id is not None:
                    # Done by somebody else in this very moment, and maybe with more events than were decided here.
                    appended = await self._done(stream, command_id) or appended
                before = None if appended.is_repeat else loaded
                return Executed(stream, appended, appended.version, tries, appended.is_repeat, before)
            await anyio.sleep(self._backoff.delay(tries, self._rng))
        raise AssertionError("the last try returns or raises")

    async def _present(self, loaded: Loaded[S]) -> Loaded[S]:
        """With what has come since; and a snapshot, when one is due."""
        try:
            loaded = await advance(self._log, self.aggregate, loaded)
        except StateLost:
            raise  # the stream is there, its state is not
        except NotFound:
            # Not there yet; who makes it before us is found by the version.
            return Loaded(loaded.stream, fresh(self.aggregate))
        return await snapshot_if_due(self._log, self.aggregate, loaded, self._policy, now=self._clock.now())

    async def _done(self, stream: StreamId, command_id: str) -> Appended | None:
        """What the command with this id has appended to this stream, also where that was truncated."""
        database = self._log.database
        begun = await database.fetch(
            f"SELECT p.stream, p.version FROM ({_PLACES} WHERE event_id = $1 {_TRUNCATED} WHERE event_id = $1) p"  # noqa: S608 - words of ours
            " JOIN stream s ON s.pk = p.stream JOIN tenant t ON t.pk = s.tenant WHERE t.name = $2 AND s.name = $3",
            id_bytes(event_id_of(stream, command_id, 0)),
            *stream,
        )
        if not begun:
            return None
        pk, first = cast("tuple[int, int]", tuple(begun[0]))
        range = "WHERE stream = $1 AND version >= $2 AND version < $3"
        rows = await database.fetch(
            f"SELECT p.event_id, p.position FROM ({_PLACES} {range} {_TRUNCATED} {range}) p ORDER BY p.version",  # noqa: S608 - as above
            pk,
            first,
            first + MAX_EVENTS,
        )
        ids: list[bytes] = []
        last = 0
        for event_id, position in cast("Sequence[tuple[bytes, int]]", rows):
            if event_id != id_bytes(event_id_of(stream, command_id, len(ids))):
                break  # what others have appended after it
            ids.append(event_id)
            last = position
        return Appended(stream, first, first + len(ids) - 1, last, tuple(ids), is_repeat=True)

    def _check(self, stream: StreamId) -> None:
        if stream.aggregate_type != self.aggregate.type:
            raise BadInput(
                f"{shown(stream.name)} is no stream of aggregate {self.aggregate.type!r}.",
                hint=f"Name a stream that begins with {self.aggregate.type}-.",
            )


def event_id_of(stream: StreamId, command_id: str, index: int) -> str:
    """The id of the n-th event of a command: the same for the same command on the same stream, for ever."""
    # Lengths before the words: no two commands can run into each other.
    words = "".join(f"{len(word)}:{word}" for word in (*stream, command_id))
    return str(uuid.uuid5(_NAMESPACE, f"{words}{index}"))


def _with_ids(events: Sequence[NewEvent], stream: StreamId, command_id: str) -> Sequence[NewEvent]:
    """Whatever ids they had; the command is what caused them, where nothing else is named."""
    return [
        event._replace(
            event_id=event_id_of(stream, command_id, index),
            metadata=event.metadata
            if event.metadata.causation_id is not None
            else replace(event.metadata, causation_id=command_id),
        )
        for index, event in enumerate(events)
    ]
