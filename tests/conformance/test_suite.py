"""What counts as passing: the suite's exit code alone is not enough."""

import json
from pathlib import Path

import pytest

from tests.conformance.inspector import Step, through_gateway
from tests.conformance.suite import Scenario, judge, read_required, read_results

LISTING = """Required for 2026-07-28 (3 scenarios, frozen; run at the 2026-07-28 wire):

Server scenarios (test against a server):
  - ping
  - tools-list

Client scenarios (test against a client):
  - tools_call

Run and reported, but never scored:
  extension (1):
    - tasks-lifecycle
"""


def test_each_side_has_its_own_required_scenarios() -> None:
    assert read_required(LISTING, "server") == ("ping", "tools-list")
    assert read_required(LISTING, "client") == ("tools_call",)


def test_a_run_passes_when_every_required_scenario_checked_something_and_nothing_failed() -> None:
    assert judge(["ping"], [Scenario("ping", 2), Scenario("extension", 0, ("x: no",))], 0) == ()


def test_a_failed_check_is_told_with_its_message() -> None:
    assert judge(["ping"], [Scenario("ping", 1, ("pong: nobody answered",))], 1) == ("ping: pong: nobody answered",)


def test_a_required_scenario_that_did_not_run_is_a_failure() -> None:
    assert judge(["ping", "tools-list"], [Scenario("ping", 1)], 0) == ("tools-list: did not run",)


def test_a_required_scenario_that_checked_nothing_is_a_failure() -> None:
    assert judge(["ping"], [Scenario("ping", 0)], 0) == ("ping: checked nothing",)


def test_a_suite_that_ran_nothing_has_not_passed() -> None:
    assert judge(["ping"], [], 0) == ("The suite ran no scenario (exit code 0).",)
    assert judge([], [Scenario("ping", 1)], 0) == ("The suite names no required scenario.",)


def test_the_suites_own_exit_code_counts_too() -> None:
    assert judge(["ping"], [Scenario("ping", 1)], 3) == ("The suite ended with exit code 3.",)


def test_results_are_read_from_what_the_suite_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "server-tools-list-2026-07-28T10-11-12-345Z"
    folder.mkdir()
    checks = [
        {"id": "lists", "status": "SUCCESS"},
        {"id": "schema", "status": "FAILURE", "errorMessage": "no type"},
        {"id": "hint", "status": "INFO"},
    ]
    (folder / "checks.json").write_text(json.dumps(checks))
    assert read_results(tmp_path, "server") == (Scenario("tools-list", 1, ("schema: no type",)),)


@pytest.mark.parametrize(
    ("name", "said", "is_good"),
    [
        ("tools_call", "…\ndone\n", True),
        ("tools_call", "refused: not today\n", False),
        ("tools_call", "", False),
        ("auth/iss-wrong-issuer", "refused: not the right issuer\n", True),
        ("auth/iss-wrong-issuer", "done\n", False),
    ],
)
def test_a_client_has_to_end_as_its_scenario_wants(tmp_path: Path, name: str, said: str, is_good: bool) -> None:
    folder = tmp_path / f"{name}-2026-07-28T10-11-12-345Z"
    folder.mkdir(parents=True)
    (folder / "checks.json").write_text(json.dumps([{"id": "calls", "status": "SUCCESS"}]))
    (folder / "stdout.txt").write_text(said)
    (scenario,) = read_results(tmp_path, "client")
    assert scenario.name == name
    assert bool(scenario.failures) is not is_good


def test_through_the_gateway_only_the_tools_have_other_names() -> None:
    step = Step("search", ("--tool-name", "search_documents", "--tool-args-json", '{"query": "a"}'), ("a",))
    assert through_gateway(step).arguments == (
        "--tool-name",
        "content_search_documents",
        "--tool-args-json",
        '{"query": "a"}',
    )
