"""Second attempts: when there is one, where it goes, and what is said when there is none."""

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.balance.policy import BalancePolicy, HedgePolicy, RetryPolicy
from pool.pool import Pool
from pool.verdict import BUSY, Failure, Late, is_answer, is_worth_another
from pool.wire.failures import Lost, Refusal
from stoa.clock import ManualClock
from stoa.errors import OutcomeUnknown, StoaError, Unavailable
from stoa.principal import LOCAL
from tests.pool.puppets import Puppet, Puppets, group, open_puppets

NO_HEDGE = BalancePolicy(hedge=HedgePolicy(is_on=False))


async def ask(pool: Pool, tool: str, **options: object) -> str:
    passed = await pool.request("one", "tools/call", {"name": tool}, principal=LOCAL, **options)  # type: ignore[arg-type] - the test's own
    return passed.replica


class Failing(Puppets):
    """Calls on these seats fail with what is given."""

    def __init__(self, **failures: Exception) -> None:
        super().__init__()
        self.failures = failures
        self.calls: list[int] = []
        self.answer = self.fail

    async def fail(self, puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        self.calls.append(puppet.seat)
        failure = self.failures.get(f"seat{puppet.seat}") or self.failures.get("all")
        if failure is not None:
            raise failure
        return {"content": [], "isError": params["name"] == "read"}


async def test_what_was_certainly_not_sent_is_sent_elsewhere_even_if_it_writes() -> None:
    puppets = Failing(seat0=Lost("no", sent=False, is_final=False))
    async with open_puppets(puppets, [group(members=2)]) as pool:
        await pool.status()
        assert {await ask(pool, "write", prefer="one-0") for _ in range(3)} == {"one-1"}
        assert pool.stats().groups[0].retries == puppets.calls.count(0) == 3


async def test_a_call_that_may_write_is_not_made_twice_and_its_outcome_is_unknown() -> None:
    puppets = Failing(all=Lost("It fell.", is_final=False))
    async with open_puppets(puppets, [group(members=2)]) as pool:
        await pool.status()
        with pytest.raises(OutcomeUnknown, match=r"lost during one\.write.*It fell"):
            await ask(pool, "write")
        assert len(puppets.calls) == 1


async def test_a_call_that_reads_is_made_again_on_another_replica() -> None:
    puppets = Failing(seat0=Lost("It fell.", is_final=False))
    async with open_puppets(puppets, [group(members=2)]) as pool:
        await pool.status()
        assert {await ask(pool, "read", prefer="one-0") for _ in range(3)} == {"one-1"}


async def test_a_server_that_is_not_trusted_is_not_believed_that_its_tool_only_reads() -> None:
    puppets = Failing(all=Lost("It fell.", is_final=False))
    async with open_puppets(puppets, [group(members=2, trusted=False)]) as pool:
        await pool.status()
        with pytest.raises(OutcomeUnknown):
            await ask(pool, "read")
        assert len(puppets.calls) == 1


async def test_the_failure_of_a_tool_is_an_answer() -> None:
    puppets = Failing()
    async with open_puppets(puppets, [group(members=2)]) as pool:
        passed = await pool.request("one", "tools/call", {"name": "read"}, principal=LOCAL)
        assert passed.result["isError"] is True
        assert len(puppets.calls) == 1


async def test_an_error_of_the_protocol_comes_out_as_the_server_gave_it() -> None:
    puppets = Failing(all=Refusal(-32042, "look there", data={"url": "https://example.org"}))
    async with open_puppets(puppets, [group(members=2)]) as pool:
        with pytest.raises(Refusal) as caught:
            await ask(pool, "read")
        assert (caught.value.code, caught.value.data) == (-32042, {"url": "https://example.org"})
        assert len(puppets.calls) == 1


async def test_a_busy_replica_hands_over_to_another_where_that_is_harmless() -> None:
    puppets = Failing(seat0=Refusal(-32603, "busy", status=503))
    async with open_puppets(puppets, [group(members=2)]) as pool:
        await pool.status()
        assert {await ask(pool, "read", prefer="one-0") for _ in range(3)} == {"one-1"}


async def test_second_attempts_end_with_their_budget() -> None:
    retry = RetryPolicy(budget_share=0.1, budget_floor_per_second=0.0)
    puppets = Failing(all=Lost("no", sent=False, is_final=False))
    async with open_puppets(puppets, [group(members=2, policy=BalancePolicy(retry=retry))]) as pool:
        await pool.status()
        for _ in range(25):
            with pytest.raises(Unavailable):
                await ask(pool, "read")
        assert pool.stats().groups[0].retries == 2  # a tenth of the calls


async def test_retries_can_be_switched_off() -> None:
    puppets = Failing(all=Lost("no", sent=False, is_final=False))
    async with open_puppets(puppets, [group(members=2, policy=BalancePolicy(retry=RetryPolicy(attempts=1)))]) as pool:
        with pytest.raises(Unavailable):
            await ask(pool, "read")
        assert len(puppets.calls) == 1


async def test_progress_of_a_second_attempt_does_not_go_back() -> None:
    told: list[float] = []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    puppets = Puppets()

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        assert puppet.progress is not None
        for done in (1, 2) if puppet.seat == first[0] else (1, 2, 2, 3):
            await puppet.progress(done, 4, None)
        if puppet.seat == first[0]:
            raise Lost("It fell.", is_final=False)
        return {"content": []}

    puppets.answer = answer
    first = [0]
    async with open_puppets(puppets, [group(members=2, policy=NO_HEDGE)]) as pool:
        await pool.status()
        await pool.request("one", "tools/call", {"name": "read"}, principal=LOCAL, progress=hear, prefer="one-0")
    assert told == [1, 2, 3]


async def test_what_outsiders_say_of_the_caller_is_dropped_and_the_rest_of_meta_stays() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group()]) as pool:
        meta = {"io.stoa/principal": "forged", "io.stoa/hops": 0, "traceparent": "00-1"}
        await pool.request("one", "tools/call", {"name": "read", "_meta": meta}, principal=LOCAL, hops=2)
        sent = puppets.opened[0].asked[-1][1]["_meta"]
        assert (sent["io.stoa/hops"], sent["traceparent"]) == (2, "00-1")
        assert sent["io.stoa/principal"] != "forged"
    async with open_puppets(puppets, [group(trusted=False)]) as pool:
        await pool.request("one", "tools/call", {"name": "read", "_meta": meta}, principal=LOCAL, hops=2)
        assert puppets.opened[-1].asked[-1][1]["_meta"] == {"traceparent": "00-1"}


