"""`python -m tests.conformance`: the official suite on both revisions, then the Inspector. Exits 1 unless all pass."""

import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from tests.conformance import inspector, suite
from tests.conformance.process import DidNotStart, free_port, server_environment, serving

REVISIONS = ("2025-11-25", "2026-07-28")


async def check(folder: Path) -> bool:
    """Run everything and say how it went; what one part finds wrong does not keep the next from running."""
    parts = [check_suite, check_inspector]
    return all([await _told(part, folder) for part in parts])


async def check_suite(folder: Path) -> bool:
    port = free_port()
    command = (sys.executable, "-m", "tests.conformance.everything", str(port))
    environment = server_environment(folder / "everything")
    good = True
    async with serving(command, port=port, environment=environment, log=folder / "everything.log"):
        for revision in REVISIONS:
            run = await suite.run_suite(f"http://127.0.0.1:{port}/mcp", revision, folder)
            say(suite.show(run) if run.scenarios else f"{suite.show(run)}\n{run.log}")
            good = good and not run.complaints
    return good


async def check_inspector(folder: Path) -> bool:
    steps = await inspector.inspect_content(folder)
    say(inspector.show(steps))
    return bool(steps) and not any(step.complaint for step in steps)


async def _told(part: Callable[[Path], Awaitable[bool]], folder: Path) -> bool:
    try:
        return await part(folder)
    except DidNotStart as error:
        say(f"FAILED {error}")
        return False


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    if not suite.SUITE.exists():
        say("The conformance suite is not installed. Run: make conformance")
        return 2
    with tempfile.TemporaryDirectory(prefix="stoa-conformance-") as folder:
        return 0 if anyio.run(check, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
