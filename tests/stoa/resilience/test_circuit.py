"""The circuit breaker: what opens it, how long, and that only probes close it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.resilience.circuit import Circuit, CircuitPolicy


def fail(circuit: Circuit, now: float, times: int = 5) -> str | None:
    why = None
    for _ in range(times):
        why = circuit.record(now, is_good=False)
    return why


def opened(now: float = 100.0) -> Circuit:
    circuit = Circuit(CircuitPolicy())
    why = fail(circuit, now)
    assert why is not None
    circuit.open(now, why)
    return circuit


def test_five_failures_in_a_row_open_it() -> None:
    circuit = Circuit(CircuitPolicy())
    assert fail(circuit, 1.0, 4) is None
    assert circuit.record(1.0, is_good=True) is None
    assert fail(circuit, 1.0, 4) is None
    assert circuit.record(1.0, is_good=False) == "5 calls in a row failed"


def test_a_low_share_of_good_calls_opens_it_once_there_are_enough() -> None:
    circuit = Circuit(CircuitPolicy(consecutive_failures=100))
    for number in range(9):
        assert circuit.record(number, is_good=True) is None
        assert circuit.record(number, is_good=False) is None
    assert fail(circuit, 10.0, 1) is None
    assert fail(circuit, 10.0, 1) == "only 45% of 20 calls in 60 s went well"


def test_old_failures_do_not_count() -> None:
    circuit = Circuit(CircuitPolicy(consecutive_failures=100))
    assert fail(circuit, 0.0, 19) is None
    assert fail(circuit, 70.0, 1) is None


def test_the_times_it_stays_open_double_up_to_a_limit() -> None:
    circuit, now, spans = opened(), 100.0, list[float]()
    for _ in range(7):
        spans.append(circuit.until - now)
        now = circuit.until
        assert circuit.start_probe(now)
        circuit.finish_probe(now, is_good=False)
    assert spans == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_an_outage_of_years_does_not_overflow() -> None:
    circuit = opened()
    for _ in range(3000):
        circuit.start_probe(circuit.until)
        circuit.finish_probe(circuit.until, is_good=False)
    assert circuit.is_open


def test_half_open_lets_one_probe_at_a_time_pass_and_two_close_it() -> None:
    circuit = opened()
    assert not circuit.start_probe(100.9)
    assert circuit.state(100.9) == "open"
    assert circuit.state(101.0) == "half_open"
    assert circuit.start_probe(101.0)
    assert not circuit.start_probe(101.0), "somebody is trying already"
    circuit.finish_probe(101.1, is_good=True)
    assert circuit.is_open
    assert circuit.start_probe(101.2)
    circuit.finish_probe(101.3, is_good=True)
    assert circuit.state(101.3) == "closed"
    assert fail(circuit, 101.4, 4) is None, "the failures it was opened for must not open it again"


def test_a_failed_probe_starts_over() -> None:
    circuit = opened()
    circuit.start_probe(101.0)
    circuit.finish_probe(101.0, is_good=True)
    circuit.start_probe(101.0)
    circuit.finish_probe(101.0, is_good=False, reason="its probe failed")
    assert (circuit.until, circuit.reason) == (103.0, "its probe failed")
    circuit.start_probe(103.0)
    circuit.finish_probe(103.0, is_good=True)
    assert circuit.is_open


def test_a_probe_that_was_broken_off_says_nothing() -> None:
    circuit = opened()
    circuit.start_probe(101.0)
    circuit.finish_probe(101.5, is_good=None)
    assert circuit.may_probe(101.5)


@pytest.mark.parametrize("is_good", [True, False])
def test_late_answers_of_calls_from_before_do_not_count(is_good: bool) -> None:
    circuit = opened()
    for _ in range(10):
        assert circuit.record(100.5, is_good=is_good) is None
    assert circuit.until == 101.0
    assert circuit.is_open


def test_a_circuit_that_held_for_a_whole_window_begins_with_a_short_time_again() -> None:
    circuit = opened()
    circuit.start_probe(101.0)
    circuit.finish_probe(101.0, is_good=False)
    circuit.close(103.0)
    circuit.open(110.0, "again")
    assert circuit.until == 114.0
    circuit.close(114.0)
    circuit.open(200.0, "much later")
    assert circuit.until == 201.0


def test_switched_off_it_never_opens_and_what_is_open_closes() -> None:
    circuit = opened()
    circuit.configure(CircuitPolicy(is_on=False), 100.0)
    assert not circuit.is_open
    assert fail(circuit, 100.0, 100) is None
    assert circuit.consecutive_failures == 100


@given(st.lists(st.tuples(st.sampled_from(["good", "bad", "probe good", "probe bad", "probe none"]), st.floats(0, 20))))
def test_whatever_happens_it_is_open_at_most_the_longest_time(steps: list[tuple[str, float]]) -> None:
    circuit, now = Circuit(CircuitPolicy()), 0.0
    for step, passed in steps:
        now += passed
        if step.startswith("probe"):
            if circuit.start_probe(now):
                circuit.finish_probe(now, is_good={"good": True, "bad": False, "none": None}[step.split()[1]])
        elif (why := circuit.record(now, is_good=step == "good")) is not None:
            circuit.open(now, why)
        assert circuit.until - now <= 30.0
        assert not (circuit.is_probing and not circuit.is_open)
        assert (circuit.state(now) == "closed") == (not circuit.is_open)
        assert bool(circuit.reason) == circuit.is_open
