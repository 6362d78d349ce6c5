"""Outlier ejection: who is left out, how many at most, and how they come back."""

import random

from pool.balance.balancer import Balancer
from pool.balance.decision import Decision
from pool.balance.policy import BalancePolicy, EjectionPolicy

RNG = random.Random(1)


def balancer(count: int = 4, **ejection: float) -> Balancer:
    policy = BalancePolicy(ejection=EjectionPolicy(**ejection), slow_start_seconds=0.0)  # type: ignore[arg-type]  # numbers
    found = Balancer(policy)
    for number in range(count):
        found.add(f"m{number}", now=0.0, max_in_flight=100)
        found.set_ready(f"m{number}", True, 0.0)
    return found


def pick(found: Balancer, now: float, *, prefer: str | None = None) -> Decision:
    decision = found.pick(now, RNG, prefer=prefer)
    assert decision is not None
    return decision


def fail(found: Balancer, name: str, now: float = 0.0, *, times: int = 5) -> None:
    for _ in range(times):
        found.finish(pick(found, now, prefer=name), now, seconds=0.01, outcome="failed", reason="connection refused")


def chosen(found: Balancer, now: float, calls: int = 200) -> set[str]:
    names: set[str] = set()
    for _ in range(calls):
        decision = pick(found, now)
        names.add(decision.member)
        found.finish(decision, now, seconds=0.01, outcome="ok")
    return names


def test_five_failures_in_a_row_eject_and_say_why() -> None:
    found = balancer()
    fail(found, "m0", times=4)
    assert found.health("m0", 0.0).state == "degraded"
    assert found.health("m0", 0.0).reason == "the last 4 calls failed: connection refused"
    fail(found, "m0", times=1)
    health = found.health("m0", 0.5)
    assert health.state == "ejected"
    assert health.reason == "5 calls in a row failed: connection refused; it is tried again in 0.5 s"
    assert (health.until, health.ejections) == (1.0, 1)
    assert chosen(found, 0.5) == {"m1", "m2", "m3"}
    assert ("m0", None, "ejected") in pick(found, 0.5).scores


def test_no_more_than_half_are_ejected() -> None:
    found = balancer(5)
    for number in range(5):
        fail(found, f"m{number}", times=20)
    assert found.ejected == ("m0", "m1")
    assert found.health("m4", 0.0).state == "degraded"


def test_the_only_one_is_never_ejected() -> None:
    found = balancer(1)
    fail(found, "m0", times=100)
    assert found.ejected == ()


def test_who_was_spared_is_ejected_by_its_next_failure_when_there_is_room() -> None:
    found = balancer(2)
    fail(found, "m0")
    fail(found, "m1")
    assert found.ejected == ("m0",)
    found.configure(BalancePolicy(ejection=EjectionPolicy(max_share=1.0)), now=0.0)
    fail(found, "m1", times=1)
    assert found.ejected == ("m0", "m1")


def test_in_panic_all_are_used() -> None:
    """Of three that are up, two are ejected: something else is more likely wrong than they are."""
    found = balancer(4)
    fail(found, "m0")
    fail(found, "m1")
    assert chosen(found, 0.5) == {"m2", "m3"}
    found.set_ready("m3", False, 0.5)
    decision = pick(found, 0.5)
    assert decision.why.startswith("panic: too many are ejected, so all are used")
    found.set_ready("m2", False, 0.5)
    assert chosen(found, 0.5) == {"m0", "m1"}


def test_without_panic_nobody_is_used_rather_than_an_ejected_one() -> None:
    found = balancer(2, max_share=1.0, panic_share=0.0)
    fail(found, "m0")
    fail(found, "m1")
    assert found.pick(0.5, RNG) is None
    assert pick(found, 2.0).is_probe


def test_when_its_time_is_over_one_call_tries_it_and_two_bring_it_back() -> None:
    found = balancer()
    fail(found, "m0")
    assert found.due_probes(0.9) == ()
    assert found.next_probe_at() == 1.0
    assert found.due_probes(1.0) == ("m0",)
    assert "m0" not in chosen(found, 1.9), "an active probe comes first"
    probe = pick(found, 2.0)
    assert (probe.member, probe.is_probe, probe.why) == ("m0", True, "probe: its ejection is over")
    assert found.due_probes(2.0) == ()
    assert "m0" not in chosen(found, 2.0), "one at a time"
    found.finish(probe, 2.1, seconds=0.1, outcome="ok")
    second = pick(found, 2.1)
    assert second.is_probe
    found.finish(second, 2.2, seconds=0.1, outcome="ok")
    assert found.ejected == ()
    assert found.health("m0", 2.2).state == "healthy"
    assert "m0" in chosen(found, 2.2)


def test_after_an_active_probe_that_went_well_a_call_may_be_the_next() -> None:
    found = balancer()
    fail(found, "m0")
    assert found.start_probe("m0", 1.0)
    assert not pick(found, 3.0).is_probe, "one at a time"
    found.probed("m0", 1.1, ok=True, seconds=0.1)
    second = pick(found, 1.1)
    assert second.is_probe
    found.probed("m0", 1.2, ok=False, seconds=0.1)
    assert found.health("m0", 1.2).until == 1.0, "of a routine probe beside it the circuit takes no notice"
    found.finish(second, 1.3, seconds=0.1, outcome="ok")
    assert found.ejected == ()


