"""A clock that is told what time it is."""

from stoa.clock import ManualClock, SystemClock


def test_a_manual_clock_moves_only_when_told_to() -> None:
    clock = ManualClock()
    before = clock.now(), clock.monotonic()
    assert (clock.now(), clock.monotonic()) == before
    clock.advance(90)
    assert ((clock.now() - before[0]).total_seconds(), clock.monotonic() - before[1]) == (90.0, 90.0)


def test_the_system_clock_is_aware_and_goes_forward() -> None:
    clock = SystemClock()
    offset, first = clock.now().utcoffset(), clock.monotonic()
    assert offset is not None
    assert offset.total_seconds() == 0
    assert clock.monotonic() >= first
