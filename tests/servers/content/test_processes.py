"""Several processes on one database, and processes that die in the middle of a write."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from eventlog.open import open_log
from eventlog.outbox import OutboxRelay
from servers.content.database import Database, ask
from servers.content.outbox import ContentOutbox
from servers.content.search import search
from servers.content.store import Store
from stoa.settings import Settings
from tests.servers.content.consistency import consistent
from tests.servers.content.drafts import draft

ROOT = Path(__file__).parents[3]
EACH = 12

WRITER = """
import sys
from pathlib import Path
import anyio
from servers.content.database import Database
from servers.content.store import Store
from tests.servers.content.drafts import draft

async def main() -> None:
    store = Store(Database(Path(sys.argv[1]), busy_seconds=30))
    me, each = sys.argv[2], int(sys.argv[3])
    for number in range(each):
        await store.put("shared", draft(f"# Own {me} {number}\\n\\nThe lever of {me} number {number}."))
        await store.put("shared", draft(f"# Common {number}\\n\\nThe same lever."))
        await store.put("shared", draft(f"# Named {number}\\n\\nLever {me}.", name=f"named {number}"))

anyio.run(main)
"""

READER = """
import sys
from pathlib import Path
import anyio
from servers.content.database import Database, ask
from servers.content.search import search
from servers.content.store import Store

async def main() -> None:
    store = Store(Database(Path(sys.argv[1]), busy_seconds=30))
    last = 0
    while last < int(sys.argv[2]):
        page = await store.database.read(lambda session: search(ask(session), "shared", "lever", limit=50))
        for hit in page.hits[:5]:
            _, markdown = await store.read("shared", hit.document_id)
            if hit.title != "Named" and markdown[hit.place.start : hit.place.end] != hit.passage:
                assert "Named" in markdown, (hit, markdown)  # replaced between the two reads
        assert page.total >= last, (page.total, last)
        last = page.total

anyio.run(main)
"""


async def start(program: str, *arguments: str) -> Process:
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    return await anyio.open_process(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.DEVNULL, cwd=ROOT, env=environment
    )


async def finish(process: Process) -> str:
    assert process.stderr is not None
    said = "".join([text async for text in TextReceiveStream(process.stderr)])
    assert await process.wait() == 0, said
    return said


@pytest.mark.slow
async def test_four_writers_and_four_readers_lose_and_double_nothing(path: Path) -> None:
    expected = 4 * EACH + EACH + EACH
    with anyio.fail_after(120):
        readers = [await start(READER, str(path), str(expected)) for _ in range(4)]
        writers = [await start(WRITER, str(path), str(number), str(EACH)) for number in range(4)]
        try:
            async with anyio.create_task_group() as group:
                for process in (*writers, *readers):
                    group.start_soon(finish, process)
        finally:
            for process in (*writers, *readers):
                if process.returncode is None:
                    process.kill()
                await process.aclose()
    store = Store(Database(path))
    assert await consistent(store.database) == expected
    named = [each for each in await store.list("shared", before=None, limit=500) if each.name is not None]
    assert [each.version for each in named] == [4] * EACH
    page = await store.database.read(lambda session: search(ask(session), "shared", "lever", limit=50))
    assert page.total == expected
    await store.database.close()


DYING = """
import os, signal, sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
import anyio
from sqlalchemy import event
from sqlmodel import Session
from servers.content.chunks import Chunk
from servers.content.database import Database
from servers.content.store import Store
from tests.servers.content.drafts import document, draft

def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

class Dying(list):
    def __iter__(self) -> Iterator[Chunk]:
        for number, chunk in enumerate(super().__iter__()):
            if number == 7:
                die()
            yield chunk

