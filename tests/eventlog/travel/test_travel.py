"""The past: states and read models at a version, a position, a time; replay into a sandbox; what has changed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from eventlog.aggregates import loading
from eventlog.aggregates.generic import generic
from eventlog.aggregates.loading import StateLost, load, snapshot
from eventlog.event import Event, NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.keeping.truncate import truncate_before
from eventlog.log import EventLog
from eventlog.open import open_memory
from eventlog.projections.projection import Document, DocumentProjection
from eventlog.travel.diff import apply_changes
from eventlog.travel.moment import NOW, At
from eventlog.travel.replay import compare_documents, documents_at, replay
from eventlog.travel.state import compare_states, state_at
from stoa.clock import ManualClock
from stoa.errors import BadInput, NotFound
from tests.eventlog.aggregates.accounts import ACCOUNT, ACME, deposit, deposits

OTHER = StreamId("acme", "account-2")
FOREIGN = StreamId("other", "account-1")
START = datetime(2026, 5, 1, 9, tzinfo=UTC)


def _sum(key: str, document: Document | None, event: Event) -> Document | None:
    if event.data["amount"] == 666:
        raise ValueError("cannot swallow that")
    document = document or {"balance": 0}
    document["balance"] += event.data["amount"]
    return document


BALANCES = DocumentProjection(
    name="balances", types=("account.*",), keys=lambda event: [event.stream.aggregate_id], apply=_sum
)


@asynccontextmanager
async def written() -> AsyncGenerator[tuple[EventLog, ManualClock]]:
    """Position 1..6, one a minute: ACME 10, OTHER 1, ACME 20, FOREIGN 5, OTHER 2, ACME 30."""
    clock = ManualClock(START)
    with anyio.fail_after(20):
        async with open_memory(clock=clock) as log:
            for stream, amount in ((ACME, 10), (OTHER, 1), (ACME, 20), (FOREIGN, 5), (OTHER, 2), (ACME, 30)):
                await deposits(log, amount, stream=stream)
                clock.advance(60)
            yield log, clock


@pytest.mark.parametrize("with_snapshot", [False, True])
@pytest.mark.parametrize(
    ("at", "version", "balance"),
    [
        (NOW, 3, 60),
        (At(version=0), 0, 0),
        (At(version=1), 1, 10),
        (At(version=2), 2, 30),
        (At(version=3), 3, 60),
        (At(position=0), 0, 0),
        (At(position=2), 1, 10),
        (At(position=3), 2, 30),
        (At(position=5), 2, 30),
        (At(position=6), 3, 60),
        (At(time=START - timedelta(seconds=1)), 0, 0),
        (At(time=START), 1, 10),
        (At(time=START + timedelta(seconds=119)), 1, 10),
        (At(time=START + timedelta(seconds=120)), 2, 30),
        (At(time=START + timedelta(days=365)), 3, 60),
    ],
)
async def test_a_state_is_as_it_was(at: At, version: int, balance: int, *, with_snapshot: bool) -> None:
    async with written() as (log, _):
        if with_snapshot:
            await snapshot(log, ACCOUNT, await load(log, ACCOUNT, ACME, version=2), now_us=1)
        found = await state_at(log, ACCOUNT, ACME, at)
    assert (found.version, found.state["balance"]) == (version, balance)
    assert found.snapshot_version == (2 if with_snapshot and version >= 2 else 0)
    minutes = {1: 0, 2: 2, 3: 5}
    assert found.recorded_at == (START + timedelta(minutes=minutes[version]) if version else None)


async def test_moments_are_the_same_on_every_store(log: EventLog) -> None:
    with anyio.fail_after(20):
        await deposits(log, 10)
        await deposits(log, 1, stream=OTHER)
        await deposits(log, 20)
        middle = (await log.read_stream(OTHER))[0]
        by_time = await state_at(log, ACCOUNT, ACME, At(time=middle.recorded_at))
        by_position = await state_at(log, ACCOUNT, ACME, At(position=middle.position))
        assert by_position.state == {"balance": 10, "versions": [1]}
        assert by_time.version in (1, 2)  # within one microsecond both may have been recorded
        documents = await documents_at(log, BALANCES, "acme", At(position=2))
        assert documents.documents == {"1": {"balance": 10}, "2": {"balance": 1}}
        assert (await documents_at(log, BALANCES, "acme")).documents["1"] == {"balance": 30}


async def test_what_is_not_there_yet_is_bad_input_and_what_never_was_is_not_found() -> None:
    async with written() as (log, _):
        with pytest.raises(BadInput, match="no version 4 yet; it is at 3"):
            await state_at(log, ACCOUNT, ACME, At(version=4))
        with pytest.raises(BadInput, match="no position 7 yet; the log ends at 6"):
            await state_at(log, ACCOUNT, ACME, At(position=7))
        with pytest.raises(BadInput, match="no position 7 yet"):
            await documents_at(log, BALANCES, "acme", At(position=7))
        with pytest.raises(BadInput, match="of one stream alone"):
            await documents_at(log, BALANCES, "acme", At(version=1))
        with pytest.raises(NotFound):
            await state_at(log, ACCOUNT, StreamId("acme", "account-9"))
        with pytest.raises(NotFound):
            await state_at(log, ACCOUNT, StreamId("nobody", "account-1"))


def test_a_moment_is_one_thing() -> None:
    with pytest.raises(BadInput, match="not several"):
        At(version=1, position=1)
    with pytest.raises(BadInput, match="no zone"):
        At(time=datetime(2026, 5, 1))  # noqa: DTZ001 - that is the fault
    with pytest.raises(BadInput, match="no position -1"):
        At(position=-1)


async def test_states_before_a_truncation_are_gone_and_said_to_be() -> None:
    async with written() as (log, _):
        await snapshot(log, ACCOUNT, await load(log, ACCOUNT, ACME, version=2), now_us=1)
        await truncate_before(log, ACME, 3, aggregate=ACCOUNT)
        kept = await state_at(log, ACCOUNT, ACME, At(version=2))
        assert (kept.state["balance"], kept.recorded_at) == (30, None)
        assert (await state_at(log, ACCOUNT, ACME)).state["balance"] == 60
        for at in (At(version=1), At(position=2), At(time=START)):
            with pytest.raises(StateLost):
                await state_at(log, ACCOUNT, ACME, at)


async def test_what_is_erased_now_was_never_said_in_the_past() -> None:
    async with written() as (log, _):
        await erase(log, ACME, [1])
        assert (await state_at(log, ACCOUNT, ACME, At(version=2))).state == {"balance": 20, "versions": [2]}
        assert (await documents_at(log, BALANCES, "acme", At(position=3))).documents["1"] == {"balance": 20}


async def test_the_changes_between_two_moments_lead_from_one_to_the_other() -> None:
    async with written() as (log, _):
        compared = await compare_states(log, ACCOUNT, ACME, At(version=1), At(version=3))
        back = await compare_states(log, ACCOUNT, ACME, NOW, At(version=1))
        one, other, changes = await compare_documents(log, BALANCES, "acme", At(position=1))
    assert [each.as_json() for each in compared.changes] == [
        {"op": "replace", "path": "/balance", "from": 10, "to": 60},
        {"op": "add", "path": "/versions/1", "to": 2},
        {"op": "add", "path": "/versions/2", "to": 3},
    ]
    assert apply_changes(back.before.state, back.changes) == back.after.state == compared.before.state
    assert [each.as_json() for each in changes] == [
        {"op": "replace", "path": "/1/balance", "from": 10, "to": 60},
        {"op": "add", "path": "/2", "to": {"balance": 3}},
    ]
    assert apply_changes(one.documents, changes) == other.documents


async def test_a_replay_goes_from_a_position_with_the_types_that_are_wanted() -> None:
    async with written() as (log, _):
        await log.append_to(ACME, [NewEvent("account.withdrawn", {"amount": 7}), NewEvent("account.noted", {})])
        all_of_it = await replay(log, BALANCES, tenant="acme", until=At(position=7))
        tail = await replay(log, BALANCES, tenant="acme", after=3, types=("account.deposited",))
        every = await replay(log, BALANCES, tenant=None, types=("account.deposited",))
    assert all_of_it.sandbox.documents("acme") == {"1": {"balance": 67}, "2": {"balance": 3}}
    assert all_of_it.sandbox.documents("other") == {}
    assert tail.sandbox.documents("acme") == {"1": {"balance": 30}, "2": {"balance": 2}}
    assert (tail.events, tail.is_complete, tail.position) == (2, True, 8)
    assert every.sandbox.documents("other") == {"1": {"balance": 5}}


async def test_a_replay_is_bounded_and_can_be_gone_on_with() -> None:
    async with written() as (log, _):
        seen: list[tuple[int, int]] = []
        first = await replay(
            log, BALANCES, tenant="acme", max_events=2, on_progress=lambda done, of: seen.append((done, of))
        )
        rest = await replay(log, BALANCES, tenant="acme", after=first.position)
        with pytest.raises(BadInput, match="more than 2 events"):
            await documents_at(log, BALANCES, "acme", max_events=2)
        exactly = await documents_at(log, BALANCES, "acme", max_events=5)
        nothing = await replay(log, BALANCES, tenant="acme", after=6)
    assert (first.events, first.is_complete, first.position) == (2, False, 2)
    assert seen == [(2, 6)]
    assert (rest.events, rest.is_complete) == (3, True)
    assert rest.sandbox.documents("acme") == {"1": {"balance": 50}, "2": {"balance": 2}}
    assert exactly.documents == {"1": {"balance": 60}, "2": {"balance": 3}}
    assert (nothing.events, nothing.is_complete, nothing.position) == (0, True, 6)


async def test_a_poison_event_of_the_past_parks_its_own_stream_only() -> None:
    async with written() as (log, _):
        await log.append_to(ACME, [deposit(666), deposit(1)])
        await deposits(log, 4, stream=OTHER)
        found = await documents_at(log, BALANCES, "acme")
        part = await documents_at(log, BALANCES, "acme", prefix="2")
    assert found.documents == {"1": {"balance": 60}, "2": {"balance": 7}}
    assert found.failed == 1
    assert part.documents == {"2": {"balance": 7}}


async def test_looking_back_writes_nothing() -> None:
    async with written() as (log, _):
        before = [await log.database.fetch(f"SELECT COUNT(*) FROM {table}") for table in ("event", "snapshot")]
        await state_at(log, ACCOUNT, ACME, At(version=2))
        await documents_at(log, BALANCES, "acme")
        after = [await log.database.fetch(f"SELECT COUNT(*) FROM {table}") for table in ("event", "snapshot")]
    assert list(map(list, before)) == list(map(list, after))


async def test_a_state_that_only_grows_is_given_up_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MAX_FOLDED_BYTES", 2**20)
    monkeypatch.setattr(loading, "PAGE", 10)
    replaced, grown = StreamId("acme", "note-replaced"), StreamId("acme", "note-grown")
    async with open_memory() as log:
        for number in range(40):
            await log.append_to(replaced, [NewEvent("note.changed", {"text": str(number) * 50_000})])
            await log.append_to(grown, [NewEvent("note.changed", {f"text {number}": "x" * 50_000})])
        assert (await state_at(log, generic("note"), replaced)).state == {"text": "39" * 50_000}
        with pytest.raises(BadInput, match="at most 1,048,576"):
            await state_at(log, generic("note"), grown)
        assert (await state_at(log, generic("note"), grown, At(version=10))).version == 10
