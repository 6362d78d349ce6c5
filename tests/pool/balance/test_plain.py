"""Slots: never more than allowed, no slot lost, first come first served, whatever happens in between."""

import random
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pool.balance.plain import PlainSlots as Slots
from pool.balance.waiters import QueueIsFull, Waiter


@dataclass(eq=False)
class Machine:
    is_ready: bool = True
    in_flight: int = 0


class SlotsInUse(RuleBasedStateMachine):
    """Callers come, wait, give up and finish; machines go down and come back."""

    @initialize(machines=st.integers(1, 4), most=st.integers(1, 3), seed=st.integers(0, 99))
    def open(self, machines: int, most: int, seed: int) -> None:
        self.machines = [Machine() for _ in range(machines)]
        self.most = most
        self.slots = Slots(self.machines, max_in_flight=most, max_waiting=5, rng=random.Random(seed))
        self.running: list[Machine] = []
        self.waiting: list[Waiter[Machine]] = []

    @rule()
    def come(self) -> None:
        was_waiting = self.slots.waiting
        machine = self.slots.take()
        if machine is not None:
            assert was_waiting == 0, "somebody got past those who wait"
            self.running.append(machine)
            return
        try:
            self.waiting.append(self.slots.join())
        except QueueIsFull:
            assert was_waiting == 5

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 99))
    def finish(self, which: int) -> None:
        self.slots.give_back(self.running.pop(which % len(self.running)))
        self.collect()

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 99))
    def give_up(self, which: int) -> None:
        waiter = self.waiting.pop(which % len(self.waiting))
        self.slots.leave(waiter)
        assert not waiter.is_waiting
        self.collect()

    @precondition(lambda self: self.waiting)
    @rule()
    def give_up_at_the_moment_of_being_served(self) -> None:
        """The first in the queue is handed a slot and leaves without taking it: the next gets it."""
        free = [machine for machine in self.machines if machine.is_ready and machine.in_flight < self.most]
        assert not free, "a slot lies idle while somebody waits"
        if not self.running or not any(machine.is_ready for machine in self.running):
            return
        machine = next(machine for machine in self.running if machine.is_ready)
        self.running.remove(machine)
        first = self.waiting.pop(0)
        self.slots.give_back(machine)
        assert not first.is_waiting
        self.slots.leave(first)
        self.collect()

    @rule(which=st.integers(0, 99))
    def go_down(self, which: int) -> None:
        self.machines[which % len(self.machines)].is_ready = False

    @rule(which=st.integers(0, 99))
    def come_back(self, which: int) -> None:
        self.machines[which % len(self.machines)].is_ready = True
        self.slots.serve()
        self.collect()

    def collect(self) -> None:
        """Waiters that were served now run; they must be the first ones."""
        while self.waiting and not self.waiting[0].is_waiting:
            machine = self.waiting.pop(0).give_up()
            assert machine is not None
            self.running.append(machine)
        assert all(waiter.is_waiting for waiter in self.waiting), "somebody was served out of turn"

    @invariant()
    def counts_are_right(self) -> None:
        if not hasattr(self, "machines"):
            return
        for machine in self.machines:
            assert machine.in_flight == sum(one is machine for one in self.running)
            assert machine.in_flight <= self.most
        assert self.slots.waiting == len(self.waiting)

    @invariant()
    def nothing_lies_idle(self) -> None:
        if hasattr(self, "machines") and self.waiting:
            assert all(not machine.is_ready or machine.in_flight == self.most for machine in self.machines)


SlotsInUse.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSlotsInUse = SlotsInUse.TestCase


def test_nobody_gets_past_those_who_wait() -> None:
    machine = Machine(is_ready=False)
    slots = Slots([machine], max_in_flight=1, max_waiting=1, rng=random.Random(1))
    waiter = slots.join()
    machine.is_ready = True  # and nobody has said so yet
    assert slots.take() is None
    slots.serve()
    assert not waiter.is_waiting
