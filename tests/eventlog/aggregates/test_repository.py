"""Commands: decided on the present state, appended where nobody was faster, done once."""

import random
from collections.abc import Sequence

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.aggregates.aggregate import fold, fresh
from eventlog.aggregates.policy import EveryEvents, Manual
from eventlog.aggregates.repository import Executed, Repository, event_id_of
from eventlog.conflict import WrongVersion
from eventlog.event import Metadata, NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.open import open_memory, serve_log
from eventlog.store import Outcome, Request
from stoa.errors import BadInput, Conflict, NotFound
from tests.eventlog.aggregates.accounts import ACCOUNT, ACME, State, deposit, deposits, withdraw


def accounts(log: EventLog, *, every: int | None = None) -> Repository[State]:
    policy = Manual() if every is None else EveryEvents(every)
    return Repository(log, ACCOUNT, policy=policy, rng=random.Random(1))


async def test_a_command_is_decided_on_the_state_and_appended(log: EventLog) -> None:
    with anyio.fail_after(20):
        repository = accounts(log)
        first = await repository.execute(ACME, lambda _: [deposit(30), deposit(5)])
        assert (first.version, first.tries, first.is_repeat) == (2, 1, False)
        second = await repository.execute(ACME, withdraw)
        assert second.appended is not None
        assert second.appended.first_version == second.version == 3
        loaded = await repository.load(ACME)
    assert loaded.state == {"balance": 25, "versions": [1, 2, 3]}
    assert loaded.version == loaded.position == 3
    assert ACCOUNT.initial == {"balance": 0, "versions": []}


async def test_a_refusal_reaches_the_caller_and_nothing_is_written(log: EventLog) -> None:
    with anyio.fail_after(20):
        with pytest.raises(Conflict, match="holds 0") as refused:
            await accounts(log).execute(ACME, withdraw)
        assert not isinstance(refused.value, WrongVersion)
        with pytest.raises(NotFound):
            await accounts(log).load(ACME)
        assert (await log.head()).position == 0


async def test_a_command_with_nothing_to_say_appends_nothing(log: EventLog) -> None:
    with anyio.fail_after(20):
        done = await accounts(log).execute(ACME, lambda _: [], command_id="look")
        assert (done.appended, done.version) == (None, 0)
        assert (await log.head()).position == 0


async def test_somebody_faster_leads_to_a_new_decision_on_what_they_left(log: EventLog) -> None:
    done: list[Executed[State]] = []
    refused: list[Conflict] = []

    async def take() -> None:
        try:
            done.append(await accounts(log).execute(ACME, withdraw))
        except Conflict as error:
            refused.append(error)

    with anyio.fail_after(20):
        await deposits(log, 40)
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(take)
        loaded = await accounts(log).load(ACME)
    assert loaded.state == {"balance": 0, "versions": [1, 2, 3, 4, 5]}
    assert sorted(each.version for each in done) == [2, 3, 4, 5]
    assert max(each.tries for each in done) > 1
    assert [str(each) for each in refused] == ["The account holds 0. Deposit something first."] * 2


async def test_after_too_many_tries_it_is_a_conflict_and_others_have_won(log: EventLog) -> None:
    async def race(results: list[object]) -> None:
        try:
            results.append(await accounts(log).execute(ACME, lambda _: [deposit(1)], retries=0))
        except Conflict as error:
            results.append(error)

    results: list[object] = []
    with anyio.fail_after(20):
        await deposits(log, 1)
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(race, results)
        version = (await log.stream_info(ACME)).version
    refused = [each for each in results if isinstance(each, Conflict)]
    assert len(results) == 8
    assert version == 1 + 8 - len(refused)
    assert refused
    assert all("decided 1 times" in str(each) for each in refused)
    assert all(isinstance(each.__cause__, WrongVersion) for each in refused)


async def test_a_command_with_an_id_is_done_once(log: EventLog) -> None:
    decided = 0

    def decide(state: State) -> Sequence[NewEvent]:
        nonlocal decided
        decided += 1
        return [deposit(7), deposit(8)] if not state["balance"] else [deposit(1)]

    with anyio.fail_after(20):
        repository = accounts(log)
        first = await repository.execute(ACME, decide, command_id="pay-77")
        await deposits(log, 100)
        again = await repository.execute(ACME, decide, command_id="pay-77")
        other = await repository.execute(ACME, decide, command_id="pay-78")
        elsewhere = await repository.execute(StreamId("acme", "account-2"), decide, command_id="pay-77")
        of_others = await repository.execute(StreamId("other", "account-1"), decide, command_id="pay-77")
        events = await log.read_stream(ACME)
    assert decided == 4
    assert again.is_repeat
    assert again.appended == first.appended._replace(is_repeat=True) if first.appended else False
    assert (other.is_repeat, other.version, elsewhere.version, of_others.version) == (False, 4, 2, 2)
    assert [each.event_id for each in events[:2]] == [event_id_of(ACME, "pay-77", index) for index in (0, 1)]
    assert events[0].metadata == Metadata(causation_id="pay-77")


