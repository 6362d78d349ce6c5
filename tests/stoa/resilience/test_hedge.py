"""Hedging: not before enough is known, after the time most calls take, within the budget."""

import pytest

from stoa.resilience.hedge import MAX_KINDS, Hedging


def test_nothing_is_hedged_before_enough_is_known() -> None:
    hedging = Hedging(min_calls=100)
    for number in range(99):
        hedging.finished(0.1, number * 0.01)
    assert hedging.delay(1.0) is None
    hedging.finished(0.1, 1.0)
    assert hedging.delay(2.0) == pytest.approx(0.1, rel=0.03)


def test_the_delay_is_the_time_that_most_calls_take() -> None:
    hedging = Hedging()
    for number in range(1000):
        hedging.finished(0.001 * (number % 100 + 1), number * 0.01)
    assert hedging.delay(10.0) == pytest.approx(0.095, rel=0.05)


def test_kinds_are_kept_apart_and_only_so_many() -> None:
    hedging = Hedging(min_calls=1)
    hedging.finished(5.0, 0.0, kind="slow")
    hedging.finished(0.1, 0.0, kind="fast")
    assert hedging.delay(0.0, kind="slow") == pytest.approx(5.0, rel=0.03)
    assert hedging.delay(0.0, kind="fast") == pytest.approx(0.1, rel=0.03)
    for number in range(MAX_KINDS):
        hedging.finished(0.1, 0.0, kind=str(number))
    assert hedging.delay(0.0, kind="slow") is None


def test_one_in_twenty_calls_may_be_hedged() -> None:
    hedging = Hedging()
    for number in range(100):
        hedging.started(number * 0.01)
    assert sum(hedging.may_hedge(1.0) for _ in range(100)) in (4, 5)  # 0.05 has no exact sum


def test_switched_off_it_never_hedges() -> None:
    hedging = Hedging(min_calls=1, is_on=False)
    hedging.started(0.0)
    hedging.finished(0.1, 0.0)
    assert hedging.delay(1.0) is None
    assert not hedging.may_hedge(1.0)