def test_one_that_is_down_is_not_waited_for() -> None:
    found = balancer()
    fail(found, "m0")
    found.set_ready("m0", False, 0.5)
    assert found.next_probe_at() is None
    assert found.due_probes(5.0) == ()
    found.set_ready("m0", True, 6.0)
    assert found.next_probe_at() == 1.0


def test_a_failed_probe_leaves_it_out_for_twice_as_long() -> None:
    found = balancer()
    fail(found, "m0")
    found.finish(pick(found, 2.0), 2.0, seconds=0.1, outcome="failed", reason="still refused")
    health = found.health("m0", 2.0)
    assert (health.until, health.reason) == (4.0, "its probe failed: still refused; it is tried again in 2.0 s")


def test_a_probe_whose_caller_gave_up_says_nothing() -> None:
    found = balancer()
    fail(found, "m0")
    found.finish(pick(found, 2.0), 2.0, seconds=0.1, outcome="cancelled")
    assert found.due_probes(2.0) == ("m0",)
    assert found.health("m0", 2.0).reason.endswith("; it is being tried again")


def test_calls_with_a_key_are_not_diverted_to_try_somebody() -> None:
    found = balancer(3)
    found.set_ready("m1", True, 0.0, wants_affinity=True)
    owner = {key: _owner(found, key) for key in map(str, range(30))}
    out = owner["0"]
    fail(found, out)
    for key, name in owner.items():
        decision = found.pick(2.0, RNG, key=key)
        assert decision is not None
        assert (decision.member == name) == (name != out or decision.is_probe)
        found.finish(decision, 2.0, seconds=0.1, outcome="cancelled")


def _owner(found: Balancer, key: str) -> str:
    decision = found.pick(0.0, RNG, key=key)
    assert decision is not None
    found.finish(decision, 0.0, seconds=0.1, outcome="ok")
    return decision.member


def test_a_tier_that_is_not_in_use_is_not_tried_with_calls() -> None:
    found = balancer(3)
    found.add("m0", now=0.0, tier=1, max_in_flight=100)
    fail(found, "m0")
    assert chosen(found, 5.0) == {"m1", "m2"}
    assert found.due_probes(5.0) == ("m0",)


def test_active_probes_bring_it_back_too() -> None:
    found = balancer()
    fail(found, "m0")
    assert not found.start_probe("m0", 0.5)
    found.probed("m0", 0.5, ok=True, seconds=0.01)
    assert found.ejected == ("m0",), "its time is not over"
    assert found.start_probe("m0", 1.0)
    assert not found.start_probe("m0", 1.0)
    assert not pick(found, 1.0).is_probe
    found.probed("m0", 1.0, ok=None, seconds=0.0)
    assert found.start_probe("m0", 1.0)
    found.probed("m0", 1.0, ok=True, seconds=0.01)
    found.probed("m0", 1.0, ok=True, seconds=0.01)
    assert found.ejected == ()


def test_failed_active_probes_in_a_row_eject_a_replica_that_hangs() -> None:
    found = balancer()
    found.probed("m0", 30.0, ok=False, seconds=5.0, reason="no answer within 5 seconds")
    assert found.health("m0", 30.0).reason == "the last probe failed: no answer within 5 seconds"
    assert "m0" not in chosen(found, 30.0), "it counts as slow, at once"
    found.probed("m0", 60.0, ok=False, seconds=5.0, reason="no answer within 5 seconds")
    assert found.ejected == ("m0",)
    assert found.health("m0", 60.0).reason.startswith("2 probes in a row failed: no answer within 5 seconds")


def test_a_good_probe_takes_back_only_the_word_of_a_bad_one() -> None:
    found = balancer()
    fail(found, "m0", times=4)
    found.probed("m0", 1.0, ok=False, seconds=5.0)
    found.probed("m0", 1.0, ok=True, seconds=0.01)
    found.probed("m0", 1.0, ok=False, seconds=5.0)
    assert found.ejected == ()
    fail(found, "m0", times=1)
    assert found.ejected == ("m0",)


def test_a_low_success_rate_ejects_although_some_calls_succeed() -> None:
    found = balancer()
    for number in range(30):
        outcome = "ok" if number % 3 == 0 else "failed"
        found.finish(pick(found, 1.0, prefer="m0"), 1.0, seconds=0.1, outcome=outcome)
    health = found.health("m0", 1.0)
    assert health.state == "ejected"
    assert health.reason.startswith("only 35% of 20 calls in 60 s went well")


def test_who_comes_back_is_not_judged_by_what_was_before() -> None:
    found = balancer()
    fail(found, "m0", times=4)
    found.set_ready("m0", False, 0.0)
    found.set_ready("m0", True, 1.0)
    assert found.health("m0", 1.0).ewma_seconds is None


def test_when_members_leave_the_share_still_holds() -> None:
    found = balancer(4)
    fail(found, "m0", 0.0)
    fail(found, "m1", 0.2)
    found.remove("m3", now=0.5)
    assert found.ejected == ("m1",), "the one whose time ends first came back"
    found.remove("m1", now=0.5)
    found.remove("m2", now=0.5)
    assert found.ejected == ()


def test_late_failures_of_a_removed_member_eject_nobody() -> None:
    found = balancer(2)
    decisions = [pick(found, 0.0, prefer="m0") for _ in range(9)]
    found.remove("m0", now=0.0)
    for decision in decisions:
        found.finish(decision, 0.1, seconds=0.1, outcome="failed")
    assert found.ejected == ()
    assert found.total_in_flight == 0
