"""The official conformance suite: what a revision requires, how one side did, and whether that is good enough.

Good enough means more than the suite's own exit code: every required scenario has to have run and to have checked
something, and a client has to have ended as the scenario wants it to. The list of expected failures is empty and there
is no way to give one.
"""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import STDOUT
from typing import Literal

import anyio
from pydantic import BaseModel, Field, TypeAdapter

from tests.conformance.client import DONE, REFUSED
from tests.conformance.node import node_command, node_environment

__all__ = ["Scenario", "SuiteRun", "judge", "read_required", "read_results", "run_client", "run_server", "show"]

ROOT = Path(__file__).parents[2]
SUITE = Path(__file__).parent / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
MAX_SECONDS = 300
CLIENT_SECONDS = 240
"""What one client may take; all are started at once, and most of them wait."""

Side = Literal["server", "client"]

REFUSALS = frozenset(
    {
        "auth/resource-mismatch",
        "auth/scope-retry-limit",
        "auth/iss-supported-missing",
        "auth/iss-wrong-issuer",
        "auth/iss-unexpected",
        "auth/iss-normalized",
        "auth/metadata-issuer-mismatch",
    }
)
"""Scenarios in which the authorization server must not be believed, or the server never lets anyone in."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """How one scenario went: checks passed, and a line for each check that did not."""

    name: str
    passed: int
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """One run of the suite. `log` is what the suite printed: it tells what went wrong before the first scenario."""

    what: str
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
        return ("The suite names no required scenario.",)
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


def read_required(listing: str, side: Side) -> tuple[str, ...]:
    """The scenarios of one side out of what `list --requirements` prints."""
    section = re.search(rf"^{side.title()} scenarios.*\n((?:  - .+\n?)*)", listing, re.MULTILINE)
    return tuple(re.findall(r"^  - (\S+)", section[1], re.MULTILINE)) if section else ()


def read_results(folder: Path, side: Side) -> tuple[Scenario, ...]:
    """The scenarios that left results (`{name}-{time}/checks.json`), in the order of their names.

    Those for a server begin with `server-`; those for a client may lie in folders (`auth/…`), and say how it ended.
    """
    scenarios: list[Scenario] = []
    for path in sorted(folder.rglob("checks.json")):
        name = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", path.parent.relative_to(folder).as_posix())
        name = name.removeprefix("server-") if side == "server" else name
        checks = CHECKS.validate_json(path.read_bytes())
        bad = [f"{check.id}: {check.error or check.status}" for check in checks if check.status == "FAILURE"]
        if side == "client" and (ending := _wrong_ending(name, path.parent)) is not None:
            bad.append(ending)
        scenarios.append(Scenario(name, Counter(check.status for check in checks)["SUCCESS"], tuple(bad)))
    return tuple(scenarios)


def _wrong_ending(name: str, folder: Path) -> str | None:
    """What a client said at its end, where something else was to be expected. The suite does not look at it."""
    lines = (folder / "stdout.txt").read_text("utf-8").strip().splitlines()
    ending = lines[-1] if lines else ""
    if ending.startswith(REFUSED if name in REFUSALS else DONE):
        return None
    return "\n".join(["the client ended with:", *lines[-40:]])


async def run_server(what: str, url: str, revision: str, folder: Path) -> SuiteRun:
    """Run what the revision requires, and what the suite runs beside it, against a server. Results go to `folder`."""
    return await _run(what, "server", ("--url", url), revision, folder)


async def run_client(what: str, command: Sequence[str], revision: str, folder: Path) -> SuiteRun:
    """The same with a client, which gets the address as its last argument. The suite starts all scenarios at once."""
    patience = ("--timeout", str(CLIENT_SECONDS * 1000))
    return await _run(what, "client", ("--command", shlex.join(command), *patience), revision, folder)


async def _run(what: str, side: Side, target: Sequence[str], revision: str, folder: Path) -> SuiteRun:
    await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
    listing = await _suite("list", "--requirements", revision, home=folder)
    results = folder / f"{side}-{revision}"
    run = await _suite(side, *target, "--requirements", revision, "-o", str(results), home=folder)
    required = read_required(listing[1], side)
    return SuiteRun(what, revision, required, read_results(results, side), run[0], run[1])


async def _suite(*arguments: str, home: Path) -> tuple[int, str]:
    environment = {**node_environment(), "HOME": str(home), "STOA_HOME": str(home), "PYTHONPATH": str(ROOT)}
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
    lines = [f"{run.what:25} {run.revision}  required {good}/{len(required)} scenarios, {checks} checks passed"]
    lines += [f"  FAILED {complaint}" for complaint in run.complaints]
    failing = [scenario.name for scenario in beside if scenario.failures]
    lines.append(f"  not scored: {len(beside) - len(failing)}/{len(beside)} pass" + _names(failing))
    return "\n".join(lines)


def _names(failing: Sequence[str]) -> str:
    return f" (not: {', '.join(failing)})" if failing else ""
