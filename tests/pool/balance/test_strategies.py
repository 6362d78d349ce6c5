"""Least outstanding: exact, fair among equals, never over the limit."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pool.balance.strategies import Load, least_outstanding


@given(st.lists(st.builds(Load, st.integers(0, 5), st.integers(1, 5)), max_size=12), st.integers())
def test_the_choice_has_room_and_nobody_with_room_has_less_to_do(loads: list[Load], seed: int) -> None:
    chosen = least_outstanding(loads, random.Random(seed))
    free = [load for load in loads if load.has_room]
    if chosen is None:
        assert not free
    else:
        assert loads[chosen].has_room
        assert loads[chosen].in_flight == min(load.in_flight for load in free)


def test_ties_are_broken_by_lot() -> None:
    rng = random.Random(1)
    counts = Counter(least_outstanding([Load(2, 9), Load(1, 9), Load(1, 9)], rng) for _ in range(1000))
    assert set(counts) == {1, 2}
    assert min(counts.values()) > 400
