"""What runs in processes of its own in the proofs: `python -m tests.eventlog.proofs.worker <part> <arguments>`.

The log is where the environment says. What is known for certain goes to standard output as records of 24 bytes, an
event's id and its position, each as soon as it is known: so nothing that was acknowledged is lost with the process.
"""

import os
import random
import struct
import sys
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import anyio

from eventlog.event import ANY, Append, Appended, NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.open import open_log
from stoa.errors import Conflict, NotFound, OutcomeUnknown, Unavailable
from stoa.settings import Settings

RECORD = struct.Struct(">16sq")
LAST = "log.ended"
SHARED = 5
"""Streams that everybody writes to."""
ATTEMPTS = 20


def tell(event_id: str, position: int) -> None:
    os.write(1, RECORD.pack(UUID(event_id).bytes, position))


def tell_all(appended: Appended) -> None:
    first = appended.position - len(appended.event_ids) + 1
    for number, event_id in enumerate(appended.event_ids):
        tell(event_id, first + number)


def events(count: int) -> list[NewEvent]:
    return [NewEvent("order.placed", {"number": n, "text": "x" * 40}, event_id=str(uuid4())) for n in range(count)]


async def contend(log: EventLog, name: str, appends: int) -> None:
    """Eight tasks that write to streams of their own and to shared ones: with expected versions that are often wrong,
    with events that are there already (their batch is rolled back), with ids that belong to others."""
    rng = random.Random(name)
    earlier: list[Append] = []

    async def task(number: int) -> None:
        for turn in range(appends):
            shared = StreamId("acme", f"order-shared{rng.randrange(SHARED)}")
            own = StreamId(f"tenant{name}", f"order-{number}")
            match turn % 5:
                case 0:
                    append = Append(own, events(rng.randint(1, 5)), ANY)
                case 1 if earlier:
                    append = rng.choice(earlier)
                case 2 if earlier:
                    append = Append(own, [*events(1), *rng.choice(earlier).events[:1]], ANY)
                case 3:
                    append = Append(own, events(1), rng.randint(500, 600))
                case _:
                    append = Append(shared, events(rng.randint(1, 3)), await version(log, shared))
            try:
                (outcome,) = await log.append([append])
            except Conflict:
                continue
            if isinstance(outcome, Appended):
                tell_all(outcome)
                earlier.append(append)
            else:
                assert isinstance(outcome, Conflict), outcome

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(task, number)


async def version(log: EventLog, stream: StreamId) -> int:
    try:
        return (await log.stream_info(stream)).version
    except NotFound:
        return 0


async def flood(log: EventLog, callers: int) -> None:
    """Append without end. What fails is sent again with the same ids, as its error says."""

    async def caller(number: int) -> None:
        stream = StreamId("acme", f"order-{number}")
        while True:
            sent = events(10)
            for _ in range(ATTEMPTS):
                try:
                    tell_all(await log.append_to(stream, sent))
                    break
                except (Unavailable, OutcomeUnknown):
                    await anyio.sleep(0.2)
            else:
                sys.exit("the log stayed away")

    async with anyio.create_task_group() as tasks:
        for number in range(callers):
            tasks.start_soon(caller, number)


async def follow(log: EventLog) -> None:
    """Tell what comes, until the last one."""
    async for page in log.follow(0, batch=500):
        for event in page:
            tell(event.event_id, event.position)
            if event.type == LAST:
                return


async def main(part: str, *arguments: str) -> None:
    settings = Settings.load(os.environ, default_home=Path(os.environ["STOA_HOME"]))
    async with open_log(settings) as log:
        match part:
            case "contend":
                await contend(log, arguments[0], int(arguments[1]))
            case "flood":
                await flood(log, int(arguments[0]))
            case "follow":
                await follow(log)
            case _:
                raise SystemExit(f"no part {part}")


if __name__ == "__main__":
    anyio.run(partial(main, *sys.argv[1:]))
