"""Effects elsewhere: at least once, in order within a stream, and never a word about positions that is not true."""

from dataclasses import dataclass, field

import anyio
import pytest

from eventlog.database import Statement
from eventlog.event import Event, StreamId
from eventlog.keeping.erase import erase
from eventlog.log import EventLog
from eventlog.projections.letters import purge, retry
from eventlog.projections.projection import SinkProjection
from eventlog.projections.tables import Generation, load_parked
from eventlog.projections.work import Means
from eventlog.projections.worker import Build, Worker, build
from stoa.clock import ManualClock
from stoa.errors import BadInput, Unavailable
from tests.eventlog.projections.counting import POLICY, append, make_worker, settle, shelf_of


@dataclass
class Place:
    """Where effects land; it may be away, choke on some marks, and keep its own position."""

    effects: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    position: tuple[int, bytes] | None = None
    resets: int = 0
    is_away: bool = False
    poison: set[object] = field(default_factory=set[object])
    crash_after: int | None = None

    async def handle(self, event: Event) -> None:
        if self.is_away:
            raise Unavailable("The place is away.")
        if event.data.get("mark") in self.poison:
            raise RuntimeError("no")
        self.effects.append((event.stream.aggregate_id, event.version))
        if self.position is None or event.position > self.position[0]:
            self.position = (event.position, event.checksum)
        if self.crash_after is not None and len(self.effects) >= self.crash_after:
            self.crash_after = None
            raise KeyboardInterrupt

    async def tell(self) -> tuple[int, bytes] | None:
        return self.position

    async def reset(self) -> None:
        self.resets += 1
        self.effects, self.position = [], None

    def sink(self, *, version: int = 1, keeps_position: bool = False) -> SinkProjection:
        return SinkProjection(
            name="sink",
            version=version,
            types=("order.*",),
            handle=self.handle,
            position=self.tell if keeps_position else None,
            reset=self.reset,
        )


def means_of(worker: Worker) -> Means:
    return worker._means  # pyright: ignore[reportPrivateUsage] - the tests' own worker


async def serving(log: EventLog) -> Generation:
    generation = (await shelf_of(log, "sink")).serving
    assert generation is not None
    return generation


async def test_each_event_has_its_effect_and_the_position_follows(log: EventLog) -> None:
    place = Place()
    await append(log, "order-1", 25)
    await settle(make_worker(log, place.sink()))
    assert place.effects == [("1", version) for version in range(1, 26)]
    assert ((await serving(log)).position, (await serving(log)).applied) == (25, 25)


@pytest.mark.parametrize("keeps_position", [False, True])
async def test_after_a_crash_effects_come_again_only_where_the_sink_keeps_no_position(
    log: EventLog, keeps_position: bool
) -> None:
    place = Place(crash_after=7)
    await append(log, "order-1", 25)
    first = make_worker(log, place.sink(keeps_position=keeps_position))
    with pytest.raises(KeyboardInterrupt):
        await settle(first)
    clock = ManualClock()
    clock.advance(100)
    await settle(make_worker(log, place.sink(keeps_position=keeps_position), clock=clock, owner="b"))
    versions = [version for _, version in place.effects]
    assert sorted(set(versions)) == list(range(1, 26))
    assert len(versions) == (25 if keeps_position else 25 + 7)


async def test_while_the_place_is_away_no_event_is_blamed(log: EventLog) -> None:
    place = Place()
    worker = make_worker(log, place.sink())
    await append(log, "order-1", 3)
    await settle(worker)
    place.is_away = True
    await append(log, "order-1", 3)
    with pytest.raises(Unavailable):
        await settle(worker)
    assert await load_parked(log.database, (await serving(log)).pk) == []
    place.is_away = False
    await settle(worker)
    assert place.effects == [("1", version) for version in range(1, 7)]


async def test_a_poison_event_parks_its_stream_and_a_retry_goes_on_in_order(log: EventLog) -> None:
    place, clock = Place(poison={"x"}), ManualClock()
    worker = make_worker(log, place.sink(keeps_position=True), clock=clock)
    await append(log, "order-1", 2)
    await append(log, "order-1", mark="x")
    await append(log, "order-1", 2)
    await append(log, "order-2", 3)
    await settle(worker)
    assert place.effects == [("1", 1), ("1", 2), ("2", 1), ("2", 2), ("2", 3)]
    for _ in range(POLICY.max_attempts):
        clock.advance(100)
        await settle(worker)
    (parked,) = await load_parked(log.database, (await serving(log)).pk)
    assert parked.is_dead
    place.poison.clear()
    retried = await retry(means_of(worker), worker.projection, parked.id, tenant="acme")
    assert (retried.applied, retried.is_mended) == (3, True)
    assert place.effects[5:] == [("1", 3), ("1", 4), ("1", 5)]


