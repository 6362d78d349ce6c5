"""Composition: settings and configuration in, a pool or running servers out. The one room that knows all the others."""

import gc
import importlib.metadata
import json
import secrets
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio
import platformdirs
from pydantic import SecretStr

from host.launch import Launch, launches
from pool.nearby import did_you_mean
from pool.spec import GroupSpec, InProcessSpec
from stoa.errors import BadInput, Denied, Fault, NotFound, Unavailable
from stoa.home import open_home
from stoa.principal import Principal
from stoa.settings import Settings
from stoa.tools import ToolCaller, ToolCallers

if TYPE_CHECKING:  # the kit and the pool bring the protocol's libraries: a second that many commands do not need
    from kit.author import Server
    from pool.pool import Pool
    from pool.wire.connect import FindAuth
    from stoa.embedder import Embedder

__all__ = [
    "ALL_TOGETHER_PORT",
    "DEFAULT_PORTS",
    "Workspace",
    "default_home",
    "installed_servers",
    "load_settings",
    "open_workspace",
    "serve_all",
    "serve_gateway",
    "serve_one",
    "start_command",
    "with_roots",
    "write_built_in",
]

ENTRY_POINTS = "stoa.servers"

DEFAULT_PORTS: Mapping[str, int] = {
    "helpscout": 8001,
    "notion": 8002,
    "slack": 8003,
    "content": 8082,
    "events": 3003,
    "knowledge": 3002,
}
ALL_TOGETHER_PORT = 8080
"""Also for a server that has no port of its own in the list."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Everything that a command of the host works with. `source` says in words where the groups come from, and
    `config_file` is the file, if it is one."""

    settings: Settings
    groups: tuple[GroupSpec, ...]
    source: str
    environ: Mapping[str, str]
    config_file: Path | None = None

    @property
    def trusted(self) -> frozenset[str]:
        return frozenset(group.name for group in self.groups if group.trusted)

    def pool(self) -> "AbstractAsyncContextManager[Pool]":
        """The pool, open for as long as the block lasts."""
        from gateway.way_back import open_pool

        key = self.settings.internal_key
        return open_pool(
            self.groups,
            home=self.settings.home,
            internal_key=key.get_secret_value().encode() if key else None,
            auth=self.auth,
        )

    @property
    def auth(self) -> "FindAuth":
        """How the pool finds the tokens of those servers that have been logged in to."""
        from pool.login.auth import Logins
        from pool.login.tokens import FOLDER

        return Logins(self.settings.home / FOLDER).auth

    def group(self, name: str) -> GroupSpec:
        """The group of that name. Raises `NotFound` with what is near."""
        found = next((group for group in self.groups if group.name == name), None)
        if found is None:
            near = did_you_mean(name, (group.name for group in self.groups))
            raise NotFound(f"There is no server {name!r} in {self.source}.", hint=near)
        return found

    def capacity(self, name: str) -> int:
        """Calls that the group takes at once."""
        group = self.group(name)
        return group.replicas * len(group.members) * group.max_in_flight

    def ours(self) -> tuple[Launch, ...]:
        """The servers of ours among the groups. Raises `BadInput` when there is none."""
        found = launches(self.groups, folder=Path.cwd())
        if not found:
            hint = 'Add one like {"command": "stoa", "args": ["serve", "content"]}, or use --config.'
            raise BadInput(f"None of the servers in {self.source} is started by `stoa serve`.", hint=hint)
        return found


def open_workspace(config: Path | None, environ: Mapping[str, str], *, folder: Path) -> Workspace:
    """Settings and groups: from `config`, else ./mcp.json, else STOA_HOME/mcp.json, else every installed server.

    Raises `BadInput` naming the file or variable, the key and the remedy.
    """
    from pool.config.mcp_json import parse_config, read_config  # a tenth of a second that `stoa serve` has no use for

    settings = load_settings(environ)
    for path in (config,) if config is not None else (folder / "mcp.json", settings.home / "mcp.json"):
        if config is not None or path.is_file():
            return Workspace(settings, read_config(path, environ), str(path), environ, path)
    source = "the built-in configuration (every installed server)"
    return Workspace(settings, parse_config(_built_in(environ), source=source, environ=environ), source, environ)


