"""The client that the official suite drives: `python -m tests.conformance.client URL`, the scenario in the environment.

The suite starts all its clients at once. So each waits for its turn first, and nothing heavy is imported before that.
The last line on stdout says how it ended.
"""

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["DONE", "REFUSED", "main", "turn"]

DONE: Final = "done"
REFUSED: Final = "refused: "
TURNS: Final = max(2, os.cpu_count() or 1)
"""How many clients work at the same time."""

TIMED: Final = frozenset({"sse-retry"})
"""Scenarios that measure how long the client takes; it has the machine for itself meanwhile."""


@contextmanager
def turn(folder: Path, *, is_alone: bool) -> Generator[None]:
    """Wait for one of the places that the lock files in `folder` stand for, or for all of them."""
    import fcntl  # only where the suite runs: there is none on Windows

    files = [(folder / f"turn-{number}.lock").open("wb") for number in range(TURNS)]
    try:
        if is_alone:
            for file in files:
                fcntl.flock(file, fcntl.LOCK_EX)
        else:
            while not any(_locked(file.fileno()) for file in files):
                time.sleep(0.05)
        yield
    finally:
        for file in files:
            file.close()


def _locked(file: int) -> bool:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main() -> int:
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    with turn(Path.cwd(), is_alone=scenario in TIMED):
        from tests.conformance.client_scenarios import run

        ending = run(scenario, sys.argv[-1], context=os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    sys.stdout.write(f"{DONE if ending is None else REFUSED + ending}\n")
    return 0 if ending is None else 1


if __name__ == "__main__":
    sys.exit(main())
