"""The budget of extra calls: never exceeded, never less than its floor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.resilience.budget import Budget

STEPS = st.lists(st.tuples(st.sampled_from(["call", "spend", "spend", "wait"]), st.floats(0, 3)), max_size=200)


@given(STEPS, st.floats(0, 1), st.floats(0, 5), st.floats(1, 20))
def test_no_more_is_spent_than_was_earned(
    steps: list[tuple[str, float]], share: float, floor: float, capacity: float
) -> None:
    budget, now, calls, spent = Budget(share, floor_per_second=floor, capacity=capacity), 0.0, 0, 0
    for step, passed in steps:
        if step == "wait":
            now += passed
        elif step == "call":
            calls += 1
            budget.deposit(now)
        else:
            spent += budget.try_spend(now)
        assert spent == budget.spent
        assert spent <= capacity + share * calls + floor * now + 1e-6
        assert 0.0 <= budget.available(now) <= capacity


def test_a_share_of_the_calls_without_a_floor() -> None:
    budget, spent = Budget(0.05), 0
    for number in range(1000):
        budget.deposit(number * 0.01)
        spent += budget.try_spend(number * 0.01)
    assert 45 <= spent <= 50


@pytest.mark.parametrize(("per_second", "at_least", "at_most"), [(2.0, 2.9, 3.1), (20.0, 2.9, 3.1), (100.0, 9.9, 10.1)])
def test_ten_per_cent_of_the_calls_but_at_least_three_a_second(
    per_second: float, at_least: float, at_most: float
) -> None:
    """At a steady rate the two are not added up."""
    budget = Budget(0.1, floor_per_second=3.0, capacity=3.0)
    while budget.try_spend(0.0):
        pass
    spent = 0
    for number in range(int(per_second * 100)):
        now = number / per_second
        budget.deposit(now)
        while budget.try_spend(now):
            spent += 1
    assert at_least <= spent / 100 <= at_most


def test_nothing_is_left_when_everything_fails_for_long() -> None:
    budget = Budget(0.1, floor_per_second=3.0)
    granted = sum(budget.try_spend(0.0) for _ in range(1000))
    assert granted == 30
    assert budget.refused == 970


def test_what_was_not_used_after_all_comes_back() -> None:
    budget = Budget(1.0)
    budget.deposit(0.0)
    assert budget.try_spend(0.0)
    budget.refund()
    assert budget.spent == 0
    assert budget.try_spend(0.0)
