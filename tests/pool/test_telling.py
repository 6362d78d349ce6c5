"""What a pool tells of itself: statistics, the series for Prometheus, and the trace of decisions."""

import math
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import anyio
import pytest

from pool.balance.policy import BalancePolicy, HedgePolicy
from pool.keeper import Keeper
from pool.pool import Pool
from pool.spec import InProcessSpec
from pool.tally import BUCKETS, Histogram
from pool.wire.failures import Lost, Refusal
from stoa.clock import ManualClock
from stoa.errors import OutcomeUnknown, StoaError, Unavailable
from stoa.principal import LOCAL, Principal
from stoa.telemetry import (
    POOL_BUSY,
    POOL_BYTES,
    POOL_CIRCUIT,
    POOL_CIRCUIT_TRIPS,
    POOL_CONNECTIONS,
    POOL_EXTRA,
    POOL_HEALTHY,
    POOL_HELP,
    POOL_MESSAGES,
    POOL_PROBES,
    POOL_RECONNECTS,
    POOL_RECYCLED,
    POOL_REFUSED,
    POOL_REQUEST_SECONDS,
    POOL_REQUESTS,
    POOL_STARTS_FAILED,
    POOL_USED,
    POOL_WAITED,
    POOL_WAITING,
    Sample,
)
from tests.pool.puppets import Puppet, Puppets, group, open_puppets
from tests.pool.stage import call, open_pool, quick, raw, until


async def used(pool: Pool, puppets: Puppets) -> None:
    """Two good calls, and one that fails."""

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if params.get("arguments"):
            raise Lost("It fell.", is_final=False)
        return {"content": []}

    puppets.answer = answer
    await pool.status()
    for _ in range(2):
        await pool.request("one", "tools/call", {"name": "write"}, principal=Principal("ann", "acme"), prefer="one-0")
    with pytest.raises(OutcomeUnknown):
        await pool.request("one", "tools/call", {"name": "write", "arguments": {"a": 1}}, principal=LOCAL)


async def test_statistics_are_kept_for_each_replica_and_each_server() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(members=2), group("two")]) as pool:
        await used(pool, puppets)
        stats = pool.stats()
        one = stats.group("one")
        assert one is not None
        assert (one.calls, one.failures, one.in_flight, one.waiting) == (3, 1, 0, 0)
        assert sum(replica.answered for replica in one.replicas) == 2
        assert one.p50_seconds is not None
        assert 0 < one.p50_seconds < 1
        first = one.replicas[0]
        assert first.replica == "one-0"
        assert first.connects == 1
        assert first.age_seconds is not None
        assert stats.group("three") is None


async def test_a_trace_says_which_replica_why_and_what_the_others_scored() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(members=2)]) as pool:
        await used(pool, puppets)
        first, _, last = pool.trace()
        assert (first.server, first.what, first.replica, first.why, first.outcome, first.tenant) == (
            "one", "one.write", "one-0", "preferred", "ok", "acme",
        )  # fmt: skip
        assert (last.outcome, last.wrong, last.kind, last.attempt) == ("failed", "It fell.", "first", 1)
        assert {name for name, _, _ in last.scores} == {"one-0", "one-1"}
        assert last.strategy == "least_latency"
        assert pool.trace(1) == (last,)


async def test_series_have_names_help_and_labels() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(members=2), group("two")]) as pool:
        await used(pool, puppets)
        found: list[Sample] = list(pool.samples())
        assert {sample.name for sample in found} == set(POOL_HELP)
        assert len(POOL_HELP) == 18
        assert all(sample.help == POOL_HELP[sample.name] for sample in found)
        twice = Counter((sample.name, *sorted(sample.labels.items())) for sample in found)
        assert set(twice.values()) == {1}
        (histogram,) = [
            each for each in found if each.name == POOL_REQUEST_SECONDS and each.labels == {"server": "one"}
        ]
        assert histogram.buckets[-1] == (math.inf, 2)
        failed = {"server": "one", "outcome": "failed"}
        failures = [each for each in found if each.name == POOL_REQUESTS and failed.items() <= each.labels.items()]
        assert sum(each.value for each in failures) == 1
        assert all(each.value == 0 for each in found if each.name == POOL_BUSY)


async def test_stderr_is_told_by_replica() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group()]) as pool:
        assert pool.stderr("one") == {}
        await pool.tools()
        assert pool.stderr("one") == {"one-0": ("puppet 0 here",)}


async def test_the_last_words_of_a_process_that_ended_are_told_beside_those_of_its_successor() -> None:
    async with open_pool(quick("one", raw("print-secret", env={"API_KEY": "none"}))) as pool:
        with pytest.raises(Unavailable):
            await call(pool, "one.crash")
        await until(lambda: "1/1 ready" in repr(pool) and len(pool.stderr("one")["one-0"]) == 3)
        first, second, third = pool.stderr("one")["one-0"]
        assert (first, second) == ("my key is none, my arguments are print-secret", "about to crash")
        assert third == first


