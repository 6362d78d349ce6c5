"""A host to be killed: opens a pool over the hand-written server, starts its replicas, tells their pids, and stays.

Run: `python host.py END HABIT…`, where END is how its block is left: `stay`, `raise` or `leave`.
"""

import json
import sys
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pool.pool import Pool
from tests.pool.stage import call, children, quick, raw


async def main(end: str, habits: list[str]) -> None:
    async with Pool([quick("one", raw(*habits), replicas=2)], internal_key=None) as pool:
        await pool.status()
        await call(pool, "one.echo")
        sys.stdout.write(json.dumps(sorted(children())) + "\n")
        sys.stdout.flush()
        if end == "stay":
            await anyio.sleep_forever()
        if end == "raise":
            raise ZeroDivisionError


anyio.run(main, sys.argv[1], sys.argv[2:])