def load_settings(environ: Mapping[str, str]) -> Settings:
    return Settings.load(environ, default_home=default_home(environ))


def default_home(environ: Mapping[str, str]) -> Path:
    """The folder for everything we write, also when the other settings cannot be read."""
    return Path(environ.get("STOA_HOME") or platformdirs.user_data_path("stoa"))


def with_roots(settings: Settings, roots: Sequence[Path], *, force: bool) -> Settings:
    """The settings with these folders to read instead of STOA_ROOTS. The server itself refuses what goes too far."""
    chosen = tuple(root.absolute() for root in roots) or settings.roots
    return settings.model_copy(update={"roots": chosen, "force_roots": force or settings.force_roots})


def installed_servers() -> tuple[str, ...]:
    """Names of the servers that are installed here, ours and third parties'."""
    return tuple(sorted({each.name for each in importlib.metadata.entry_points(group=ENTRY_POINTS)}))


def start_command() -> tuple[str, ...]:
    """How `stoa` is started from anywhere: its script beside this Python, else the module."""
    # Not resolved: a virtual environment's Python is a link, and the script lies beside the link.
    script = Path(sys.executable).parent / ("stoa.exe" if sys.platform == "win32" else "stoa")
    return (str(script),) if script.is_file() else (sys.executable, "-m", "host")


def serve_one(
    name: str, settings: Settings, *, transport: str, host: str, port: int | None, say: Callable[[str], None]
) -> None:
    """Serve one server until it is told to stop. `say` is told where, as soon as HTTP requests are answered."""
    _load_without_collecting()
    from kit.serve import run, serve_http, serve_stdio
    from kit.upstream import open_upstream

    factory = _factory(name)

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            callers = await stack.enter_async_context(open_upstream(settings))
            server = _made(factory, settings, callers)
            if transport == "stdio":
                await serve_stdio(server)
            else:
                at = DEFAULT_PORTS.get(name, ALL_TOGETHER_PORT) if port is None else port
                await serve_http({name: server}, settings=settings, host=host, port=at, at_root=True, say=say)

    run(serve, settings=settings)


