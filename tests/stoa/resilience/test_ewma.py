"""The peak EWMA: bad news at once, good news slowly, old news not at all."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.resilience.ewma import PeakEwma


def test_nothing_is_known_at_first() -> None:
    ewma = PeakEwma(10.0)
    assert ewma.value(5.0) is None
    assert not ewma.is_known


def test_a_peak_counts_at_once_and_then_decays() -> None:
    ewma = PeakEwma(10.0)
    ewma.observe(0.1, 0.0)
    ewma.observe(2.0, 1.0)
    assert ewma.value(1.0) == 2.0
    ewma.observe(0.1, 11.0)
    assert ewma.value(11.0) == pytest.approx(2.0 / math.e + 0.1 * (1 - 1 / math.e))


def test_whoever_is_not_asked_any_more_is_forgiven() -> None:
    ewma = PeakEwma(10.0)
    ewma.observe(5.0, 0.0)
    value = ewma.value(60.0)
    assert value is not None
    assert value < 0.02


def test_a_broken_off_wait_counts_only_as_a_peak() -> None:
    ewma = PeakEwma(10.0)
    ewma.observe_at_least(0.5, 0.0)
    assert ewma.value(0.0) == 0.5
    ewma.observe_at_least(0.1, 0.0)
    assert ewma.value(0.0) == 0.5


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-1, 50)), min_size=1))
def test_it_stays_between_nothing_and_the_highest_that_was_seen(steps: list[tuple[float, float]]) -> None:
    """Also when the clock of the caller goes back a little."""
    ewma, now = PeakEwma(10.0), 0.0
    for value, passed in steps:
        now += passed
        ewma.observe(value, now)
        found = ewma.value(now)
        assert found is not None
        assert 0.0 <= found <= max(value for value, _ in steps) + 1e-9
