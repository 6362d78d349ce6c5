"""`python -m tests.conformance [PART …]`: the official suite on both revisions, and the Inspector.

Exits with 1 unless all pass. Parts are `server`, `gateway` (the suite through it), `inspector` and `client`; without a
name all of them run.
"""

import logging
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from tests.conformance import client, inspector, suite
from tests.conformance.client_scenarios import stage
from tests.conformance.gateway import WAYS, gateway
from tests.conformance.process import DidNotStart, free_port, server_environment, serving

REVISIONS: Final = ("2025-11-25", "2026-07-28")


@asynccontextmanager
async def everything(folder: Path, *words: str) -> AsyncGenerator[int]:
    """The server of all scenarios over HTTP and WebSocket; its port."""
    port = free_port()
    command = (sys.executable, "-m", "tests.conformance.everything", str(port), *words)
    async with serving(command, port=port, environment=server_environment(folder), log=folder / "everything.log"):
        yield port


async def check_server(folder: Path) -> bool:
    async with everything(folder) as port:
        return all([_told(await suite.run_server("server", _url(port), each, folder)) for each in REVISIONS])


async def check_gateway(folder: Path) -> bool:
    good = True
    async with everything(folder) as upstream, everything(folder, "handshake") as old:
        for way in WAYS:
            async with gateway(way, folder / way.name, upstream=old if way.is_handshake else upstream) as url:
                # What 2026-07-28 requires of a server beyond the older one, a server of before does not have.
                for revision in REVISIONS[:1] if way.is_handshake else REVISIONS:
                    run = await suite.run_server(f"gateway over {way.name}", url, revision, folder / way.name)
                    good = _told(run) and good
    return good


async def check_client(folder: Path) -> bool:
    command = (sys.executable, client.__file__)
    logging.getLogger("pool").addHandler(logging.NullHandler())  # what the suite does wrong on purpose is no news here
    async with stage(folder):
        return all([_told(await suite.run_client("client", command, each, folder)) for each in REVISIONS])


async def check_inspector(folder: Path) -> bool:
    good = True
    for inspect in (inspector.inspect_content, inspector.inspect_gateway):
        steps = await inspect(folder)
        say(inspector.show(steps))
        good = good and bool(steps) and not any(step.complaint for step in steps)
    return good


Check = Callable[[Path], Awaitable[bool]]
PARTS: Final[Mapping[str, Check]] = {
    "server": check_server,
    "gateway": check_gateway,
    "inspector": check_inspector,
    "client": check_client,
}
AT_ONCE: Final = (("server", "gateway"), ("inspector",)), (("client",),)
"""What runs beside what. The clients keep all cores busy by themselves."""


async def check(names: Sequence[str], folder: Path) -> bool:
    """Run parts and say how they went; what one finds wrong does not keep the next from running."""
    good: dict[str, bool] = {}

    async def run(lane: Sequence[str]) -> None:
        for name in lane:
            if name in names:
                good[name] = await _run(name, folder)

    for lanes in AT_ONCE:
        async with anyio.create_task_group() as tasks:
            for lane in lanes:
                tasks.start_soon(run, lane)
    return all(good.get(name, False) for name in names)


async def _run(name: str, folder: Path) -> bool:
    begun = time.monotonic()
    await anyio.Path(folder / name).mkdir()
    try:
        return await PARTS[name](folder / name)
    except DidNotStart as error:
        say(f"FAILED {error}")
        return False
    finally:
        say(f"  {name}: {time.monotonic() - begun:.0f} s")


def _told(run: suite.SuiteRun) -> bool:
    say(suite.show(run) if run.scenarios else f"{suite.show(run)}\n{run.log}")
    return not run.complaints


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/mcp"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(names: Sequence[str]) -> int:
    if unknown := [name for name in names if name not in PARTS]:
        say(f"There is no part {unknown[0]!r}; there are: {', '.join(PARTS)}.")
        return 2
    if not suite.SUITE.exists():
        say("The conformance suite is not installed. Run: make conformance")
        return 2
    with tempfile.TemporaryDirectory(prefix="stoa-conformance-") as folder:
        return 0 if anyio.run(check, list(names) or list(PARTS), Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