def serve_all(work: Workspace, settings: Settings, *, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve all groups over HTTP and WebSocket: together behind the gateway, and those of ours each for itself.

    Ours run in this process and call each other through the pool; the others are reached by it.
    """
    _load_without_collecting()
    from gateway.options import Options
    from gateway.server import create
    from gateway.way_back import Inside, open_pool
    from kit.serve import run, serve_http

    # The pool tells the servers who calls, so both have to know one key.
    key = settings.internal_key or SecretStr(secrets.token_urlsafe(32))
    settings = settings.model_copy(update={"internal_key": key})
    callers = _Later()
    servers: dict[str, Server] = {}
    for launch in launches(work.groups, folder=Path.cwd()):
        own = with_roots(settings, launch.roots, force=launch.forces_roots)
        servers[launch.name] = _made(_factory(launch.server), own, callers)
    here = {name: GroupSpec(name, (InProcessSpec(server.lowlevel),), trusted=True) for name, server in servers.items()}

    async def serve() -> None:
        groups = [here.get(group.name, group) for group in work.groups]
        secret = key.get_secret_value().encode()
        async with (
            open_pool(groups, home=settings.home, internal_key=secret, auth=work.auth) as pool,
            following(work, pool, say, here),
        ):
            callers.target = Inside(pool, has_key=True)
            front = create(pool, settings, options=Options(), embedder=_embedder(work.environ))
            await serve_http(servers, settings=settings, host=host, port=port, at_root=False, front=front, say=say)

    run(serve, settings=settings)


def serve_gateway(
    work: Workspace,
    settings: Settings,
    choice: Mapping[str, Any],
    *,
    transport: str,
    host: str,
    port: int | None,
    say: Callable[[str], None],
) -> None:
    """Serve the gateway in front of all groups. `choice` are its options by name (`gateway.options`)."""
    _load_without_collecting()
    from gateway.options import Options
    from gateway.server import create
    from kit.serve import run, serve_http, serve_stdio

    options = Options(**choice)
    options.check(group.name for group in work.groups)

    async def serve() -> None:
        async with work.pool() as pool, following(work, pool, say, {}):
            server = create(pool, settings, options=options, embedder=_embedder(work.environ))
            if transport == "stdio":
                await serve_stdio(server)
            else:
                at = ALL_TOGETHER_PORT if port is None else port
                await serve_http({server.name: server}, settings=settings, host=host, port=at, at_root=True, say=say)

    run(serve, settings=settings)


@asynccontextmanager
async def following(
    work: Workspace, pool: "Pool", say: Callable[[str], None], here: Mapping[str, GroupSpec]
) -> AsyncGenerator[None]:
    """Give the pool the groups of the file anew whenever it changes. Servers that run `here`, in this process, stay."""
    if work.config_file is None:
        yield
        return
    from host.reload import watch
    from pool.config.mcp_json import read_config

    def read(path: Path, environ: Mapping[str, str]) -> list[GroupSpec]:
        return [here.get(group.name, group) for group in read_config(path, environ)]

    async with anyio.create_task_group() as tasks:
        await tasks.start(partial(watch, work.config_file, work.environ, pool, say, read=read))
        yield
        tasks.cancel_scope.cancel()


def _embedder(environ: Mapping[str, str]) -> "Embedder | None":
    from embedding.find import find_embedder

    return find_embedder(environ)


def _load_without_collecting() -> None:
    """Nothing that is being loaded is garbage; looking takes a seventh of the start. `kit.serve` ends this."""
    gc.disable()


class _Factory(Protocol):
    def __call__(self, settings: Settings, *, tools: ToolCallers | None = None) -> "Server": ...


def _factory(name: str) -> _Factory:
    found = next(iter(importlib.metadata.entry_points(group=ENTRY_POINTS, name=name)), None)
    if found is None:
        raise BadInput(f"There is no server {name!r}.", hint=did_you_mean(name, installed_servers()))
    try:
        return cast("_Factory", found.load())
    except ImportError as error:
        raise Fault(f"The server {name!r} cannot be loaded: {error}.", hint="Install Stoa again.") from error


def _made(factory: _Factory, settings: Settings, callers: ToolCallers) -> "Server":
    try:
        return factory(settings, tools=callers)
    except Denied as error:  # whoever starts a server is nobody to be kept out: the settings are wrong
        raise BadInput(error.message, hint=error.hint) from error


class _Later:
    """Callers for servers that are made before the pool that serves them."""

    def __init__(self) -> None:
        self.target: ToolCallers | None = None

    def caller(self, principal: Principal, *, hops: int = 0) -> ToolCaller:
        if self.target is None:
            raise Unavailable("The servers are still starting.", retry_after=1.0)
        return self.target.caller(principal, hops=hops)


def write_built_in(path: Path) -> None:
    """The built-in configuration as a file, for whoever has to name one. One that is there is left alone."""
    open_home(path.parent)
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(json.dumps(json.loads(_built_in({})), indent=2) + "\n")


def _built_in(environ: Mapping[str, str]) -> str:
    """Every installed server, but for those that the environment says to find elsewhere."""
    from pool.config.environment import read_servers

    elsewhere = read_servers(environ)
    names = [name for name in installed_servers() if name not in elsewhere]
    return json.dumps(
        {
            "mcpServers": {name: {"command": "stoa", "args": ["serve", name]} for name in names},
            "stoa": {"pools": {name: {"trusted": True} for name in names}},
        }
    )
