"""What a pool tells of itself: statistics, the series for Prometheus, and the trace of decisions."""

import math
from collections import Counter

import pytest

from pool.pool import Pool
from pool.tally import BUCKETS, Histogram
from pool.wire.failures import Lost
from stoa.errors import OutcomeUnknown, Unavailable
from stoa.principal import LOCAL, Principal
from stoa.telemetry import POOL_BUSY, POOL_HELP, POOL_REQUEST_SECONDS, POOL_REQUESTS, Sample
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
