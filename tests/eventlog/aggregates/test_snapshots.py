"""Snapshots: only ever a shortcut. Taken by policy, passed over when anything is wrong, verified against replay."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.aggregates import loading
from eventlog.aggregates.aggregate import fold, fresh
from eventlog.aggregates.generic import Aggregates, generic
from eventlog.aggregates.loading import StateLost, load, snapshot
from eventlog.aggregates.policy import EveryEvents, Manual
from eventlog.aggregates.repository import Repository
from eventlog.aggregates.snapshots import delete_snapshots
from eventlog.aggregates.verifying import check_stream_snapshots, verified_version, verify_snapshots
from eventlog.database import Statement
from eventlog.event import Event, NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.keeping.truncate import truncate_before
from eventlog.log import EventLog
from eventlog.open import open_memory
from stoa.errors import BadInput, Conflict, Fault
from tests.eventlog.aggregates.accounts import ACCOUNT, ACME, State, deposits

KNOWN = Aggregates([ACCOUNT])
NOW = datetime(2026, 5, 1, tzinfo=UTC)


async def versions_of(log: EventLog) -> Sequence[int]:
    rows = await log.database.fetch("SELECT version FROM snapshot ORDER BY stream, version")
    return [cast(int, row[0]) for row in rows]


async def execute(log: EventLog, sql: str, *values: Any) -> None:
    await log.database.write(Statement(sql, [values]))


async def take(log: EventLog, stream: StreamId = ACME) -> int:
    return await Repository(log, ACCOUNT, policy=Manual()).take_snapshot(stream)


async def test_a_snapshot_is_taken_when_it_is_due_and_the_tail_is_read_after_it(log: EventLog) -> None:
    with anyio.fail_after(20):
        repository = Repository(log, ACCOUNT, policy=EveryEvents(10))
        await deposits(log, *range(9))
        await repository.load(ACME)
        assert await versions_of(log) == []
        await deposits(log, *range(9, 12))
        first = await repository.load(ACME)
        assert await versions_of(log) == [12]
        await deposits(log, 100)
        second = await repository.load(ACME)
    assert (first.snapshot_version, first.events) == (12, 0)
    assert (second.snapshot_version, second.events, second.version) == (12, 1, 13)
    assert second.state == {"balance": sum(range(12)) + 100, "versions": list(range(1, 14))}


async def test_only_the_newest_and_the_oldest_of_a_stream_are_kept(log: EventLog) -> None:
    with anyio.fail_after(20):
        for _ in range(7):
            await deposits(log, 1, 1)
            await take(log)
        assert await versions_of(log) == [2, 10, 12, 14]
        assert await take(log) == 14  # nothing has happened since


async def test_a_snapshot_of_another_version_of_the_fold_is_not_used(log: EventLog) -> None:
    def doubled(state: State, event: Event) -> State:
        return {"balance": state["balance"] + 2 * event.data["amount"]}

    newer = replace(ACCOUNT, initial={"balance": 0}, apply=doubled, version=2)
    with anyio.fail_after(20):
        await deposits(log, 1, 2, 3)
        await take(log)
        loaded = await load(log, newer, ACME)
        untold = await load(log, generic("account"), ACME)
        report = await verify_snapshots(log, Aggregates([newer]))
    assert loaded.state == {"balance": 12}
    assert (loaded.snapshot_version, untold.snapshot_version) == (0, 0)
    assert untold.state == {"amount": 3}
    assert (report.outdated, report.good, report.is_clean) == (1, 0, True)


DAMAGES = {
    "garbage": "UPDATE snapshot SET state = {x}00ff00ff{y}",
    "cut": "UPDATE snapshot SET state = substr(state, 1, 10)",
    "size": "UPDATE snapshot SET state_bytes = state_bytes - 1",
    "huge": "UPDATE snapshot SET state_bytes = 999999999999",
    "digest": "UPDATE snapshot SET digest = {x}00{y}",
    "moved": "UPDATE snapshot SET version = version - 1",
    "position": "UPDATE snapshot SET position = position - 1",
    "rewritten": "UPDATE event SET checksum = {x}00{y}",
    "history": "UPDATE snapshot SET checksum = {x}00{y}",
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_or_foreign_snapshot_is_passed_over_reported_and_replaced(
    log: EventLog, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    x, y = ("X'", "'") if log.database.dialect == "sqlite" else ("'\\x", "'::bytea")
    with anyio.fail_after(20):
        await deposits(log, 1, 2, 3)
        await take(log)
        await execute(log, DAMAGES[damage].format(x=x, y=y))
        report = await verify_snapshots(log, KNOWN)
        await deposits(log, 4)
        loaded = await Repository(log, ACCOUNT, policy=Manual()).load(ACME)
        again = await load(log, ACCOUNT, ACME)
    assert loaded.state == again.state == {"balance": 10, "versions": [1, 2, 3, 4]}
    assert "cannot be used" in caplog.text
    assert (again.snapshot_version, again.passed) == (4, ())
    assert (report.wrong, report.is_clean) == (1, False)
    assert report.problems[0].stream == ACME


async def test_a_snapshot_that_lies_is_found_by_replay_and_repaired(log: EventLog) -> None:
    """Whoever can write to the database can make a snapshot whose digest is right."""
    with anyio.fail_after(20):
        await deposits(log, 1, 2, 3)
        await take(log)
        await deposits(log, 4)
        honest = await load(log, ACCOUNT, ACME)
        await snapshot(log, ACCOUNT, replace(honest, state={"balance": 10**6, "versions": []}), now_us=1)
        assert (await load(log, ACCOUNT, ACME)).state["balance"] == 10**6
        assert await verified_version(log, ACCOUNT, ACME) == 0
        seen: list[tuple[int, int]] = []
        report = await verify_snapshots(log, KNOWN, repair=True, on_progress=lambda done, of: seen.append((done, of)))
        after = await verify_snapshots(log, KNOWN)
        assert await verified_version(log, ACCOUNT, ACME) == 3
        assert (await load(log, ACCOUNT, ACME)).state == {"balance": 10, "versions": [1, 2, 3, 4]}
    assert [(each.version, each.reason) for each in report.problems] == [
        (4, "a replay of its events gives another state")
    ]
    assert (report.good, report.wrong, report.streams, seen) == (1, 1, 1, [(1, 1)])
    assert (after.good, after.wrong) == (1, 0)


async def test_verification_is_of_one_tenant_when_it_is_named(log: EventLog) -> None:
    with anyio.fail_after(20):
        for tenant in ("acme", "other"):
            stream = StreamId(tenant, "account-1")
            await deposits(log, 1, stream=stream)
            await take(log, stream)
        assert (await verify_snapshots(log, KNOWN)).streams == 2
        assert (await verify_snapshots(log, KNOWN, tenant="other")).streams == 1
        assert (await verify_snapshots(log, KNOWN, tenant="nobody")).streams == 0


async def test_events_that_cannot_be_applied_do_not_hold_up_other_streams(log: EventLog) -> None:
    def fussy(state: State, event: Event) -> State:
        if event.stream == ACME:
            raise ValueError("no")
        return ACCOUNT.apply(state, event)

    other = StreamId("acme", "account-2")
    with anyio.fail_after(20):
        for stream in (ACME, other):
            await deposits(log, 1, stream=stream)
            await take(log, stream)
        report = await verify_snapshots(log, Aggregates([replace(ACCOUNT, apply=fussy)]), repair=True)
        assert len(await versions_of(log)) == 2  # nobody knows whether it is wrong
    assert (report.good, report.failed, report.is_clean) == (1, 1, False)
    assert "cannot apply" in report.problems[0].reason


async def test_data_about_a_subject_never_gets_into_a_snapshot(log: EventLog) -> None:
    with anyio.fail_after(20):
        await deposits(log, 1, 2)
        await log.append_to(ACME, [NewEvent("account.deposited", {"amount": 3}, subject="customer-17")])
        repository = Repository(log, ACCOUNT, policy=EveryEvents(1))
        loaded = await repository.load(ACME)
        assert loaded.state["balance"] == 6
        assert await versions_of(log) == []
        with pytest.raises(Conflict, match="data about a subject"):
            await repository.take_snapshot(ACME)


async def test_what_is_erased_while_a_snapshot_is_made_does_not_come_back(log: EventLog) -> None:
    with anyio.fail_after(20):
        await deposits(log, 1, 2, 3)
        early = await load(log, ACCOUNT, ACME)
        await erase(log, ACME, [2])
        with pytest.raises(Conflict):
            await snapshot(log, ACCOUNT, early, now_us=1)
        assert await take(log) == 3
        await deposits(log, 4)
        late = await load(log, ACCOUNT, ACME)
        assert (late.snapshot_version, late.state["balance"]) == (3, 8)
        await erase(log, ACME, [1])
        assert await versions_of(log) == []
        with pytest.raises(Conflict):
            await snapshot(log, ACCOUNT, late, now_us=1)
        assert (await load(log, ACCOUNT, ACME)).state == {"balance": 7, "versions": [3, 4]}


async def test_a_truncated_stream_has_its_state_from_the_snapshot_and_from_nowhere_else(log: EventLog) -> None:
    with anyio.fail_after(20):
        await deposits(log, *range(1, 6))
        await take(log)
        await deposits(log, *range(6, 9))
        assert await verified_version(log, ACCOUNT, ACME) == 5
        await truncate_before(log, ACME, 6, aggregate=ACCOUNT)
        whole = {"balance": 36, "versions": list(range(1, 9))}
        assert (await load(log, ACCOUNT, ACME)).state == whole
        with pytest.raises(StateLost, match="before version 6 were truncated"):
            await load(log, ACCOUNT, ACME, version=4)
        with pytest.raises(StateLost):
            await load(log, generic("account"), ACME)
        assert [each.outcome for each in await check_stream_snapshots(log, ACCOUNT, ACME)] == ["unproven"]
        await take(log)
        assert [each.outcome for each in await check_stream_snapshots(log, ACCOUNT, ACME)] == ["unproven", "good"]
        assert await verified_version(log, ACCOUNT, ACME) == 8
        await truncate_before(log, ACME, 9, aggregate=ACCOUNT)
        assert (await load(log, ACCOUNT, ACME)).state == whole
        ((pk,),) = await log.database.fetch("SELECT pk FROM stream")
        assert await delete_snapshots(log.database, [cast(int, pk)]) == 2
        with pytest.raises(StateLost, match="before version 9"):
            await load(log, ACCOUNT, ACME)
        # The stream is there: a command must not take it for a new one.
        with pytest.raises(StateLost):
            await Repository(log, ACCOUNT).execute(ACME, lambda _: [NewEvent("account.deposited", {"amount": 1})])


async def test_the_oldest_snapshot_after_a_truncation_stays_to_check_later_ones_from(log: EventLog) -> None:
    with anyio.fail_after(20):
        await deposits(log, 1, 2, 3)
        await take(log)
        await truncate_before(log, ACME, 4, aggregate=ACCOUNT)
        for _ in range(6):
            await deposits(log, 1)
            await take(log)
        assert await versions_of(log) == [3, 7, 8, 9]
        assert [each.outcome for each in await check_stream_snapshots(log, ACCOUNT, ACME)] == ["unproven"] + [
            "good"
        ] * 3


async def test_a_state_is_not_computed_from_more_events_than_allowed() -> None:
    with anyio.fail_after(20):
        async with open_memory() as log:
            await deposits(log, *range(loading.PAGE + 1))
            with pytest.raises(BadInput, match="more than 500 events"):
                await load(log, ACCOUNT, ACME, max_events=500)
            assert (await load(log, ACCOUNT, ACME, max_events=501)).version == loading.PAGE + 1


async def test_a_snapshot_that_cannot_be_kept_does_not_hold_up_the_load(caplog: pytest.LogCaptureFixture) -> None:
    def unkeepable(state: Any, event: Event) -> Any:
        return {"not": "json", "values": {1, 2}}

    thing = replace(ACCOUNT, apply=unkeepable)
    with anyio.fail_after(20):
        async with open_memory() as log:
            await deposits(log, 1)
            loaded = await Repository(log, thing, policy=EveryEvents(1)).load(ACME)
            assert loaded.version == 1
            assert "No snapshot of account-1" in caplog.text
            with pytest.raises(Fault, match="not JSON"):
                await Repository(log, thing).take_snapshot(ACME)


@settings(max_examples=25)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(-9, 9), max_size=3), min_size=1, max_size=12
    ),
    st.data(),
)
def test_a_snapshot_and_its_tail_are_a_full_replay_wherever_it_was_cut(
    patches: list[dict[str, int | None]], data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(1, len(patches)), max_size=4, unique=True).map(sorted))
    wanted = data.draw(st.integers(0, len(patches)))
    thing, stream = generic("thing"), StreamId("acme", "thing-1")

    async def scene() -> None:
        with anyio.fail_after(20):
            async with open_memory() as log:
                await log.append_to(stream, [NewEvent("thing.changed", patch) for patch in patches])
                events = await log.read_stream(stream)
                for cut in cuts:
                    await snapshot(log, thing, await load(log, thing, stream, version=cut), now_us=cut)
                for version in (wanted, len(patches)):
                    loaded = await load(log, thing, stream, version=version)
                    assert loaded.state == fold(thing, fresh(thing), events[:version])
                    assert loaded.version == version
                report = await verify_snapshots(log, Aggregates())
                assert (report.wrong, report.failed) == (0, 0)

    anyio.run(scene)
