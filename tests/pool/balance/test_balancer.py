"""The balancer: tiers, wishes, slow start, slots that are given back once, and a policy that changes at run time."""

import random
from collections import Counter

import pytest

from pool.balance.balancer import Balancer
from pool.balance.decision import Decision
from pool.balance.policy import BalancePolicy, EjectionPolicy, Strategy

RNG = random.Random(1)


def balancer(*names: str, most: int = 2, strategy: Strategy = "least_connections") -> Balancer:
    found = Balancer(BalancePolicy(strategy=strategy, slow_start_seconds=0.0))
    for name in names:
        found.add(name, now=0.0, max_in_flight=most)
        found.set_ready(name, True, 0.0)
    return found


def pick(found: Balancer, now: float = 0.0, **wish: object) -> Decision:
    decision = found.pick(now, RNG, **wish)  # type: ignore[arg-type]  # the wishes of the tests
    assert decision is not None
    return decision


def test_nobody_is_picked_who_is_not_ready_or_full() -> None:
    found = balancer("a", "b", most=1)
    found.set_ready("b", False, 0.0)
    decision = pick(found)
    assert (decision.member, decision.why) == ("a", "the only one usable")
    assert {name: note for name, _, note in decision.scores} == {"a": "", "b": "not ready"}
    assert found.pick(0.0, RNG) is None
    found.finish(decision, 0.0, seconds=0.1, outcome="ok")
    assert pick(found).member == "a"


def test_a_slot_is_given_back_once() -> None:
    found = balancer("a")
    decision = pick(found)
    found.finish(decision, 0.0, seconds=0.1, outcome="ok")
    assert decision.is_finished
    with pytest.raises(RuntimeError, match="the slot on 'a' has been given back already"):
        found.finish(decision, 0.0, seconds=0.1, outcome="ok")
    assert found.in_flight("a") == 0


def test_a_call_outlives_the_removal_of_its_member() -> None:
    found = balancer("a", "b")
    decision = pick(found, prefer="a")
    found.remove("a", now=0.0)
    found.add("a", now=0.0)  # another one of the same name
    found.finish(decision, 0.0, seconds=0.1, outcome="ok")
    assert found.in_flight("a") == 0
    assert found.total_in_flight == 0
    found.remove("a", now=0.0)
    found.remove("a", now=0.0)
    assert found.members == ("b",)


def test_the_next_tier_is_used_only_when_nobody_of_the_lower_has_room() -> None:
    found = balancer("spare", "main-1", "main-2", most=2)
    found.add("spare", now=0.0, tier=1, max_in_flight=2)
    members = Counter(pick(found).member for _ in range(4))
    assert members == {"main-1": 2, "main-2": 2}
    last = pick(found)
    assert last.member == "spare"
    assert {note for _, _, note in last.scores} == {"", "full"}
    assert pick(balancer_with_tiers()).scores[-1] == ("second", None, "tier 1")


def balancer_with_tiers() -> Balancer:
    found = balancer("second", "first")
    found.add("second", now=0.0, tier=1, max_in_flight=2)
    return found


def test_the_preferred_one_is_taken_if_it_has_room() -> None:
    found = balancer("a", "b", most=1)
    first = pick(found, prefer="b")
    assert (first.member, first.why) == ("b", "preferred")
    assert pick(found, prefer="b").member == "a"


def test_the_avoided_one_is_taken_only_when_there_is_no_other() -> None:
    found = balancer("a", "b", most=1)
    assert pick(found, avoid=("a",)).member == "b"
    assert found.pick(0.0, RNG, avoid=("a",)) is None, "b is full, and worth waiting for"
    found.set_ready("b", False, 0.0)
    assert pick(found, avoid=("a",)).member == "a"


def test_the_excluded_one_is_never_taken() -> None:
    found = balancer("a")
    assert found.pick(0.0, RNG, exclude=("a",)) is None
    assert found.pick(0.0, RNG, exclude=("a",), avoid=("a",)) is None