async def main() -> None:
    store = Store(Database(Path(sys.argv[1])))
    await store.put("here", draft("older words", name="guide"))
    for number in range(3):
        await store.put("here", draft(document(number), name=f"{number}"))
    last = draft(document(99), name="guide")
    match sys.argv[2]:
        case "among the passages":
            await store.put("here", replace(last, chunks=Dying(last.chunks)))
        case "before the commit":
            event.listen(Session, "before_commit", die)
            await store.put("here", last)
        case "at any moment":
            for number in range(10_000):
                put = await store.put("here", draft(document(number + 3), name=f"{number + 3}"))
                print(put.document.id, flush=True)

anyio.run(main)
"""


@pytest.mark.parametrize("moment", ["among the passages", "before the commit"])
async def test_a_process_killed_in_the_middle_of_an_ingest_leaves_what_was_finished(path: Path, moment: str) -> None:
    with anyio.fail_after(60):
        process = await start(DYING, str(path), moment)
        assert await process.wait() == -signal.SIGKILL
        await process.aclose()
    store = Store(Database(path))
    assert await consistent(store.database) == 4
    documents = {each.name: each for each in await store.list("here", before=None, limit=10)}
    assert documents.keys() == {"guide", "0", "1", "2"}
    assert await store.read("here", documents["guide"].id) == (documents["guide"], "older words")
    again = await store.put("here", draft("newer words", name="guide"))
    assert again.document.version == 2
    await store.database.close()


@pytest.mark.parametrize("finished", [1, 4, 9])
async def test_a_process_killed_at_any_moment_keeps_every_document_that_it_had_confirmed(
    path: Path, finished: int
) -> None:
    confirmed: list[str] = []
    with anyio.fail_after(60):
        process = await start(DYING, str(path), "at any moment")
        assert process.stdout is not None
        rest = ""
        async for text in TextReceiveStream(process.stdout):
            *lines, rest = (rest + text).split("\n")
            confirmed += lines
            if len(confirmed) >= finished and process.returncode is None:
                process.kill()
        assert await process.wait() == -signal.SIGKILL
        await process.aclose()
    store = Store(Database(path))
    count = await consistent(store.database)
    assert count - 4 in {len(confirmed), len(confirmed) + 1}  # the last one may have been finished and not yet told
    stored = {each.id for each in await store.list("here", before=None, limit=10_000)}
    assert stored >= set(confirmed)
    await store.database.close()


TELLING = """
import os, signal, sys
from pathlib import Path
import anyio
from eventlog.open import open_log
from eventlog.outbox import OutboxRelay
from servers.content.database import Database
from servers.content.outbox import ContentOutbox
from servers.content.store import Store
from stoa.settings import Settings
from tests.servers.content.drafts import document, draft

def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

async def main() -> None:
    path = Path(sys.argv[1])
    store = Store(Database(path))
    for number in range(5):
        await store.put("here", draft(document(number), name=f"{number % 2}"))
    if sys.argv[2] == "committed":
        die()
    async with open_log(Settings(home=path.parent)) as log:
        relay = OutboxRelay(ContentOutbox(store.database), log, at=lambda name: name == sys.argv[2] and die())
        await relay.once()

anyio.run(main)
"""


@pytest.mark.parametrize("moment", ["committed", "appended"])
async def test_a_process_killed_before_or_after_it_told_the_log_leaves_each_event_once(path: Path, moment: str) -> None:
    with anyio.fail_after(60):
        process = await start(TELLING, str(path), moment)
        assert await process.wait() == -signal.SIGKILL
        await process.aclose()
    database = Database(path)
    async with open_log(Settings.model_validate({"home": path.parent})) as log:
        before = (await log.head()).position
        assert (before == 0) is (moment == "committed")
        assert await OutboxRelay(ContentOutbox(database), log).once() == 5
        versions = [(event.data["name"], event.data["version"]) for event in await log.read_all()]
        assert versions == [("0", 1), ("1", 1), ("0", 2), ("1", 2), ("0", 3)]
        assert await ContentOutbox(database).waiting(10) == []
    await database.close()