async def test_the_last_words_of_a_process_that_did_not_start_are_told_and_masked() -> None:
    spec = raw("print-secret", "die-at-initialize", env={"API_KEY": "hunter2-key"}, secrets=("hunter2-key",))
    async with open_pool(quick("one", spec)) as pool:
        (line,) = await pool.status()
        assert line.state == "stopped"
        assert "no luck today" in line.reason
        said = pool.stderr("one")["one-0"]
        assert said[0].startswith("my key is ***")
        assert said[1] == "no luck today"


def test_a_histogram_knows_its_quantiles_to_the_bucket() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    for number in range(100):
        histogram.add(0.002 if number < 90 else 0.2)
    assert histogram.cumulated()[-1] == 100
    half, tail = histogram.quantile(0.5), histogram.quantile(0.99)
    assert half is not None
    assert tail is not None
    assert 0.001 < half <= 0.0025
    assert 0.1 < tail <= 0.25
    histogram.add(1e9)
    assert histogram.quantile(1.0) == BUCKETS[-1]


def read(pool: Pool, name: str, **labels: str) -> float:
    """The sum of a series over what these labels leave open."""
    return sum(
        sample.value for sample in pool.samples() if sample.name == name and labels.items() <= sample.labels.items()
    )


async def test_series_of_connections_and_slots_move_with_them() -> None:
    puppets = Puppets()
    go = anyio.Event()

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        await go.wait()
        return {"content": []}

    puppets.answer = answer
    async with open_puppets(puppets, [group(members=2, max_in_flight=2, max_waiting=1)]) as pool:
        assert [read(pool, name) for name in (POOL_CONNECTIONS, POOL_HEALTHY, POOL_USED)] == [0, 0, 0]
        await pool.status()
        assert [read(pool, name) for name in (POOL_CONNECTIONS, POOL_HEALTHY, POOL_BUSY)] == [2, 2, 0]

        async def ask() -> None:
            await pool.request("one", "tools/call", {"name": "write"}, principal=LOCAL)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await until(lambda: "1 in flight" in repr(pool))
            assert [read(pool, name) for name in (POOL_BUSY, POOL_USED, POOL_WAITING, POOL_WAITED)] == [1, 0.25, 0, 0]
            for _ in range(4):
                tasks.start_soon(ask)
            await until(lambda: "4 in flight, 1 waiting" in repr(pool))
            assert [read(pool, name) for name in (POOL_BUSY, POOL_USED, POOL_WAITING, POOL_WAITED)] == [2, 1, 1, 1]
            assert read(pool, POOL_REFUSED) == 0
            with pytest.raises(Unavailable):
                await ask()
            assert read(pool, POOL_REFUSED) == 1
            go.set()
        assert [read(pool, name) for name in (POOL_BUSY, POOL_USED, POOL_WAITING, POOL_WAITED)] == [0, 0, 0, 1]
        assert read(pool, POOL_REQUESTS, outcome="ok") == 5
        (times,) = [sample for sample in pool.samples() if sample.name == POOL_REQUEST_SECONDS]
        assert times.buckets[-1][1] == 5
        assert times.value > 0


@pytest.mark.parametrize(
    ("failure", "outcome", "attempts"),
    [
        (Lost("It fell.", is_final=False), "failed", 1),
        (Lost("no", sent=False, is_final=False), "not_sent", 2),
        (Refusal(-32603, "no"), "failed", 1),
        (Refusal(-32602, "your fault"), "ok", 1),
        (None, "cancelled", 1),
    ],
)
async def test_attempts_are_counted_by_how_they_ended(failure: Exception | None, outcome: str, attempts: int) -> None:
    puppets = Puppets()

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if failure is None:
            await anyio.sleep_forever()
        raise failure or AssertionError

    puppets.answer = answer
    async with open_puppets(puppets, [group(members=2)]) as pool:
        await pool.status()
        with suppress(StoaError, Refusal), anyio.move_on_after(0.05 if failure is None else 10):
            await pool.request("one", "tools/call", {"name": "write"}, principal=LOCAL)
        assert read(pool, POOL_REQUESTS) == read(pool, POOL_REQUESTS, outcome=outcome) == attempts
        assert read(pool, POOL_EXTRA, kind="retry") == attempts - 1
        assert pool.trace(1)[0].outcome == outcome


async def test_hedges_are_counted() -> None:
    puppets, clock = Puppets(), ManualClock()
    warm = [40]

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        warm[0] -= 1
        if warm[0] < 0 and puppet.seat == 0:
            await anyio.sleep_forever()
        return {"content": []}

    puppets.answer = answer
    policy = BalancePolicy(hedge=HedgePolicy(min_calls=20, budget_share=0.5))
    async with open_puppets(puppets, [group(members=2, policy=policy)], clock=clock) as pool:
        await pool.status()
        for _ in range(40):
            await pool.request("one", "ping", {}, principal=LOCAL)
        clock.advance(1)
        await pool.request("one", "ping", {}, principal=LOCAL, prefer="one-0")
        assert (read(pool, POOL_EXTRA, kind="hedge"), read(pool, POOL_EXTRA, kind="retry")) == (1, 0)


