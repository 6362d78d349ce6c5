"""The benchmark of the event log runs, on both databases, and what it writes is a sound log."""

from pathlib import Path

import pytest

from benchmarks.bench_eventlog import CASES, Place, appending, following, reading
from tests.fakes.postgres import Cluster, postgres

__all__ = ["postgres"]


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
async def test_every_case_has_its_figures(store: str, tmp_path: Path, postgres: Cluster) -> None:
    place = Place(store, tmp_path, postgres if store == "postgres" else None)
    try:
        rows = [row async for row in appending(place, rounds=1, seconds=0.05)]
        rows += [row async for row in reading(place, 3_000)]
    finally:
        place.close()
    assert {row.case for row in rows} == {f"{store}, append {case.load}" for case in CASES} | {f"{store}, read 3,000"}
    assert all(row.value > 0 for row in rows if row.metric == "events/s")
    assert [row.target for row in rows if row.metric == "events/s"][:3] == [case.least[store] for case in CASES]


@pytest.mark.slow
async def test_the_way_to_a_follower_is_timed_in_both_processes(tmp_path: Path) -> None:
    place = Place("sqlite", tmp_path, None)
    rows = [row async for row in following(place)]
    assert [row.metric for row in rows] == ["p95, in process", "p95, another process", "idle follower"]