def test_what_just_came_up_gets_its_share_slowly() -> None:
    found = Balancer(BalancePolicy(strategy="weighted", slow_start_seconds=10.0))
    for name, ready_at in (("old", 0.0), ("new", 100.0)):
        found.add(name, now=ready_at, max_in_flight=1000)
        found.set_ready(name, True, ready_at)

    def share(now: float) -> float:
        return sum(pick(found, now).member == "new" for _ in range(110)) / 110

    assert share(100.0) == pytest.approx(1 / 11, abs=0.02)
    assert share(105.0) == pytest.approx(1 / 3, abs=0.02)
    assert share(110.0) == pytest.approx(1 / 2, abs=0.02)


def test_another_policy_counts_from_the_next_pick_on() -> None:
    found = balancer("a", "b", most=100, strategy="round_robin")
    assert Counter(pick(found).member for _ in range(10)) == {"a": 5, "b": 5}
    found.configure(BalancePolicy(strategy="sticky"), now=0.0)
    assert len({pick(found, key="somebody").member for _ in range(10)}) == 1
    assert repr(found) == "<Balancer sticky: 2/2 ready, 0 ejected, 20 in flight>"


def test_other_numbers_for_a_member_keep_its_history() -> None:
    found = balancer("a", most=1)
    found.finish(pick(found), 0.0, seconds=0.5, outcome="ok")
    pick(found)
    found.add("a", now=1.0, max_in_flight=2)
    assert found.health("a", 0.0).ewma_seconds == 0.5
    assert pick(found).member == "a"
    with pytest.raises(ValueError, match="weight of 'a' must be more than 0"):
        found.add("a", now=1.0, weight=0.0)


def test_a_caller_who_gave_up_tells_only_how_long_it_waited() -> None:
    found = balancer("a", "b")
    found.finish(pick(found, prefer="a"), 0.0, seconds=0.1, outcome="ok")
    for _ in range(50):
        found.finish(pick(found, prefer="a"), 0.0, seconds=0.01, outcome="cancelled")
    assert found.health("a", 0.0).ewma_seconds == 0.1
    found.finish(pick(found, prefer="a"), 0.0, seconds=9.0, outcome="cancelled")
    health = found.health("a", 0.0)
    assert (health.state, health.ewma_seconds, health.success_rate) == ("healthy", 9.0, 1.0)


@pytest.mark.parametrize("outcome", ["failed", "not_sent"])
def test_a_failure_counts_as_a_slow_answer(outcome: str) -> None:
    """A closed port fails at once; if that counted as fast, all calls would go there."""
    found = balancer("a", "b", strategy="least_latency")
    found.finish(pick(found, prefer="a"), 0.0, seconds=0.001, outcome=outcome)  # type: ignore[arg-type]  # one of them
    found.finish(pick(found, prefer="b"), 0.0, seconds=0.5, outcome="ok")
    assert pick(found).member == "b"
    assert found.health("a", 0.0).ewma_seconds == 1.0


def test_a_group_of_one_decides_without_comparing() -> None:
    decision = pick(balancer("a"))
    assert (decision.why, decision.scores, decision.compared) == ("only one ready", (("a", None, ""),), None)


def test_ejection_can_be_switched_off_and_who_is_out_comes_back() -> None:
    found = balancer("a", "b", most=100)
    for _ in range(5):
        found.finish(pick(found, prefer="a"), 0.0, seconds=0.1, outcome="failed")
    assert found.ejected == ("a",)
    found.configure(BalancePolicy(ejection=EjectionPolicy(is_on=False)), now=0.0)
    assert found.ejected == ()
    for _ in range(50):
        found.finish(pick(found, prefer="a"), 0.0, seconds=0.1, outcome="failed")
    assert found.ejected == ()
    assert found.health("a", 0.0).state == "degraded"
