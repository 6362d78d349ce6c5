"""The strategies, one by one, on members that a balancer keeps."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.balance.balancer import Balancer
from pool.balance.policy import ALIASES, STRATEGIES, BalancePolicy, Strategy, strategy_named


def balancer(strategy: Strategy, count: int = 3, *, weights: tuple[float, ...] = (), **policy: float) -> Balancer:
    found = Balancer(BalancePolicy(strategy=strategy, **{"slow_start_seconds": 0.0, **policy}))  # type: ignore[arg-type]  # floats
    for index in range(count):
        found.add(f"m{index}", now=0.0, weight=weights[index] if weights else 1.0, max_in_flight=100)
        found.set_ready(f"m{index}", True, 0.0)
    return found


def picks(found: Balancer, count: int, *, seconds: float = 0.05) -> Counter[str]:
    """So many calls, one after the other."""
    rng = random.Random(1)
    counts: Counter[str] = Counter()
    for number in range(count):
        decision = found.pick(number * 0.001, rng)
        assert decision is not None
        counts[decision.member] += 1
        found.finish(decision, number * 0.001, seconds=seconds, outcome="ok")
    return counts


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers())
def test_least_connections_has_nobody_with_less_to_do(loads: list[int], seed: int) -> None:
    found = balancer("least_connections", len(loads))
    rng = random.Random(seed)
    for index, load in enumerate(loads):
        for _ in range(load):
            found.pick(0.0, rng, prefer=f"m{index}")
    decision = found.pick(0.0, rng)
    assert decision is not None
    assert loads[int(decision.member[1:])] == min(loads)


def test_ties_are_broken_by_lot() -> None:
    counts = picks(balancer("least_connections", 2), 1000)
    assert min(counts.values()) > 400


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_serves_and_says_why(strategy: Strategy) -> None:
    found = balancer(strategy)
    decision = found.pick(0.0, random.Random(1), key="somebody")
    assert decision is not None
    assert decision.strategy == strategy
    assert decision.why
    assert {name for name, _, _ in decision.scores} == {"m0", "m1", "m2"}


def test_old_names_of_strategies_still_work() -> None:
    assert strategy_named("Health-Based") == "least_latency"
    assert strategy_named("least_outstanding") == "least_connections"
    assert {strategy_named(alias) for alias in ALIASES} <= set(STRATEGIES)
    with pytest.raises(ValueError, match=r"no strategy 'fastest'; there are least_latency"):
        strategy_named("fastest")


def test_an_unknown_latency_is_expected_to_be_as_good_as_the_best() -> None:
    found = balancer("least_latency", 3)
    rng = random.Random(1)
    for name, seconds in (("m0", 0.2), ("m1", 0.1)):
        decision = found.pick(0.0, rng, prefer=name)
        assert decision is not None
        found.finish(decision, 0.0, seconds=seconds, outcome="ok")
    decision = found.pick(0.0, rng)
    assert decision is not None
    assert {name: score for name, score, _ in decision.scores} == {"m0": 0.2, "m1": 0.1, "m2": 0.1}


def test_the_fastest_gets_the_next_call_until_it_has_too_much_to_do() -> None:
    found = balancer("least_latency", 2)
    rng = random.Random(1)
    for name, seconds in (("m0", 0.3), ("m1", 0.1)):
        decision = found.pick(0.0, rng, prefer=name)
        assert decision is not None
        found.finish(decision, 0.0, seconds=seconds, outcome="ok")
    chosen = [decision.member for _ in range(4) if (decision := found.pick(0.0, rng)) is not None]
    assert chosen[:2] == ["m1", "m1"]
    assert "m0" in chosen


def test_two_drawn_by_lot_never_take_the_worst_of_all() -> None:
    found = balancer("p2c", 4)
    rng = random.Random(1)
    for number in range(4):
        decision = found.pick(0.0, rng, prefer=f"m{number}")
        assert decision is not None
        found.finish(decision, 0.0, seconds=float(number + 1), outcome="ok")
    counts: Counter[str] = Counter()
    for _ in range(400):
        decision = found.pick(0.0, rng)
        assert decision is not None
        counts[decision.member] += 1
        found.finish(decision, 0.0, seconds=0.0, outcome="cancelled")
    assert counts["m3"] == 0
    assert counts["m0"] > counts["m1"] > counts["m2"] > 0


def test_round_robin_takes_turns_whatever_the_weights() -> None:
    assert picks(balancer("round_robin", 3, weights=(1, 2, 7)), 30) == {"m0": 10, "m1": 10, "m2": 10}


def test_weighted_takes_turns_by_weight_and_mixes_them() -> None:
    found = balancer("weighted", 3, weights=(5, 1, 1))
    rng = random.Random(1)
    turns = [decision.member for _ in range(7) if (decision := found.pick(0.0, rng)) is not None]
    assert turns == ["m0", "m0", "m1", "m0", "m2", "m0", "m0"]  # the example of nginx


def test_random_draws_by_weight() -> None:
    counts = picks(balancer("random", 2, weights=(1, 3)), 2000)
    assert 2.5 < counts["m1"] / counts["m0"] < 3.5


def test_weights_count_where_the_load_is_compared() -> None:
    for strategy in ("least_connections", "least_latency"):
        found = balancer(strategy, 2, weights=(1, 3))
        rng = random.Random(1)
        taken = Counter(decision.member for _ in range(40) if (decision := found.pick(0.0, rng)) is not None)
        assert taken == {"m0": 10, "m1": 30}


KEYS = [f"caller-{number}" for number in range(300)]


def owners(found: Balancer) -> dict[str, str]:
    """Who serves which key."""
    rng = random.Random(1)
    result: dict[str, str] = {}
    for key in KEYS:
        decision = found.pick(0.0, rng, key=key)
        assert decision is not None
        result[key] = decision.member
        found.finish(decision, 0.0, seconds=0.1, outcome="ok")
    return result


@given(st.integers(2, 8), st.data())
def test_only_the_keys_of_a_member_that_left_move(count: int, data: st.DataObject) -> None:
    found = balancer("sticky", count)
    before = owners(found)
    gone = f"m{data.draw(st.integers(0, count - 1))}"
    found.remove(gone, now=0.0)
    after = owners(found)
    assert {key for key in KEYS if before[key] != after[key]} == {key for key in KEYS if before[key] == gone}
    found.add(gone, now=0.0, max_in_flight=100)
    found.set_ready(gone, True, 0.0)
    assert owners(found) == before


def test_keys_are_spread_evenly_and_by_weight() -> None:
    assert min(Counter(owners(balancer("sticky", 3)).values()).values()) > 75
    heavy = Counter(owners(balancer("sticky", 3, weights=(1, 1, 4))).values())
    assert heavy["m2"] > 150


def test_a_key_stays_with_its_member_in_every_process() -> None:
    """Not by Python's own hash, which differs from process to process."""
    assert list(owners(balancer("sticky", 3)).values())[:6] == ["m0", "m0", "m2", "m2", "m2", "m2"]


def test_other_strategies_heed_a_key_where_members_want_affinity() -> None:
    found = balancer("least_connections")
    found.set_ready("m1", True, 0.0, wants_affinity=True)
    before = owners(found)
    assert owners(found) == before
    assert len(set(before.values())) == 3
    found.set_ready("m1", True, 0.0, wants_affinity=False)
    assert owners(found) != before
