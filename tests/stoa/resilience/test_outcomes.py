"""Recent outcomes: counted in a window, forgotten after it."""

from hypothesis import given
from hypothesis import strategies as st

from stoa.resilience.outcomes import RecentOutcomes


def test_the_share_of_good_ones() -> None:
    recent = RecentOutcomes(60.0)
    assert recent.success_rate(0.0) is None
    for is_good in (True, True, True, False):
        recent.add(is_good=is_good, now=1.0)
    assert recent.success_rate(2.0) == 0.75


def test_what_is_older_than_the_window_does_not_count() -> None:
    recent = RecentOutcomes(60.0)
    recent.add(is_good=False, now=0.0)
    recent.add(is_good=True, now=59.0)
    assert recent.count(59.0) == 2
    assert recent.success_rate(61.0) == 1.0
    assert recent.count(1e9) == 0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 40)), max_size=60))
def test_it_counts_all_of_five_sixths_of_the_window_and_none_from_before_it(steps: list[tuple[bool, float]]) -> None:
    recent, now, seen = RecentOutcomes(60.0), 0.0, list[float]()
    for is_good, passed in steps:
        now += passed
        recent.add(is_good=is_good, now=now)
        seen.append(now)
        assert sum(at > now - 49.9 for at in seen) <= recent.count(now) <= sum(at > now - 60.1 for at in seen)