async def test_a_purged_event_has_no_effect(log: EventLog) -> None:
    place, clock = Place(poison={"x"}), ManualClock()
    worker = make_worker(log, place.sink(), clock=clock)
    await append(log, "order-1", mark="x")
    await append(log, "order-1", 2)
    await settle(worker)
    (parked,) = await load_parked(log.database, (await serving(log)).pk)
    await purge(means_of(worker), worker.projection, parked.id, tenant=None)
    assert place.effects == [("1", 2), ("1", 3)]


async def test_a_crash_right_after_a_failure_does_not_lose_the_failed_event(log: EventLog) -> None:
    """The sink's own position passes over it; so it is written down before any later event is handled."""
    place = Place(poison={"x"}, crash_after=3)
    await append(log, "order-1", 1)
    await append(log, "order-2", mark="x")
    await append(log, "order-3", 5)
    with pytest.raises(KeyboardInterrupt):
        await settle(make_worker(log, place.sink(keeps_position=True)))
    place.poison.clear()
    clock = ManualClock()
    clock.advance(100)
    await settle(make_worker(log, place.sink(keeps_position=True), clock=clock, owner="b"))
    assert sorted(place.effects) == [("1", 1), ("2", 1), *[("3", version) for version in range(1, 6)]]


async def test_built_anew_its_place_is_emptied_once_and_filled_again(log: EventLog) -> None:
    place = Place()
    worker = make_worker(log, place.sink(keeps_position=True))
    await append(log, "order-1", 12)
    await settle(worker)
    await build(means_of(worker), worker.projection, await shelf_of(log, "sink"), Build("asked"), await log.head())
    await settle(worker)
    assert place.resets == 1
    assert place.effects == [("1", version) for version in range(1, 13)]
    assert (await serving(log)).reason == "asked"
    newer = make_worker(log, place.sink(version=2))
    await settle(newer)
    assert (place.resets, (await serving(log)).version) == (2, 2)


async def test_a_sink_with_a_position_of_another_log_is_filled_anew(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(effects=[("of another log", 1)], position=(3, bytes(range(32))))
    await append(log, "order-1", 5)
    await settle(make_worker(log, place.sink(keeps_position=True)))
    assert place.effects == [("1", version) for version in range(1, 6)]
    assert (place.resets, "built anew" in caplog.text) == (1, True)


async def test_a_sink_that_was_restored_from_an_older_copy_gets_what_it_lacks(log: EventLog) -> None:
    place = Place()
    first = make_worker(log, place.sink(keeps_position=True))
    await append(log, "order-1", 5)
    await settle(first)
    copy, position = list(place.effects), place.position
    await append(log, "order-1", 5)
    await settle(first)
    await first.release()
    place.effects, place.position = copy, position
    await settle(make_worker(log, place.sink(keeps_position=True), owner="b"))
    assert place.effects == [("1", version) for version in range(1, 11)]
    assert place.resets == 0


async def test_a_sink_that_does_not_forget_its_position_is_told_so(log: EventLog) -> None:
    place = Place(position=(3, bytes(range(32))))

    async def reset() -> None: ...

    sink = SinkProjection(name="sink", types=(), handle=place.handle, position=place.tell, reset=reset)
    await append(log, "order-1", 5)
    with pytest.raises(BadInput, match="still tells a position"):
        await settle(make_worker(log, sink))


async def test_erased_events_have_no_effect(log: EventLog) -> None:
    place, stream = Place(), StreamId("acme", "order-1")
    await append(log, stream, 3)
    await erase(log, stream, [2])
    await settle(make_worker(log, place.sink()))
    assert place.effects == [("1", 1), ("1", 3)]


async def test_an_effect_that_takes_too_long_is_a_failure(log: EventLog) -> None:
    async def handle(event: Event) -> None:
        if event.stream.aggregate_id == "1":
            await anyio.sleep_forever()

    sink = SinkProjection(name="sink", types=("order.*",), handle=handle, handle_seconds=0.01)
    await append(log, "order-1")
    await append(log, "order-2")
    with anyio.fail_after(30):
        await settle(make_worker(log, sink))
    (parked,) = await load_parked(log.database, (await serving(log)).pk)
    assert (parked.stream, parked.reason) == ("order-1", "TimeoutError: it took longer than 0.01 s")


async def test_a_sink_that_lost_its_lease_stops_at_the_next_write(log: EventLog) -> None:
    place = Place()
    worker = make_worker(log, place.sink())
    await settle(worker)

    async def handle(event: Event) -> None:
        await place.handle(event)
        if event.version == 2:  # another process takes over in between
            await log.database.write(
                Statement(
                    "UPDATE projection_generation SET revision = revision + 1, owner = 'b', lease_us = $1", [(2**60,)]
                )
            )

    sink = SinkProjection(name="sink", types=("order.*",), handle=handle)
    await append(log, "order-1", 5)
    taken = make_worker(log, sink)
    turn = await settle(taken)
    assert turn.state == "waiting"
    assert (await serving(log)).position == 0