async def test_the_same_command_at_the_same_time_is_done_once(log: EventLog) -> None:
    results: list[Executed[State]] = []

    async def send() -> None:
        # As many events as there are: without an id, each would append.
        results.append(
            await accounts(log).execute(ACME, lambda state: [deposit(1)] * (len(state["versions"]) + 1), command_id="x")
        )

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(send)
        loaded = await accounts(log).load(ACME)
    assert loaded.state["versions"] == [1]
    assert {each.version for each in results} == {1}
    assert sum(not each.is_repeat for each in results) == 1


class Overtaken:
    """The store of somebody who is a little late: others append just before."""

    def __init__(self, log: EventLog, first: Sequence[NewEvent]) -> None:
        self.database = log.database
        self.grown = log.store.grown
        self._log = log
        self._first = first

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        first, self._first = self._first, ()
        if first:
            await self._log.append_to(ACME, first)
        return await self._log.store.commit(requests)


async def test_who_is_overtaken_by_the_same_command_gets_all_that_it_did(log: EventLog) -> None:
    did = [deposit(n)._replace(event_id=event_id_of(ACME, "x", n)) for n in (0, 1)]
    with anyio.fail_after(20):
        async with serve_log(Overtaken(log, did)) as later:
            late = await accounts(later).execute(ACME, lambda state: [deposit(7)], command_id="x")
    assert late.is_repeat
    assert late.appended is not None
    assert (late.appended.first_version, late.version, late.before) == (1, 2, None)
    assert list(late.appended.event_ids) == [event.event_id for event in did]


@pytest.mark.parametrize("command_id", ["", "x" * 201, "a\nb"])
async def test_a_command_id_that_cannot_be_kept_is_bad_input(command_id: str) -> None:
    async with open_memory() as log:
        with pytest.raises(BadInput, match="command id"):
            await accounts(log).execute(ACME, withdraw, command_id=command_id)


async def test_a_stream_of_another_aggregate_is_bad_input() -> None:
    async with open_memory() as log:
        with pytest.raises(BadInput, match="no stream of aggregate 'account'"):
            await accounts(log).execute(StreamId("acme", "order-1"), withdraw)


def test_no_two_commands_share_an_id_by_how_their_words_fall() -> None:
    ids = {
        event_id_of(StreamId(tenant, name), command, index)
        for tenant, name, command, index in [
            ("a", "b-1", "c", 1),
            ("a", "b-1", "c", 11),
            ("a", "b-1", "c1", 1),
            ("a", "b-11", "c", 1),
            ("a1", "b-1", "c", 1),
            ("a", "b-1:1", "c", 1),
        ]
    }
    assert len(ids) == 6


@settings(max_examples=15)
@given(
    st.lists(st.lists(st.integers(-15, 20), min_size=1, max_size=6), min_size=2, max_size=5),
    st.sampled_from([None, 1, 3]),
    st.integers(0, 2**32),
)
def test_commands_of_several_tasks_give_a_serial_history(plans: list[list[int]], every: int | None, seed: int) -> None:
    """Whatever ran at the same time: the events, one after the other, never break the rule that each decision kept."""

    def decide(amount: int, state: State) -> Sequence[NewEvent]:
        if state["balance"] + amount < 0:
            raise Conflict("not enough")
        return [deposit(amount)]

    rng = random.Random(seed)

    async def work(log: EventLog, plan: list[int], refused: list[int]) -> None:
        repository = accounts(log, every=every)
        for amount in plan:
            try:
                await repository.execute(ACME, lambda state, amount=amount: decide(amount, state), retries=200)
            except Conflict:
                refused.append(amount)
            for _ in range(rng.randrange(3)):
                await anyio.lowlevel.checkpoint()

    async def scene() -> None:
        refused: list[int] = []
        with anyio.fail_after(30):
            async with open_memory() as log:
                async with anyio.create_task_group() as group:
                    for plan in plans:
                        group.start_soon(work, log, plan, refused)
                done = sum(len(plan) for plan in plans) - len(refused)
                if not done:
                    return
                loaded = await accounts(log).load(ACME)
                events = await log.read_stream(ACME)
        assert [each.version for each in events] == list(range(1, done + 1))
        balance = 0
        for each in events:
            balance += each.data["amount"]
            assert balance >= 0
        assert loaded.state == fold(ACCOUNT, fresh(ACCOUNT), events)
        assert loaded.state["balance"] == balance == sum(map(sum, plans)) - sum(refused)

    anyio.run(scene)
