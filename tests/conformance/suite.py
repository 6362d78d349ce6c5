"""The official conformance suite: what a revision requires, how a server did, and whether that is good enough.

Good enough means more than the suite's own exit code: every required scenario has to have run and to have checked
something. The list of expected failures is empty and there is no way to give one.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import STDOUT

import anyio
from pydantic import BaseModel, Field, TypeAdapter

from tests.conformance.node import node_command, node_environment

__all__ = ["Scenario", "SuiteRun", "judge", "read_required", "read_results", "run_suite", "show"]

SUITE = Path(__file__).parent / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
MAX_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Scenario:
    """How one scenario went: checks passed, and a line for each check that did not."""

    name: str
    passed: int
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """One run of the suite. `log` is what the suite printed: it tells what went wrong before the first scenario."""

    revision: str
    required: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    exit_code: int
    log: str

    @property
    def complaints(self) -> tuple[str, ...]:
        return judge(self.required, self.scenarios, self.exit_code)


class Check(BaseModel):
    """One line of a scenario's `checks.json`. SUCCESS, FAILURE, WARNING, SKIPPED and INFO are known."""

    id: str
    status: str
    error: str = Field("", alias="errorMessage")


CHECKS = TypeAdapter(list[Check])


def judge(required: Sequence[str], scenarios: Sequence[Scenario], exit_code: int) -> tuple[str, ...]:
    """What stands against this run, a line each; none means that it passed."""
    if not required:
        return ("The suite names no required scenario for a server.",)
    if not scenarios:
        return (f"The suite ran no scenario (exit code {exit_code}).",)
    found = {scenario.name: scenario for scenario in scenarios}
    complaints: list[str] = []
    for name in required:
        scenario = found.get(name)
        if scenario is None:
            complaints.append(f"{name}: did not run")
        elif scenario.failures:
            complaints += [f"{name}: {failure}" for failure in scenario.failures]
        elif not scenario.passed:
            complaints.append(f"{name}: checked nothing")
    if exit_code and not complaints:
        complaints.append(f"The suite ended with exit code {exit_code}.")
    return tuple(complaints)


def read_required(listing: str) -> tuple[str, ...]:
    """The server scenarios out of what `list --requirements` prints."""
    section = re.search(r"^Server scenarios.*\n((?:  - .+\n?)*)", listing, re.MULTILINE)
    return tuple(re.findall(r"^  - (\S+)", section[1], re.MULTILINE)) if section else ()


def read_results(folder: Path) -> tuple[Scenario, ...]:
    """The scenarios that left results (`server-{name}-{time}/checks.json`), in the order of their names."""
    scenarios: list[Scenario] = []
    for path in sorted(folder.glob("server-*/checks.json")):
        name = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", path.parent.name.removeprefix("server-"))
        checks = CHECKS.validate_json(path.read_bytes())
        bad = tuple(f"{check.id}: {check.error or check.status}" for check in checks if check.status == "FAILURE")
        scenarios.append(Scenario(name, Counter(check.status for check in checks)["SUCCESS"], bad))
    return tuple(scenarios)


async def run_suite(url: str, revision: str, folder: Path) -> SuiteRun:
    """Run what the revision requires, and what the suite runs beside it, against a server. Results go to `folder`."""
    listing = await _suite("list", "--requirements", revision, home=folder)
    results = folder / revision
    run = await _suite("server", "--url", url, "--requirements", revision, "-o", str(results), home=folder)
    return SuiteRun(revision, read_required(listing[1]), read_results(results), run[0], run[1])


async def _suite(*arguments: str, home: Path) -> tuple[int, str]:
    environment = {**node_environment(), "HOME": str(home)}
    with anyio.fail_after(MAX_SECONDS):
        done = await anyio.run_process(
            node_command(str(SUITE), *arguments), check=False, stderr=STDOUT, cwd=home, env=environment
        )
    return done.returncode, done.stdout.decode(errors="replace")


def show(run: SuiteRun) -> str:
    """A run in a few lines: the count, what stands against it, and what ran beside it without being scored."""
    required = set(run.required)
    scored = [scenario for scenario in run.scenarios if scenario.name in required]
    beside = [scenario for scenario in run.scenarios if scenario.name not in required]
    good = sum(not scenario.failures and scenario.passed > 0 for scenario in scored)
    checks = sum(scenario.passed for scenario in scored)
    lines = [f"{run.revision}  required {good}/{len(required)} scenarios, {checks} checks passed"]
    lines += [f"  FAILED {complaint}" for complaint in run.complaints]
    failing = [scenario.name for scenario in beside if scenario.failures]
    lines.append(f"  not scored: {len(beside) - len(failing)}/{len(beside)} pass" + _names(failing))
    return "\n".join(lines)


def _names(failing: Sequence[str]) -> str:
    return f" (not: {', '.join(failing)})" if failing else ""
