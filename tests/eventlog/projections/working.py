"""A process that works on one projection of the log in a file, until a position is in; run by the tests of processes.

Its lease lasts so short a time that it is taken over again and again while it still works: what is written twice, or
lost, is seen in the documents.
"""

import sys
from pathlib import Path

import anyio

from eventlog.open import open_sqlite, serve_log
from eventlog.projections.decide import Policy
from eventlog.projections.projector import Projector
from tests.eventlog.projections.counting import SEEN

__all__ = ["main"]


async def main(path: str, until: str, lease_seconds: str, batch: str) -> None:
    policy = Policy(batch=int(batch), lease_seconds=float(lease_seconds), poll_seconds=0.01)
    async with open_sqlite(Path(path), busy_seconds=30) as store, serve_log(store) as log:
        projector = Projector(log, [SEEN], policy=policy)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(projector.run)
            print("working", flush=True)  # noqa: T201 - the test waits for it
            await projector.wait_for("seen", int(until), seconds=100)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    _, path, until, lease_seconds, batch = sys.argv
    anyio.run(main, path, until, lease_seconds, batch)
