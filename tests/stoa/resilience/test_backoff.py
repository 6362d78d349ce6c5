"""Waiting before trying again."""

import random

from hypothesis import given
from hypothesis import strategies as st

from stoa.resilience.backoff import Backoff


@given(st.integers(1, 10_000), st.integers())
def test_a_wait_stays_between_floor_and_ceiling(failures: int, seed: int) -> None:
    backoff = Backoff(first_seconds=0.25, factor=2.0, most_seconds=30.0, floor_seconds=0.05)
    ceiling = min(30.0, 0.25 * 2.0 ** min(failures - 1, 64))
    assert 0.05 <= backoff.delay(failures, random.Random(seed)) <= max(0.05, ceiling)


def test_without_failures_nobody_waits() -> None:
    assert Backoff().delay(0, random.Random(1)) == Backoff().delay(-3, random.Random(1)) == 0.0


def test_waits_grow_and_differ_between_processes() -> None:
    backoff = Backoff()
    early = [backoff.delay(1, random.Random(seed)) for seed in range(200)]
    late = [backoff.delay(8, random.Random(seed)) for seed in range(200)]
    assert sum(late) > 10 * sum(early)
    assert len(set(late)) > 150