async def test_series_of_health_move_with_it() -> None:
    puppets, clock = Puppets(), ManualClock()
    is_broken = [True]

    async def answer(puppet: Puppet, method: str, params: dict[str, object]) -> dict[str, object]:
        if puppet.seat == 0 and is_broken[0]:
            raise Lost("It stumbles.", is_final=False)
        return {"content": []}

    async def ping(puppet: Puppet) -> None:
        if puppet.seat == 0 and is_broken[0]:
            raise Lost("It stumbles.", is_final=False)

    puppets.answer, puppets.ping = answer, ping  # type: ignore[method-assign] - what the test replaces
    async with open_puppets(puppets, [group(members=2, probe_interval_seconds=1000)], clock=clock) as pool:
        await pool.status()
        keeper = Keeper(pool._roster.find("one").group)  # pyright: ignore[reportPrivateUsage] - one round at a time
        seen = [read(pool, POOL_CIRCUIT, replica="one-0")]
        for _ in range(5):
            with pytest.raises(OutcomeUnknown):
                await pool.request("one", "tools/call", {"name": "write"}, principal=LOCAL, prefer="one-0")
        seen.append(read(pool, POOL_CIRCUIT, replica="one-0"))
        assert (read(pool, POOL_HEALTHY), read(pool, POOL_CONNECTIONS)) == (1, 2)
        assert read(pool, POOL_CIRCUIT_TRIPS, replica="one-0") == 1
        clock.advance(1.5)
        seen.append(read(pool, POOL_CIRCUIT, replica="one-0"))
        await keeper.tend()
        assert (read(pool, POOL_PROBES, result="failed"), read(pool, POOL_PROBES, result="ok")) == (1, 0)
        seen.append(read(pool, POOL_CIRCUIT, replica="one-0"))
        assert read(pool, POOL_CIRCUIT_TRIPS, replica="one-0") == 2
        is_broken[0] = False
        clock.advance(2.5)
        for _ in range(2):
            await keeper.tend()
        seen.append(read(pool, POOL_CIRCUIT, replica="one-0"))
        assert seen == [0, 2, 1, 2, 0]
        assert read(pool, POOL_PROBES, result="ok") == 2
        assert read(pool, POOL_CIRCUIT, replica="one-1") == read(pool, POOL_CIRCUIT_TRIPS, replica="one-1") == 0


async def test_series_of_starts_move_with_them_and_what_is_counted_never_falls() -> None:
    puppets = Puppets()
    counts = (POOL_RECONNECTS, POOL_RECYCLED, POOL_STARTS_FAILED, POOL_BYTES, POOL_MESSAGES)
    async with open_puppets(puppets, [group(max_calls=3)]) as pool:
        await pool.status()
        assert [read(pool, name) for name in counts] == [0, 0, 0, 0, 0]
        puppets.opened[0].traffic.sent(10)
        puppets.opened[0].traffic.received(100)
        assert read(pool, POOL_BYTES, direction="sent") == 10
        assert read(pool, POOL_BYTES, direction="received") == 100
        for _ in range(3):
            await pool.request("one", "ping", {}, principal=LOCAL)
        await until(lambda: [read(pool, name) for name in counts] == [1, 1, 0, 110, 2])
        puppets.refuse = Unavailable("It is not there.")
        puppets.opened[1].lose()
        await until(lambda: read(pool, POOL_STARTS_FAILED) == 1)
        puppets.refuse = None
        before = [read(pool, name) for name in counts]
        # Another member: the replica that counted all this is no more.
        await pool.reconfigure([replace(group(max_calls=3), members=(InProcessSpec(5),))])
        await pool.status()
        assert [now >= then for now, then in zip([read(pool, n) for n in counts], before, strict=True)] == [True] * 5


async def test_messages_and_bytes_of_a_real_connection_are_counted() -> None:
    async with open_pool(quick("one", raw())) as pool:
        await pool.tools()
        sent, received = (read(pool, POOL_BYTES, direction=way) for way in ("sent", "received"))
        messages = read(pool, POOL_MESSAGES, direction="sent")
        await call(pool, "one.echo", {"text": "x" * 1000})
        assert read(pool, POOL_BYTES, direction="sent") - sent > 1000
        assert read(pool, POOL_BYTES, direction="received") - received > 1000
        assert read(pool, POOL_MESSAGES, direction="sent") - messages == 1


async def test_every_attempt_is_traced_also_where_there_is_no_choice() -> None:
    puppets = Puppets()
    async with open_puppets(puppets, [group(), group("two", members=3)]) as pool:
        await pool.status()
        for _ in range(3):
            await pool.request("one", "ping", {}, principal=LOCAL)
        await pool.request("two", "ping", {}, principal=LOCAL)
        *alone, chosen = pool.trace()
        assert [(each.why, each.scores) for each in alone] == [("only one ready", (("one-0", None, ""),))] * 3
        assert chosen.what == "ping of two"
        assert [name for name, score, _ in chosen.scores if score is not None] == ["two-0", "two-1", "two-2"]
