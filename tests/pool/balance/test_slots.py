"""Slots: never more than allowed, none lost, first come first served, at most half ejected, whatever happens."""

import random

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pool.balance.decision import Decision, Outcome
from pool.balance.policy import STRATEGIES, BalancePolicy, EjectionPolicy, Strategy
from pool.balance.slots import Slots
from pool.balance.waiters import QueueIsFull, Waiter
from stoa.clock import ManualClock

NAMES = st.integers(0, 3).map(lambda number: f"m{number}")
OUTCOMES: tuple[Outcome, ...] = ("ok", "failed", "failed", "cancelled", "not_sent")


class SlotsInUse(RuleBasedStateMachine):
    """Callers come, wait, give up and finish; members come, go, fail, are ejected and come back; time passes."""

    @initialize(most=st.integers(1, 3), seed=st.integers(0, 99), strategy=st.sampled_from(STRATEGIES))
    def open(self, most: int, seed: int, strategy: Strategy) -> None:
        self.most = most
        self.clock = ManualClock(seconds=1000.0)
        policy = BalancePolicy(strategy=strategy, ejection=EjectionPolicy(consecutive_failures=2, min_calls=4))
        self.slots = Slots(policy, max_waiting=4, clock=self.clock, rng=random.Random(seed))
        self.balancer = self.slots.balancer
        self.running: list[Decision] = []
        self.waiting: list[tuple[Waiter[Decision], tuple[str, ...]]] = []
        self.ready: dict[str, bool] = {}
        self.come_up("m0")

    @rule(key=st.none() | st.sampled_from("abc"), exclude=st.just(()) | st.tuples(NAMES), prefer=st.none() | NAMES)
    def come(self, key: str | None, exclude: tuple[str, ...], prefer: str | None) -> None:
        plain = [waiter for waiter, excluded in self.waiting if not excluded]
        decision = self.slots.take(key=key, exclude=exclude, prefer=prefer)
        if decision is not None:
            assert not plain, "somebody got past those who wait"
            assert decision.member not in exclude
            self.running.append(decision)
            return
        try:
            self.waiting.append((self.slots.join(key=key, exclude=exclude, prefer=prefer), exclude))
        except QueueIsFull:
            assert len(self.waiting) == 4

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 99), outcome=st.sampled_from(OUTCOMES), seconds=st.floats(0, 5))
    def finish(self, which: int, outcome: Outcome, seconds: float) -> None:
        self.clock.advance(seconds)
        decision = self.running.pop(which % len(self.running))
        self.slots.finish(decision, outcome=outcome, seconds=seconds, reason="broken")
        self.collect()

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 99))
    def give_up(self, which: int) -> None:
        waiter, _ = self.waiting.pop(which % len(self.waiting))
        self.slots.leave(waiter)
        assert not waiter.is_waiting
        self.collect()

    @precondition(lambda self: self.waiting and self.running)
    @rule()
    def give_up_at_the_moment_of_being_served(self) -> None:
        """Whoever is handed a slot and leaves without taking it: the next gets it."""
        self.slots.finish(self.running.pop(0), outcome="ok", seconds=0.1)
        for entry in self.waiting:
            if not entry[0].is_waiting:
                self.waiting.remove(entry)
                self.slots.leave(entry[0])
                break
        self.collect()

    @rule(name=NAMES)
    def come_up(self, name: str) -> None:
        self.slots.add(name, max_in_flight=self.most, tier=int(name[1]) // 2)
        self.slots.set_ready(name, True)
        self.ready[name] = True
        self.collect()

    @rule(name=NAMES)
    def go_down(self, name: str) -> None:
        if name in self.ready:
            self.slots.set_ready(name, False)
            self.ready[name] = False
        self.collect()

    @rule(name=NAMES)
    def be_removed(self, name: str) -> None:
        self.slots.remove(name)
        self.ready.pop(name, None)
        self.collect()

    @rule(name=NAMES)
    def break_down(self, name: str) -> None:
        """Enough failures to eject it, if it is up and has room and nobody waits."""
        for _ in range(2):
            if not self.waiting and (decision := self.slots.take(prefer=name)) is not None:
                self.slots.finish(decision, outcome="failed", seconds=0.1)
        self.collect()

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.slots.serve()  # as the pool's keeper does
        self.collect()

    @rule(ok=st.sampled_from([True, True, False, None]))
    def probe(self, ok: bool | None) -> None:
        for name in self.balancer.due_probes(self.clock.seconds):
            assert self.balancer.start_probe(name, self.clock.seconds)
            self.slots.probed(name, ok=ok, seconds=0.1)
        self.collect()

    @rule(strategy=st.sampled_from(STRATEGIES), is_on=st.booleans(), max_share=st.sampled_from([0.0, 0.5, 1.0]))
    def configure(self, strategy: Strategy, is_on: bool, max_share: float) -> None:
        ejection = EjectionPolicy(consecutive_failures=2, min_calls=4, is_on=is_on, max_share=max_share)
        self.slots.configure(BalancePolicy(strategy=strategy, ejection=ejection))
        self.collect()

    def collect(self) -> None:
        """Waiters that were served now run; of those without wishes they must be the first ones."""
        plain = [waiter.is_waiting for waiter, exclude in self.waiting if not exclude]
        assert plain == sorted(plain), "somebody was served out of turn"
        served = [entry for entry in self.waiting if not entry[0].is_waiting]
        self.waiting = [entry for entry in self.waiting if entry[0].is_waiting]
        for waiter, exclude in served:
            decision = waiter.give_up()
            assert decision is not None
            assert decision.member not in exclude
            self.running.append(decision)

    @invariant()
    def counts_are_right(self) -> None:
        if not hasattr(self, "slots"):
            return
        for name in self.balancer.members:
            of_it = [d for d in self.running if d.member == name and not d.is_finished]
            assert 0 <= self.balancer.in_flight(name) <= min(self.most, len(of_it))
        assert self.slots.in_flight == len(self.running)
        assert self.slots.waiting == len(self.waiting)

    @invariant()
    def no_more_are_ejected_than_may_be(self) -> None:
        if hasattr(self, "slots"):
            share = self.balancer.policy.ejection.max_share
            assert len(self.balancer.ejected) <= share * len(self.balancer.members)

    @invariant()
    def nothing_lies_idle(self) -> None:
        """Nobody waits while somebody who may be used has room."""
        if not hasattr(self, "slots"):
            return
        ejected = self.balancer.ejected
        usable = [name for name, is_ready in self.ready.items() if is_ready and name not in ejected]
        for _, exclude in self.waiting:
            for name in usable:
                assert name in exclude or self.balancer.in_flight(name) == self.most


SlotsInUse.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestSlotsInUse = SlotsInUse.TestCase


def slots_of(*names: str, most: int = 1) -> Slots:
    found = Slots(BalancePolicy(slow_start_seconds=0.0), max_waiting=9, clock=ManualClock(), rng=random.Random(1))
    for name in names:
        found.add(name, max_in_flight=most)
        found.set_ready(name, True)
    return found


def take(slots: Slots) -> Decision:
    decision = slots.take()
    assert decision is not None
    return decision


def test_nobody_gets_past_those_who_wait() -> None:
    slots = slots_of("a")
    slots.set_ready("a", False)
    waiter = slots.join()
    slots.balancer.set_ready("a", True, 0.0)  # and nobody has said so to those who wait
    assert slots.take() is None
    assert not waiter.is_waiting, "the one who waited was served instead"


def test_one_who_may_not_use_what_is_free_holds_nobody_up() -> None:
    slots = slots_of("a", "b")
    held = {decision.member: decision for decision in (take(slots), take(slots))}
    waiter = slots.join(exclude=("a",))
    slots.finish(held["a"], outcome="ok", seconds=0.1)
    assert waiter.is_waiting
    assert take(slots).member == "a"
    slots.finish(held["b"], outcome="ok", seconds=0.1)
    handed = waiter.give_up()
    assert handed is not None
    assert handed.member == "b"


def test_a_member_that_comes_up_serves_those_who_wait_in_order() -> None:
    slots = slots_of()
    waiters = [slots.join() for _ in range(3)]
    slots.add("a", max_in_flight=2)
    assert all(waiter.is_waiting for waiter in waiters)
    slots.set_ready("a", True)
    assert [waiter.is_waiting for waiter in waiters] == [False, False, True]
    assert repr(slots).startswith("<Slots 2 in flight, 1 waiting, <Balancer least_latency: 1/1 ready")


def test_a_slot_that_was_handed_over_and_not_taken_says_nothing_about_the_replica() -> None:
    slots = slots_of("a")
    decision = take(slots)
    first, second = slots.join(), slots.join()
    slots.finish(decision, outcome="ok", seconds=0.1)
    slots.leave(first)
    assert not second.is_waiting
    assert slots.balancer.health("a", 0.0).success_rate == 1.0


async def test_a_refusal_reaches_all_who_wait() -> None:
    slots = slots_of()
    waiter = slots.join(exclude=("a",))
    slots.refuse_all(LookupError("closed"))
    with pytest.raises(LookupError, match="closed"), anyio.fail_after(5):
        await waiter.wait()
    slots.leave(waiter)
    assert slots.waiting == 0


def test_a_good_probe_serves_those_who_wait() -> None:
    clock = ManualClock()
    policy = BalancePolicy(ejection=EjectionPolicy(max_share=1.0, panic_share=0.0, probe_successes=1))
    slots = Slots(policy, max_waiting=9, clock=clock, rng=random.Random(1))
    slots.add("a")
    slots.set_ready("a", True)
    for _ in range(5):
        slots.finish(take(slots), outcome="failed", seconds=0.1)
    assert slots.take() is None
    waiter = slots.join()
    clock.advance(1.0)
    slots.probed("a", ok=True, seconds=0.01)
    assert not waiter.is_waiting