class Slow(Puppets):
    """After `warm` quick calls, those on the first seat take until `go` is set."""

    def __init__(self, warm: int) -> None:
        super().__init__()
        self.left = warm
        self.go = anyio.Event()
        self.cancelled: list[int] = []
        self.answer = self.wait

    async def wait(self, puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if self.left:
            self.left -= 1
        elif puppet.seat == 0:
            try:
                await self.go.wait()
            except BaseException:
                self.cancelled.append(puppet.seat)
                raise
        return {"content": []}


HEDGE = BalancePolicy(hedge=HedgePolicy(min_calls=20, budget_share=0.5))


async def test_a_slow_read_is_asked_of_a_second_replica_and_the_loser_is_cancelled() -> None:
    puppets = Slow(warm=40)
    clock = ManualClock()
    async with open_puppets(puppets, [group(members=2, policy=HEDGE)], clock=clock) as pool:
        await pool.status()
        for _ in range(40):
            await ask(pool, "read")
        clock.advance(1)
        assert await ask(pool, "read", prefer="one-0") == "one-1"
        assert puppets.cancelled == [0]
        stats = pool.stats().groups[0]
        assert (stats.hedges, stats.hedges_won, stats.in_flight) == (1, 1, 0)
        first, second = pool.trace(2)
        assert (first.kind, first.outcome, second.kind, second.outcome) == ("first", "cancelled", "hedge", "ok")


async def test_a_slow_write_is_not_asked_twice() -> None:
    puppets = Slow(warm=40)
    clock = ManualClock()
    async with open_puppets(puppets, [group(members=2, policy=HEDGE)], clock=clock) as pool:
        await pool.status()
        for _ in range(40):
            await ask(pool, "write")
        clock.advance(1)
        with pytest.raises(OutcomeUnknown, match="did not answer within"):
            await ask(pool, "write", prefer="one-0", timeout_seconds=0.2)
        assert pool.stats().groups[0].hedges == 0


async def test_a_first_attempt_that_is_lost_leaves_the_call_to_its_hedge() -> None:
    puppets = Slow(warm=40)
    reached = anyio.Event()

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if puppets.left:
            puppets.left -= 1
            return {"content": []}
        if puppet.seat == 0:
            await reached.wait()
            raise Lost("It fell.", is_final=False)
        reached.set()
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        return {"content": []}

    puppets.answer = answer
    clock = ManualClock()
    async with open_puppets(puppets, [group(members=2, policy=HEDGE)], clock=clock) as pool:
        await pool.status()
        for _ in range(40):
            await ask(pool, "read")
        clock.advance(1)
        assert await ask(pool, "read", prefer="one-0") == "one-1"
        assert pool.stats().groups[0].retries == 0


async def test_a_caller_who_leaves_takes_both_attempts_with_him() -> None:
    puppets = Slow(warm=40)
    both = anyio.Event()
    calls: list[int] = []

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if puppets.left:
            puppets.left -= 1
            return {"content": []}
        calls.append(puppet.seat)
        if len(calls) == 2:
            both.set()
        try:
            await anyio.sleep_forever()
        finally:
            puppets.cancelled.append(puppet.seat)
        return {}

    puppets.answer = answer
    clock = ManualClock()
    async with open_puppets(puppets, [group(members=2, policy=HEDGE)], clock=clock) as pool:
        await pool.status()
        for _ in range(40):
            await ask(pool, "read")
        clock.advance(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, pool, "read")
            await both.wait()
            tasks.cancel_scope.cancel()
        while len(puppets.cancelled) < 2:
            await anyio.lowlevel.checkpoint()
        assert pool.stats().groups[0].in_flight == 0


FAILURES: dict[str, Exception] = {
    "never sent": Lost("no", sent=False, is_final=False),
    "lost": Lost("It fell.", is_final=False),
    "lost for good": Lost("It fell.", is_final=True),
    **{
        f"HTTP {status}": Refusal(-32603, "no", status=status)
        for status in (400, 401, 408, 425, 429, 500, 502, 503, 504)
    },
    **{f"error {code}": Refusal(code, "no") for code in (-32603, -32602, -32601, -32600, -32042, -32002, 1)},
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(("trusted", "tool"), [(True, "read"), (True, "write"), (False, "read"), (False, "write")])
async def test_what_may_do_harm_twice_is_sent_twice_only_if_it_was_never_sent(
    failure: str, trusted: bool, tool: str
) -> None:
    puppets = Failing(all=FAILURES[failure])
    async with open_puppets(puppets, [group(members=2, trusted=trusted)]) as pool:
        await pool.status()
        with pytest.raises((StoaError, Refusal)):
            await ask(pool, tool)
        again = {"never sent"}
        if trusted and tool == "read":
            again |= {"lost", "lost for good", *(f"HTTP {status}" for status in BUSY)}
        assert len(puppets.calls) == (2 if failure in again else 1)


@given(
    failure=st.one_of(
        st.builds(Lost, st.text(), sent=st.just(True), is_final=st.booleans()),
        st.builds(Refusal, st.integers(), st.text(), status=st.none() | st.integers(100, 599)),
        st.builds(Late, st.floats(0, 100)),
    )
)
def test_whatever_fails_after_it_was_sent_no_harm_is_done_twice(failure: Failure) -> None:
    assert not is_worth_another(failure, may_repeat=False)
    if isinstance(failure, Late) or is_answer(failure):
        assert not is_worth_another(failure, may_repeat=True)


@pytest.mark.parametrize("tool", ["read", "write"])
async def test_what_did_not_answer_in_time_is_not_sent_again(tool: str) -> None:
    puppets = Puppets()
    calls: list[int] = []

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        calls.append(puppet.seat)
        await anyio.sleep_forever()
        return {}

    puppets.answer = answer
    async with open_puppets(puppets, [group(members=2, call_timeout_seconds=0.1)]) as pool:
        await pool.status()
        with pytest.raises(Unavailable if tool == "read" else OutcomeUnknown, match=r"within 0\.1 seconds"):
            await ask(pool, tool)
    assert len(calls) == 1


async def test_all_attempts_together_have_the_time_of_one_call() -> None:
    puppets = Puppets()
    calls: list[int] = []

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        calls.append(puppet.seat)
        if len(calls) == 1:
            await anyio.sleep(0.3)
            raise Lost("It fell.", is_final=False)
        await anyio.sleep_forever()
        return {}

    puppets.answer = answer
    async with open_puppets(puppets, [group(members=2, call_timeout_seconds=0.5)]) as pool:
        await pool.status()
        started = anyio.current_time()
        with pytest.raises(Unavailable, match="did not answer within"):
            await ask(pool, "read")
        assert 0.4 < anyio.current_time() - started < 0.75
    assert len(calls) == 2


async def warm_and_slow(puppets: Puppets, clock: ManualClock, pool: Pool) -> None:
    """It is known how long calls take; those that come now take longer."""
    await pool.status()
    for _ in range(40):
        await ask(pool, "read")
    clock.advance(1)


async def test_progress_of_a_hedged_call_goes_on_where_it_was_and_never_back() -> None:
    told: list[float] = []
    both = anyio.Event()
    warm = [40]

    async def hear(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if warm[0]:
            warm[0] -= 1
            return {"content": []}
        assert puppet.progress is not None
        if puppet.seat == 0:
            for done in (1, 2):
                await puppet.progress(done, 4, None)
            await both.wait()
            raise Lost("It fell.", is_final=False)
        for done in (1, 2, 3):
            await puppet.progress(done, 4, None)
        both.set()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        await puppet.progress(2, 4, None)
        await puppet.progress(4, 4, None)
        return {"content": []}

    puppets, clock = Puppets(), ManualClock()
    puppets.answer = answer
    async with open_puppets(puppets, [group(members=2, policy=HEDGE)], clock=clock) as pool:
        await warm_and_slow(puppets, clock, pool)
        await pool.request("one", "tools/call", {"name": "read"}, principal=LOCAL, progress=hear, prefer="one-0")
    assert told == [1, 2, 3, 4]


async def test_a_hedge_counts_as_an_attempt() -> None:
    calls: list[int] = []
    both = anyio.Event()
    warm = [40]

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if warm[0]:
            warm[0] -= 1
            return {"content": []}
        calls.append(puppet.seat)
        if len(calls) == 2:
            both.set()
        await both.wait()
        raise Lost("It fell.", is_final=False)

    puppets, clock = Puppets(), ManualClock()
    puppets.answer = answer
    async with open_puppets(puppets, [group(members=3, policy=HEDGE)], clock=clock) as pool:
        await warm_and_slow(puppets, clock, pool)
        with pytest.raises(Unavailable, match="It fell"):
            await ask(pool, "read", prefer="one-0")
        assert len(calls) == len(set(calls)) == 2
        assert [each.kind for each in pool.trace(2)] == ["first", "hedge"]
