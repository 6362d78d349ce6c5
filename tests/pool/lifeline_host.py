"""A host to be killed: starts one child that is watched over a pipe, tells the pids of all below it, and stays.

Run: `python lifeline_host.py HABIT…`.
"""

import json
import os
import sys
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pool.wire.child import start_child
from tests.pool.stage import children, raw


async def main(habits: list[str]) -> None:
    child = await start_child(raw(*habits), server="one", environ=os.environ, watch="pipe")
    expected = 2 + ("grandchild" in habits)  # the launcher, the server, and what that starts
    while len(children()) < expected:  # noqa: ASYNC110 - the kernel tells nobody of grandchildren
        await anyio.sleep(0.01)
    sys.stdout.write(json.dumps(sorted(children())) + "\n")
    sys.stdout.flush()
    await child.wait()


anyio.run(main, sys.argv[1:])
