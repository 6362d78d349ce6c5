"""The benchmark runs and says what it measured. What comes out of the clock is never looked at here."""

from pathlib import Path

import pytest

from benchmarks.bench_gateway import CASES, measure
from benchmarks.environment import environment
from benchmarks.gateway_figures import BESIDE, DIRECT
from benchmarks.gateways import UPSTREAMS, ours
from pool.config.mcp_json import read_config


def test_what_is_compared_is_measured() -> None:
    names = {case.name for case in CASES}
    assert len(names) == len(CASES)
    assert names >= {DIRECT, *(name for ours, theirs, _ in BESIDE for name in (ours, theirs))}
    assert all(
        {case.era for case in CASES if case.name == mine} == {case.era for case in CASES if case.name == theirs}
        for mine, theirs, _ in BESIDE
    )


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_our_gateway_trusts_the_echo_server_so_that_it_is_told_who_calls(upstream: str, tmp_path: Path) -> None:
    gateway = ours(upstream, server_port=1234, port=5678, folder=tmp_path, key="k" * 32)
    ((path, text),) = gateway.files.items()
    path.write_text(text, "utf-8")
    (group,) = read_config(path, {})
    assert group.trusted
    assert str(path) in gateway.command


def test_an_environment_whose_requirements_have_not_changed_is_used_again(tmp_path: Path) -> None:
    requirements = tmp_path / "bench-nothing.txt"
    requirements.write_text("# nothing\n")
    programs = environment("nothing", folder=tmp_path / "envs", requirements=tmp_path)
    (programs / "mark").touch()
    assert (environment("nothing", folder=tmp_path / "envs", requirements=tmp_path) / "mark").exists()
    requirements.write_text("# nothing at all\n")
    assert not (environment("nothing", folder=tmp_path / "envs", requirements=tmp_path) / "mark").exists()


@pytest.mark.slow  # starts two servers
async def test_a_row_of_each_figure_comes_out_for_the_direct_call_and_for_ours(tmp_path: Path) -> None:
    rows = await measure(seconds=0.01, rounds=1, seed=1, only="ours, http upstream", folder=tmp_path)
    cases = {row.case for row in rows}
    assert cases == {DIRECT, "ours, http upstream", "ours, http upstream, 2025-11-25"}
    held = {(row.case, row.metric) for row in rows if row.target is not None}
    assert held == {("ours, http upstream", "CPU at 16"), ("ours, http upstream", "added p50 at 1")}
