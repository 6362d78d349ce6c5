"""Works on one projection, turn by turn: look at the tables, decide, do one bounded piece of work.

A turn begins from what lies in the database, so it may end anywhere (`kill -9` included) and the next one goes on.
Nothing here waits: whoever calls `turn` does.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eventlog.event import Event, Filter, Head
from eventlog.keeping.checkpoint import fits
from eventlog.projections.decide import Build, build_due, can_swap, is_halted, workable
from eventlog.projections.into_documents import apply_to_documents, mend_documents
from eventlog.projections.into_sink import apply_to_sink, mend_sink, opened
from eventlog.projections.projection import DocumentProjection, Projection, SinkProjection
from eventlog.projections.status import State
from eventlog.projections.tables import (
    Generation,
    Parked,
    Shelf,
    born,
    cas,
    clear,
    load_parked,
    load_shelf,
    register,
    renew,
)
from eventlog.projections.work import Means, Mended, advanced, parked_streams, read_types, waiting
from stoa.errors import Conflict

__all__ = ["Turn", "Worker", "build", "mend"]

_log = logging.getLogger(__name__)

_FIRST_PAGE = 50
"""Events; pages grow while what they touch is small."""
_NOTE_EVERY_US = 1_000_000
"""How often a position is written that only passes over events of no interest."""
_NOTE_EVERY_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class Turn:
    """`is_over` when there was nothing more to do: then look again once the log has grown beyond `position`, or after
    `wait_seconds`."""

    state: State
    is_over: bool
    position: int = 0
    wait_seconds: float = 0.0


class Worker:
    """Of one projection in one process. `held` are the generations whose leases it has."""

    def __init__(self, means: Means, projection: Projection) -> None:
        self.projection = projection
        self.held: set[int] = set()
        self._means = means
        self._fitting: dict[int, str] = {}  # generations whose checkpoint was compared with the log, and its epoch
        self._passed: dict[int, tuple[int, int]] = {}  # where it is written to be, and how far it was found empty
        self._limit = _FIRST_PAGE
        self._quiet: tuple[Shelf, Head] | None = None  # as all was when there was nothing to do, and nothing to retry

    def __repr__(self) -> str:
        return f"<Worker of {self.projection.name!r}, holding {sorted(self.held)}>"

    @property
    def kind(self) -> str:
        return _kind(self.projection)

    async def turn(self) -> Turn:
        """Raises `Unavailable` when the database, or the place of a sink's effect, is away."""
        try:
            return await self._turn()
        except Conflict:
            # Somebody else was faster, and nothing of ours was written: look again.
            return Turn("catching_up", False)

    async def release(self) -> None:
        """Give the leases back, so that another process need not wait until they are over."""
        held, self.held = self.held, set()
        self._fitting.clear()
        if held:
            await self._means.database.write(renew(held, self._means.owner, None))

    async def _turn(self) -> Turn:
        means, projection = self._means, self.projection
        shelf = await load_shelf(means.database, projection.name)
        head = await means.log.head()
        if shelf is None or shelf.serving is None:
            await _begin(means, projection, head)
            return Turn("new", False)
        if (shelf, head) == self._quiet and shelf.serving.lease_us >= means.now_us():
            return self._idle("live", head.position)
        self._quiet = None
        if shelf.is_paused:
            await self.release()
            return self._idle("paused", head.position)
        if due := build_due(shelf, projection):
            await build(means, projection, shelf, due, head)
            return Turn("rebuilding", False)
        is_clearing = bool(shelf.retired) and await clear(
            means.database, shelf.retired[0], means.policy.clear_documents, means.now_us()
        )
        mine = workable(shelf, projection)
        self.held &= {one.pk for one in mine}
        if not mine:
            return replace(self._idle("superseded", head.position), is_over=not is_clearing)
        turns = [await self._work(one, head) for one in mine]
        if shelf.building in mine and await self._swapped(is_at_the_end=turns[-1].is_over):
            return Turn("live", False)
        worst = next((turn for turn in turns if turn.state != "live"), turns[0])
        turn = Turn(
            worst.state,
            not is_clearing and all(turn.is_over for turn in turns),
            min(turn.position for turn in turns),
            min(turn.wait_seconds for turn in turns),
        )
        is_at_the_head = shelf.building is None and shelf.serving.position == head.position
        if turn == self._idle("live", head.position) and is_at_the_head:
            self._quiet = (shelf, head)
        return turn

    async def _work(self, row: Generation, head: Head) -> Turn:
        means = self._means
        generation = await self._leased(row)
        if generation is None:
            return self._idle("waiting", head.position)
        generation = await self._fitted(generation, head)
        if generation is None:
            return self._idle("rebuilding", head.position)
        parked = await load_parked(means.database, generation.pk)
        now_us = means.now_us()
        due = next((one for one in parked if one.retry_us is not None and one.retry_us <= now_us), None)
        if due is not None:
            await mend(means, self.projection, generation, due, start=due.version)
            generation = advanced(generation)
            parked = await load_parked(means.database, generation.pk)
        if is_halted(parked, means.policy):
            return self._idle("halted", head.position, parked)
        after = self._after(generation)
        events = await means.log.read_all(
            after, filter=Filter(types=read_types(self.projection)), limit=self._page_limit()
        )
        if events:
            await self._apply(generation, parked, events, head.epoch)
            return Turn("catching_up" if generation.state == "serving" else "rebuilding", False)
        return await self._at_the_end(generation, parked, head, after)

    async def _apply(
        self, generation: Generation, parked: Sequence[Parked], events: Sequence[Event], epoch: str
    ) -> None:
        if isinstance(self.projection, DocumentProjection):
            page = await apply_to_documents(
                self._means, self.projection, generation, parked_streams(parked), events, epoch=epoch
            )
            is_large = page.bytes > self._means.policy.batch_bytes or page.events < len(events)
            self._limit = max(1, self._limit // 2) if is_large else self._limit * 2
        else:
            await apply_to_sink(self._means, self.projection, generation, parked_streams(parked), events, epoch=epoch)

    def _page_limit(self) -> int:
        most = self._means.policy.batch
        self._limit = min(self._limit, most)
        return self._limit

    async def _at_the_end(self, generation: Generation, parked: Sequence[Parked], head: Head, after: int) -> Turn:
        """Nothing that it wants lies between `after` and the head as it was before that was read."""
        means = self._means
        now_us = means.now_us()
        end = max(after, head.position)
        is_far = end - generation.position >= _NOTE_EVERY_EVENTS or now_us - generation.updated_us >= _NOTE_EVERY_US
        is_building = generation.state == "building"
        if end > generation.position and (is_far or is_building):
            there = await means.log.checkpoint(end)
            await means.database.write(cas(generation, now_us=now_us, checkpoint=there, lease=means.lease()))
            generation = advanced(generation, there)
        self._passed[generation.pk] = (generation.position, end)
        return self._idle("rebuilding" if is_building else "live", end, parked)

    async def _swapped(self, *, is_at_the_end: bool) -> bool:
        """The new generation serves, and the old one is retired, in one write. `Conflict` when either went on in the
        meantime."""
        means = self._means
        shelf = await load_shelf(means.database, self.projection.name)
        if shelf is None or shelf.serving is None or shelf.building is None or shelf.building.pk not in self.held:
            return False
        serving, building = shelf.serving, shelf.building
        if building.position < serving.position and not is_at_the_end:
            return False
        does_fit = await fits(means.log, serving.checkpoint) is None
        parked = await load_parked(means.database, building.pk)
        if not can_swap(serving, building, does_serving_fit=does_fit, is_at_the_end=is_at_the_end, parked=parked):
            return False
        now_us = means.now_us()
        await means.database.write(
            cas(serving, now_us=now_us, state="retired"), cas(building, now_us=now_us, state="serving")
        )
        _log.info("Projection %s: the new generation serves (%s)", building.name, building.reason)
        return True

    async def _leased(self, generation: Generation) -> Generation | None:
        """None while another process works on it. Taking it over from a process that is gone counts as going on: what
        that process may still write finds another revision."""
        means = self._means
        now_us = means.now_us()
        if generation.owner == means.owner and generation.lease_us >= now_us:
            self.held.add(generation.pk)
            return generation
        self.held.discard(generation.pk)
        self._fitting.pop(generation.pk, None)
        if not generation.is_free_for(means.owner, now_us):
            return None
        lease = means.lease()
        await means.database.write(cas(generation, now_us=now_us, lease=lease))
        self.held.add(generation.pk)
        return replace(generation, revision=generation.revision + 1, owner=lease[0], lease_us=lease[1])

    async def _fitted(self, generation: Generation, head: Head) -> Generation | None:
        """The generation, if the log is still the one that it has read; else it is to be built anew. Compared when the
        lease was taken, and whenever the log looks like another one."""
        if self._fitting.get(generation.pk) == head.epoch and generation.position <= head.position:
            return generation
        means, projection = self._means, self.projection
        reason = await fits(means.log, generation.checkpoint)
        if reason is None and isinstance(projection, SinkProjection):
            generation = await opened(means, projection, generation, epoch=head.epoch)
            reason = await fits(means.log, generation.checkpoint)
        if reason is None:
            self._fitting[generation.pk] = head.epoch
            return generation
        now_us = means.now_us()
        if generation.state == "building":
            await means.database.write(cas(generation, now_us=now_us, state="retired"))
        elif generation.stale is None:
            _log.warning("Projection %s is built anew: %s", projection.name, reason)
            await means.database.write(cas(generation, now_us=now_us, stale=reason))
        else:
            return None
        raise Conflict("The log is another one than this generation has read.")

    def _after(self, generation: Generation) -> int:
        written, passed = self._passed.get(generation.pk, (-1, 0))
        return passed if written == generation.position else generation.position

    def _idle(self, state: State, position: int, parked: Sequence[Parked] = ()) -> Turn:
        """Look again when the log has grown, when a parked stream is due, or to see what people wish."""
        wait_seconds = self._means.policy.poll_seconds
        due_us = min((one.retry_us for one in parked if one.retry_us is not None), default=None)
        if due_us is not None:
            wait_seconds = max(0.0, min(wait_seconds, (due_us - self._means.now_us()) / 1_000_000))
        return Turn(state, wait_seconds > 0.0, position, wait_seconds)


async def _begin(means: Means, projection: Projection, head: Head) -> None:
    """The first generation serves from the start: there is nothing that it could replace."""
    now_us = means.now_us()
    first = born(
        projection.name,
        projection.version,
        "serving",
        reason="first",
        epoch=head.epoch,
        head=head.position,
        is_reset=True,
        now_us=now_us,
    )
    await means.database.write(register(projection.name, _kind(projection), now_us), first)


async def build(means: Means, projection: Projection, shelf: Shelf, due: Build, head: Head) -> None:
    """A new generation from position 0, beside the one that serves. The effect of a sink is in one place only: there
    the new one takes over at once. `Conflict` when another process does the same."""
    serving, now_us = shelf.serving, means.now_us()
    assert serving is not None, "what was never begun cannot be built anew"
    is_sink = not isinstance(projection, DocumentProjection)
    new = born(
        projection.name,
        projection.version,
        "serving" if is_sink else "building",
        reason=due.reason,
        epoch=head.epoch,
        head=head.position,
        is_reset=False,
        now_us=now_us,
    )
    given_up = [] if due.instead_of is None else [cas(due.instead_of, now_us=now_us, state="retired")]
    present = cas(serving, now_us=now_us, state="retired" if is_sink else None, stale=due.reason)
    await means.database.write(*given_up, present, new)
    _log.info("Projection %s: a new generation is built because of %s", projection.name, due.reason)


async def mend(means: Means, projection: Projection, generation: Generation, parked: Parked, *, start: int) -> Mended:
    """Try what waits of a parked stream, from its version `start` on. `Conflict` when overtaken."""
    events, rest = await waiting(means.log, generation, parked, start=start, limit=means.policy.batch)
    if isinstance(projection, DocumentProjection):
        return await mend_documents(means, projection, generation, parked, events, rest)
    return await mend_sink(means, projection, generation, parked, events, rest)


def _kind(projection: Projection) -> str:
    return "documents" if isinstance(projection, DocumentProjection) else "sink"
