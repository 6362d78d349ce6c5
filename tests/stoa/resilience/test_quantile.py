"""Streaming quantiles: close to the exact ones, bounded, and only of what is recent."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.resilience.quantile import RecentQuantiles


def test_nothing_is_known_at_first() -> None:
    assert RecentQuantiles().quantile(0.95, 0.0) is None


@given(st.lists(st.floats(1e-5, 1e5), min_size=1, max_size=300), st.floats(0, 1))
def test_it_is_within_a_few_per_cent_of_the_exact_one(values: list[float], share: float) -> None:
    quantiles = RecentQuantiles()
    for value in values:
        quantiles.add(value, 1.0)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert quantiles.quantile(share, 1.0) == pytest.approx(exact, rel=0.03)


def test_old_values_fall_out() -> None:
    quantiles = RecentQuantiles(60.0)
    quantiles.add(5.0, 0.0)
    for second in range(31, 90):
        quantiles.add(0.1, second)
    assert quantiles.quantile(1.0, 89.0) == pytest.approx(0.1, rel=0.03)
    assert quantiles.quantile(1.0, 1000.0) is None
    assert quantiles.count == 0


@given(st.lists(st.floats(allow_nan=False), max_size=50))
def test_any_number_may_come(values: list[float]) -> None:
    quantiles = RecentQuantiles()
    for value in values:
        quantiles.add(value, 0.0)
    assert quantiles.count == len(values)
