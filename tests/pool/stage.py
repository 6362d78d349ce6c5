"""What the pool's tests need: specs of the test servers, the four kinds of connection, and a look at processes."""

import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import anyio
import psutil
import uvicorn
from pydantic import JsonValue

from pool.pool import Pool
from pool.spec import GroupSpec, StdioSpec
from pool.wire.connect import FindAuth, no_auth
from stoa.principal import LOCAL
from stoa.resilience.backoff import Backoff
from stoa.tools import ToolCall, ToolRef, ToolResult

__all__ = ["QUICK", "call", "children", "gone", "load", "open_pool", "plain", "quick", "raw", "served", "until"]

SERVERS = Path(__file__).with_name("servers")
QUICK = Backoff(first_seconds=0.02, most_seconds=0.1, floor_seconds=0.01)


def raw(*habits: str, env: Mapping[str, str] | None = None, secrets: tuple[str, ...] = ()) -> StdioSpec:
    """The hand-written server with bad habits; `-S -E` because it needs nothing and should start at once."""
    return StdioSpec(sys.executable, ("-S", "-E", str(SERVERS / "raw.py"), *habits), env=env or {}, secrets=secrets)


def plain() -> StdioSpec:
    """The well-behaved server on the plain SDK."""
    return StdioSpec(sys.executable, (str(SERVERS / "plain.py"),))


def quick(name: str, *members: object, **options: object) -> GroupSpec:
    """A group that does not keep a test waiting when something ends badly."""
    spec = GroupSpec(name, members=(), start_timeout_seconds=20, stop_grace_seconds=0.3, trusted=True)
    return replace(spec, members=members, **options)  # type: ignore[arg-type] - checked by the dataclass's users


@asynccontextmanager
async def open_pool(
    *groups: GroupSpec, key: bytes | None = None, within_seconds: float = 60, auth: FindAuth = no_auth
) -> AsyncGenerator[Pool]:
    with anyio.fail_after(within_seconds):
        async with Pool(groups, internal_key=key, backoff=QUICK, auth=auth) as pool:
            yield pool


async def call(
    pool: Pool, ref: str, arguments: Mapping[str, JsonValue] | None = None, *, timeout_seconds: float | None = None
) -> ToolResult:
    server, _, tool = ref.partition(".")
    served = await pool.call(
        ToolCall(ToolRef(server, tool), arguments or {}), principal=LOCAL, timeout_seconds=timeout_seconds
    )
    return served.result


def load(name: str) -> ModuleType:
    """A test server as a module, for serving it in this process."""
    spec = spec_from_file_location(f"stoa_test_server_{name}", SERVERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def served(app: object, *, port: int = 0) -> AsyncGenerator[str]:
    """An ASGI application on a port of its own; gives `127.0.0.1:PORT`."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical", timeout_graceful_shutdown=1)  # type: ignore[arg-type] - any ASGI application
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[method-assign] - the tests' own
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server._serve)  # pyright: ignore[reportPrivateUsage] - serve() would take the signals
        with anyio.fail_after(10):
            while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
                await anyio.sleep(0.01)
        bound = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"127.0.0.1:{bound}"
        finally:
            server.should_exit = True


def children() -> set[int]:
    """Pids of all processes below this one that still run."""
    found: set[int] = set()
    for process in psutil.Process(os.getpid()).children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except psutil.NoSuchProcess:
            pass
    return found


async def gone(pid: int, *, within_seconds: float = 5) -> bool:
    """Whether the process ends in time; one that nobody has reaped yet has ended."""
    with anyio.move_on_after(within_seconds):
        while True:
            try:
                if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                    return True
            except psutil.NoSuchProcess:
                return True
            await anyio.sleep(0.01)
    return False


async def until(is_so: Callable[[], bool], *, within_seconds: float = 10) -> None:
    """Wait for what offers no event. (anyio's `wait_all_tasks_blocked` starves beside a uvicorn that ticks.)"""
    with anyio.fail_after(within_seconds):
        while not is_so():  # noqa: ASYNC110 - that is the point
            await anyio.sleep(0.005)
