"""Servers under test: a process of their own on a free loopback port, ended by whoever started it."""

import os
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio
from anyio.abc import Process

__all__ = ["DidNotStart", "free_port", "script", "server_environment", "serving"]

MAX_START_SECONDS = 60
MAX_STOP_SECONDS = 10


class DidNotStart(Exception):
    """The server ended, or its port stayed silent; the message holds what the server printed."""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def script(name: str) -> str:
    """A console script of this very environment."""
    return str(Path(sys.executable).parent / name)


def server_environment(home: Path) -> dict[str, str]:
    """This environment without anything that speaks to Stoa, and with a private home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STOA_", "FASTMCP_"))}
    return {**kept, "STOA_HOME": str(home)}


@asynccontextmanager
async def serving(
    command: Sequence[str], *, port: int, environment: Mapping[str, str], log: Path
) -> AsyncGenerator[Process]:
    """Run a server while the block runs; entered when its port answers. What it prints goes to `log`."""
    with log.open("wb") as output:
        process = await anyio.open_process(command, stdin=DEVNULL, stdout=output, stderr=output, env=environment)
        try:
            with anyio.move_on_after(MAX_START_SECONDS) as starting:
                while process.returncode is None and not await _answers(port):  # noqa: ASYNC110 - another process sets no event
                    await anyio.sleep(0.05)
            if starting.cancelled_caught or process.returncode is not None:
                said = await anyio.Path(log).read_text("utf-8", errors="replace")
                state = "did not answer" if process.returncode is None else f"ended with code {process.returncode}"
                raise DidNotStart(f"{' '.join(command)} {state}:\n{said[-2000:]}")
            yield process
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)


async def _answers(port: int) -> bool:
    try:
        stream = await anyio.connect_tcp("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(MAX_STOP_SECONDS):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
