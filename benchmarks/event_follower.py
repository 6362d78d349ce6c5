"""A process that follows a log and says, for each event, when it had it: `position nanoseconds` a line.

`python -m benchmarks.event_follower`, with STOA_HOME or STOA_DATABASE_URL as everywhere. The clock is the monotonic
one, which all processes of a machine share on Linux.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from eventlog.open import open_log
from stoa.settings import Settings


async def follow() -> None:
    settings = Settings.load(os.environ, default_home=Path(os.environ["STOA_HOME"]))
    async with open_log(settings) as log:
        head = await log.head()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        async for events in log.follow(head.position):
            now = time.monotonic_ns()
            sys.stdout.write("".join(f"{event.position} {now}\n" for event in events))
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(follow())
