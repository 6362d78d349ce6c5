"""The MCP Inspector's command line on the content server, and on the gateway before it: stdio and HTTP, both eras.

Each step is one run of the Inspector with an exit code to expect and something to find in its answer. The steps of one
way in share a private home, so that a search finds what was ingested before.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import PIPE

import anyio
from pydantic import JsonValue

from tests.conformance.node import node_command, node_environment
from tests.conformance.process import free_port, script, server_environment, serving

__all__ = ["Step", "StepRun", "inspect_content", "inspect_gateway", "judge", "show", "through_gateway"]

INSPECTOR = Path(__file__).parent / "node_modules" / "@modelcontextprotocol" / "inspector"
LAUNCHER = INSPECTOR / "clients" / "launcher" / "build" / "index.js"
MAX_SECONDS = 60

TEXT = "# Colonnades\n\nThe painted stoa in Athens gave its name to a school of philosophers."


@dataclass(frozen=True, slots=True)
class Step:
    """What to ask (`arguments`), and what shows that it went well: the exit code and words in the answer."""

    name: str
    arguments: tuple[str, ...]
    finds: tuple[str, ...]
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class StepRun:
    way: str
    step: Step
    exit_code: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str | None:
        return judge(self.step, self.exit_code, self.stdout, self.stderr)


def judge(step: Step, exit_code: int, stdout: str, stderr: str) -> str | None:
    """What stands against a step's outcome, or none."""
    if exit_code != step.exit_code:
        said = (stderr.strip() or stdout.strip())[-600:]
        return f"exit code {exit_code} instead of {step.exit_code}: {said or 'nothing was printed'}"
    missing = [word for word in step.finds if word not in stdout]
    return f"{missing[0]!r} is not in the answer: {stdout.strip()[:600]}" if missing else None


def call(tool: str, arguments: Mapping[str, JsonValue]) -> tuple[str, ...]:
    return "--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)


MODERN = ("--protocol-era", "modern")
LOAD = ("--load", "--load-concurrency", "8", "--load-duration", "2")
NO_ERRORS = ('"toolErrors":0', '"errors":0')

STEPS = (
    Step("tools/list --strict", ("--method", "tools/list", "--strict"), ("ingest_document", "search_documents")),
    Step(
        "tools/list --strict, 2026-07-28",
        (*MODERN, "--method", "tools/list", "--strict"),
        ("ingest_document", "search_documents"),
    ),
    Step("resources/templates/list", ("--method", "resources/templates/list"), ("content://document/{id}",)),
    Step("ingest_document", call("ingest_document", {"text": TEXT, "name": "colonnades.md"}), ('"created":true',)),
    Step("search_documents", call("search_documents", {"query": "painted stoa"}), ("painted stoa in Athens",)),
    Step(
        "search_documents, 2026-07-28",
        (*MODERN, *call("search_documents", {"query": "painted stoa"})),
        ("painted stoa in Athens",),
    ),
    Step(
        "a wrong argument is told", call("search_documents", {"query": "stoa", "limit": 0}), ("bad_input",), exit_code=5
    ),
)


def through_gateway(step: Step) -> Step:
    """The same step where tools have the server's name before their own."""
    arguments = [f"content_{word}" if word.endswith(("_document", "_documents")) else word for word in step.arguments]
    return replace(step, arguments=tuple(arguments))


LOADS = tuple(
    Step(f"8 at once{told}", (*era, *call("content_search_documents", {"query": "painted stoa"}), *LOAD), NO_ERRORS)
    for era, told in (((), ""), (MODERN, ", 2026-07-28"))
)


async def inspect_content(folder: Path) -> tuple[StepRun, ...]:
    """The content server: all steps over stdio, then all over HTTP."""
    command = (script("stoa"), "serve", "content")
    return await _inspect("content", (command, STEPS), (command, STEPS), folder)


async def inspect_gateway(folder: Path) -> tuple[StepRun, ...]:
    """The gateway with the content server behind it: the same steps, and over HTTP the Inspector's load test."""
    config = anyio.Path(folder / "mcp.json")
    entry = {"command": script("stoa"), "args": ["serve", "content"]}
    await config.write_text(json.dumps({"mcpServers": {"content": entry}}), encoding="utf-8")
    steps = tuple(through_gateway(step) for step in STEPS)
    # The Inspector takes --config for its own; what it starts finds the file where it is started.
    command = (script("stoa"), "gateway")
    return await _inspect("gateway", (command, steps), ((*command, "--config", str(config)), (*steps, *LOADS)), folder)


Way = tuple[tuple[str, ...], Sequence[Step]]


async def _inspect(what: str, stdio: Way, http: Way, folder: Path) -> tuple[StepRun, ...]:
    """Commands and their steps over stdio and then over HTTP, with one home each."""
    runs = [await _run(what, "stdio", stdio[0], step, folder) for step in stdio[1]]
    port = free_port()
    serve = (*http[0], "--transport", "http", "--port", str(port))
    environment = server_environment(folder / f"{what}-http")
    async with serving(serve, port=port, environment=environment, log=folder / f"{what}.log"):
        runs += [await _run(what, "http", (f"http://127.0.0.1:{port}/mcp",), step, folder) for step in http[1]]
    return tuple(runs)


async def _run(what: str, way: str, target: Sequence[str], step: Step, folder: Path) -> StepRun:
    home = folder / "inspector"
    await anyio.Path(home).mkdir(exist_ok=True)
    private = ("-e", f"STOA_HOME={folder / f'{what}-{way}'}") if way == "stdio" else ()
    arguments = ("--cli", "--format", "json", *private, *target, *step.arguments)
    with anyio.fail_after(MAX_SECONDS):
        done = await anyio.run_process(
            node_command(str(LAUNCHER), *arguments),
            check=False,
            stdout=PIPE,
            stderr=PIPE,
            cwd=folder,
            env={**node_environment(), "HOME": str(home)},
        )
    stdout, stderr = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
    return StepRun(f"{what} over {way}", step, done.returncode, stdout, stderr)


def show(runs: Sequence[StepRun]) -> str:
    """A line for each way in, and one for each step that failed."""
    lines: list[str] = []
    for way in dict.fromkeys(run.way for run in runs):
        steps = [run for run in runs if run.way == way]
        bad = [run for run in steps if run.complaint]
        lines.append(f"Inspector on {way:18} {len(steps) - len(bad)}/{len(steps)} steps")
        lines += [f"  FAILED {run.step.name}: {run.complaint}" for run in bad]
    return "\n".join(lines)
