"""From windows to figures: medians, ratios within a round, verdicts."""

import pytest

from benchmarks.gateway_figures import DIRECT, Round, rows
from benchmarks.load import Window
from benchmarks.report import Row

OURS = "ours, http upstream"
FRESH = "fastmcp create_proxy(url)"
CONNECTED = "fastmcp create_proxy(client)"
OURS_THEN = "ours, stdio upstream, 2025-11-25"
MCP_PROXY = "mcp-proxy, stdio upstream, 2025-11-25"


def taken(cpu_us: float, *, ms: float = 1.0, calls: int = 100, beside: tuple[Round, ...] = ()) -> Round:
    def window(cpu_us: float) -> Window:
        return Window((ms / 1e3,) * calls, seconds=0.5, client_cpu_seconds=0.0, server_cpu_seconds=cpu_us * calls / 1e6)

    return Round(one=window(cpu_us * 2), some=window(cpu_us), beside=beside)


BARE = (taken(100), taken(100))


def figure(found: tuple[Row, ...], case: str, metric: str) -> Row:
    (row,) = [row for row in found if (row.case, row.metric) == (case, metric)]
    return row


def test_a_ratio_is_taken_within_its_round_from_the_direct_calls_before_and_after_it() -> None:
    # The machine is twice as slow in the second round: that must not show.
    fast, slow = (taken(100), taken(300)), (taken(300), taken(500))
    found = rows({DIRECT: [*fast, *slow], OURS: [taken(500, beside=fast), taken(1000, beside=slow)]})
    row = figure(found, OURS, "CPU at 16")
    assert row.value == pytest.approx(750)
    assert (row.rival, row.ratio, row.target, row.ok) == (DIRECT, pytest.approx(2.5), 3, True)
    assert (row.low, row.high) == (pytest.approx(2.5), pytest.approx(2.5))


def test_more_than_three_times_the_direct_call_is_a_miss() -> None:
    found = rows({DIRECT: BARE, OURS: [taken(301, beside=BARE)]})
    assert figure(found, OURS, "CPU at 16").ok is False


def test_what_the_gateway_adds_is_the_difference_of_the_medians_at_one_caller() -> None:
    bare = (taken(100, ms=0.4), taken(100, ms=0.6))
    found = rows({DIRECT: bare, OURS: [taken(200, ms=1.4, beside=bare)]})
    row = figure(found, OURS, "added p50 at 1")
    assert (row.value, row.target, row.ok) == (pytest.approx(0.9), 1.0, True)


def test_rivals_and_the_handshake_era_are_held_to_nothing() -> None:
    slow = [taken(9999, ms=99, beside=BARE)]
    found = rows({DIRECT: BARE, FRESH: slow, OURS_THEN: slow, MCP_PROXY: slow})
    held = {row.case for row in found if row.target is not None}
    assert held == {f"{OURS_THEN} beside {MCP_PROXY}"}


def test_each_rival_stands_beside_ours_in_its_own_era_and_with_its_own_target() -> None:
    cases = {OURS: 100, FRESH: 1999, CONNECTED: 400, OURS_THEN: 100, MCP_PROXY: 140}
    found = rows({DIRECT: BARE, **{name: [taken(us, beside=BARE)] for name, us in cases.items()}})
    beside = {row.case: (round(row.value, 2), row.target, row.ok) for row in found if row.more_is_better}
    assert beside == {
        f"{OURS} beside {FRESH}": (19.99, 20, False),
        f"{OURS} beside {CONNECTED}": (4.0, 4, True),
        f"{OURS_THEN} beside {MCP_PROXY}": (1.4, 1.5, False),
    }


def test_every_case_has_every_figure_once() -> None:
    found = rows({DIRECT: BARE, OURS: [taken(200, beside=BARE)], FRESH: [taken(300, beside=BARE)]})
    by_case = {case: sorted(row.metric for row in found if row.case == case) for case in (DIRECT, OURS, FRESH)}
    common = sorted(["p50 at 1", "p99 at 1", "p50 at 16", "p99 at 16", "at 1", "at 16", "CPU at 1", "CPU at 16"])
    assert by_case == {DIRECT: common, OURS: sorted([*common, "added p50 at 1"]), FRESH: common}
