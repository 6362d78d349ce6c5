"""In the background: each projection by itself, started, stopped, paused, waited for, told of."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from eventlog.event import Event, NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.projections.decide import Policy
from eventlog.projections.projection import DocumentProjection, Projection, SinkProjection
from eventlog.projections.projector import Projector
from stoa.errors import BadInput, NotFound, Unavailable
from stoa.resilience.backoff import Backoff
from stoa.telemetry import PROJECTION_APPLIED, PROJECTION_DEAD, PROJECTION_LAG_EVENTS, PROJECTION_POSITION
from tests.eventlog.conftest import OpenLog
from tests.eventlog.projections.counting import SEEN, append, documents_of, folded, shelf_of, versioned

QUICK = Policy(
    poll_seconds=0.02,
    max_attempts=2,
    backoff=Backoff(first_seconds=0.01, factor=1, most_seconds=0.01, floor_seconds=0.001),
)


def named(name: str, projection: DocumentProjection = SEEN) -> DocumentProjection:
    return DocumentProjection(name=name, types=projection.types, keys=projection.keys, apply=projection.apply)


@asynccontextmanager
async def running(log: EventLog, *projections: Projection, policy: Policy = QUICK) -> AsyncGenerator[Projector]:
    projector = Projector(log, projections or [SEEN], policy=policy)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(projector.run)
            yield projector
            tasks.cancel_scope.cancel()


async def until(projector: Projector, name: str, state: str) -> None:
    while (await projector.status(name)).state != state:
        await anyio.lowlevel.checkpoint()


async def test_what_is_appended_is_soon_in_the_documents(log: EventLog) -> None:
    async with running(log) as projector:
        for _ in range(5):
            await projector.wait_for("seen", await append(log, "order-1", 3))
            assert await documents_of(log) == await folded(log)
        found = await projector.documents.get("seen", "acme", "1")
        assert found is not None
        assert found.position == 15


async def test_waiting_for_a_position_does_not_wait_for_events_of_no_interest(log: EventLog) -> None:
    async with running(log, policy=Policy(poll_seconds=60)) as projector:
        await projector.wait_for("seen", await append(log, "order-1"))
        position = await append(log, "order-2")
        await projector.wait_for("seen", position)
        sent = await log.append_to(StreamId("acme", "invoice-1"), [NewEvent("invoice.sent", {})])
        await projector.wait_for("seen", sent.position)


async def test_waiting_for_what_does_not_come_ends(log: EventLog) -> None:
    projector = Projector(log, [SEEN])
    position = await append(log, "order-1")
    with pytest.raises(Unavailable, match="has not seen position 1"):
        await projector.wait_for("seen", position, seconds=0.05)


async def test_of_two_projections_one_always_fails_and_the_other_never_notices(log: EventLog) -> None:
    def refuse(key: str, document: dict[str, object] | None, event: Event) -> dict[str, object] | None:
        raise RuntimeError("never")

    async def away(event: Event) -> None:
        raise Unavailable("The place is away.")

    failing = DocumentProjection(name="failing", types=("order.*",), keys=SEEN.keys, apply=refuse)
    lost = SinkProjection(name="lost", types=("order.*",), handle=away)
    async with running(log, failing, lost, SEEN) as projector:
        for number in range(20):
            await projector.wait_for("seen", await append(log, f"order-{number % 4}", 5))
        assert await documents_of(log) == await folded(log)
        while (await projector.status("failing")).dead_letters < 4:
            await anyio.lowlevel.checkpoint()
        assert await documents_of(log, "failing") == {}
        while (trouble := (await projector.status("lost")).trouble) is None:
            await anyio.lowlevel.checkpoint()
        assert trouble == "The place is away."
        assert (await projector.status("lost")).position == 0
        assert (await projector.status("seen")).trouble is None


async def test_a_stopped_projection_rests_until_it_is_started(log: EventLog) -> None:
    async with running(log, SEEN, named("other")) as projector:
        await projector.wait_for("seen", await append(log, "order-1"))
        await projector.stop("seen")
        serving = (await shelf_of(log)).serving
        assert serving is not None
        assert serving.owner is None
        assert (await projector.status("seen")).state == "waiting"
        position = await append(log, "order-1", 3)
        await projector.wait_for("other", position)
        assert await documents_of(log) == {("acme", "1"): [1]}
        await projector.start("seen")
        await projector.wait_for("seen", position)
        assert await documents_of(log) == {("acme", "1"): [1, 2, 3, 4]}


async def test_stopped_here_another_process_takes_it(log: EventLog) -> None:
    async with running(log) as here, running(log) as there:
        await here.wait_for("seen", await append(log, "order-1"))
        await here.stop("seen")
        await there.wait_for("seen", await append(log, "order-1"))
        await there.stop("seen")
        await here.start("seen")
        await here.wait_for("seen", await append(log, "order-1"))
        assert await documents_of(log) == {("acme", "1"): [1, 2, 3]}


async def test_a_paused_projection_rests_in_every_process_until_it_is_resumed(log: EventLog) -> None:
    elsewhere = Projector(log, [SEEN])
    async with running(log) as projector:
        await projector.wait_for("seen", await append(log, "order-1"))
        await elsewhere.pause("seen")
        while (await shelf_of(log)).live[0].owner is not None:
            await anyio.lowlevel.checkpoint()
        position = await append(log, "order-1", 3)
        assert (await projector.status("seen")).state == "paused"
        with pytest.raises(Unavailable):
            await projector.wait_for("seen", position, seconds=0.1)
        assert await documents_of(log) == {("acme", "1"): [1]}
        await elsewhere.resume("seen")
        await projector.wait_for("seen", position)
        assert await documents_of(log) == {("acme", "1"): [1, 2, 3, 4]}


async def test_a_projection_that_never_ran_can_be_paused_before(log: EventLog) -> None:
    await Projector(log, [SEEN]).pause("seen")
    async with running(log, SEEN, named("other")) as projector:
        await projector.wait_for("other", await append(log, "order-1"))
        await until(projector, "seen", "paused")
        await projector.resume("seen")
        await projector.wait_for("seen", 1)


async def test_built_anew_while_it_runs(log: EventLog) -> None:
    async with running(log, policy=Policy(batch=5, poll_seconds=0.02)) as projector:
        await projector.wait_for("seen", await append(log, "order-1", 40))
        before = await projector.status("seen")
        await projector.rebuild("seen", reason="to be sure")
        for _ in range(10):
            await projector.wait_for("seen", await append(log, "order-2"))
        while (await projector.status("seen")).generation == before.generation:
            await anyio.lowlevel.checkpoint()
        after = await projector.status("seen")
        assert (after.built_because, after.documents) == ("to be sure", 2)
        await projector.wait_for("seen", 50)
        assert await documents_of(log) == await folded(log)


async def test_status_tells_how_far_behind_it_is(log: EventLog) -> None:
    projector = Projector(log, [SEEN])
    assert (await projector.status("seen")).state == "new"
    async with running(log) as runner:
        await runner.wait_for("seen", await append(log, "order-1", 3))
        await until(projector, "seen", "live")
        live = await projector.status("seen")
        assert (live.position, live.head, live.lag_events, live.lag_seconds) == (3, 3, 0, 0.0)
        assert (live.version, live.kind, live.documents, live.applied) == (1, "documents", 1, 3)
        assert live.owner is not None
    await append(log, "order-1", 4)
    behind = await projector.status("seen")
    assert (behind.state, behind.position, behind.lag_events, behind.owner) == ("waiting", 3, 4, None)
    assert 0.0 <= behind.lag_seconds < 60.0
    assert behind.as_json()["lag_events"] == 4
    samples = {sample.name: sample.value for sample in await projector.samples()}
    assert (samples[PROJECTION_POSITION], samples[PROJECTION_LAG_EVENTS]) == (3, 4)
    assert (samples[PROJECTION_APPLIED], samples[PROJECTION_DEAD]) == (3, 0)


async def test_dead_letters_are_listed_retried_and_purged(log: EventLog) -> None:
    async with running(log) as projector:
        for number in range(3):
            await append(log, f"order-{number}", is_poison=True)
            await append(log, f"order-{number}", 2)
        await projector.wait_for("seen", 9)
        while (await projector.status("seen")).dead_letters < 3:
            await anyio.lowlevel.checkpoint()
        first, second, third = await projector.dead_letters()
        assert [one.id for one in await projector.dead_letters("seen", limit=2)] == [first.id, second.id]
        assert [one.id for one in await projector.dead_letters(after=second.id)] == [third.id]
        assert await projector.dead_letters(tenant="other") == []
        assert not (await projector.retry_dead_letter("seen", first.id)).is_mended
        (purged,) = await projector.purge_dead_letters("seen", [first.id])
        assert (purged.version, purged.applied) == (1, 2)
        assert len(await projector.purge_dead_letters("seen")) == 2
        assert await documents_of(log) == {("acme", str(number)): [2, 3] for number in range(3)}


async def test_what_there_is_not_is_told(log: EventLog) -> None:
    projector = Projector(log, [SEEN])
    for ask in (projector.status, projector.pause, projector.rebuild, projector.stop):
        with pytest.raises(NotFound, match="no projection 'unknown'"):
            await ask("unknown")
    with pytest.raises(BadInput, match="two projections 'seen'"):
        Projector(log, [versioned(1), versioned(2)])


async def test_its_repr_tells_what_it_does(log: EventLog) -> None:
    async with running(log) as projector:
        await projector.wait_for("seen", await append(log, "order-1"))
        assert repr(projector).startswith("<Projector of seen, running as ")
    assert repr(projector) == "<Projector of seen, not running>"


async def test_who_take_the_lease_from_each_other_all_the_time_apply_each_event_once(
    open_a_log: OpenLog, request: pytest.FixtureRequest
) -> None:
    if "memory" in request.node.name:
        pytest.skip("nobody else sees a log in memory")
    greedy = Policy(batch=3, lease_seconds=0.0005, poll_seconds=0.01)
    async with open_a_log(None, None) as mine, open_a_log(None, None) as theirs:
        for number in range(10):
            await append(mine, f"order-{number % 3}", 20)
        async with running(mine, policy=greedy) as one, running(theirs, policy=greedy) as other:
            await one.rebuild("seen")
            for number in range(30):
                position = await append(theirs, f"order-{number % 3}", 3)
                await (one if number % 2 else other).wait_for("seen", position)
            while (await one.status("seen")).state == "rebuilding":
                await anyio.lowlevel.checkpoint()
            assert await documents_of(mine) == await folded(mine)
            assert (await other.status("seen")).failures == 0
        rows = await mine.database.fetch("SELECT SUM(revision), SUM(applied) FROM projection_generation")
        revisions, applied = (int(str(number)) for number in rows[0])
        assert revisions > applied / 3, "they did not take it from each other"
