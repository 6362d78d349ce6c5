"""What the gateway's tests need: a server in either era behind a real pool, a gateway before it, and clients."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import mcp_types as types
from mcp import Client

from gateway.options import Limits, Options
from gateway.server import Gateway, create
from kit.author import Server
from kit.serve import http_app
from pool.pool import Pool
from pool.spec import GroupSpec, HttpSpec, InProcessSpec, MemberSpec
from stoa.settings import Settings
from tests.kit.wires import lines, pipes
from tests.pool.stage import load, open_pool, quick, served

__all__ = ["ERAS", "HANDSHAKE", "KEY", "MODERN", "PAIRS", "Answers", "behind", "client", "gateway", "settings_for"]

HANDSHAKE: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
ERAS: Final = (HANDSHAKE, MODERN)
PAIRS: Final = [f"{ours} client, {theirs} server" for ours in ERAS for theirs in ERAS]
KEY: Final = "k" * 40


def settings_for(home: Any, **more: Any) -> Settings:
    return Settings.model_validate({"home": home, "internal_key": KEY, **more})


@asynccontextmanager
async def behind(server: Server, era: str, settings: Settings) -> AsyncGenerator[MemberSpec]:
    """The server as a member of a group, spoken to in that era."""
    if era == MODERN:
        yield InProcessSpec(server.lowlevel)
        return
    app = http_app({server.name: server}, settings=settings, host="127.0.0.1", at_root=True)
    async with served(load("legacy_http").only_legacy(app)) as address:
        yield HttpSpec(f"http://{address}/mcp")


@asynccontextmanager
async def gateway(
    settings: Settings, *groups: GroupSpec, options: Options | None = None, **more: Any
) -> AsyncGenerator[tuple[Gateway, Pool]]:
    async with open_pool(*groups, key=KEY.encode()) as pool:
        yield create(pool, settings, options=options or Options(), **more), pool


class Answers:
    """A client's user, model and workplace. `asked` are the questions that came, `heard` the log messages."""

    def __init__(self, name: str = "Ada") -> None:
        self.name = name
        self.asked: list[Any] = []
        self.heard: list[types.LoggingMessageNotificationParams] = []
        self.news: list[Any] = []

    async def elicit(self, context: Any, params: Any) -> types.ElicitResult:
        self.asked.append(params)
        return types.ElicitResult(action="accept", content={"name": f"{self.name}{len(self.asked)}"})

    async def sample(self, context: Any, params: Any) -> types.CreateMessageResult:
        self.asked.append(params)
        return types.CreateMessageResult(
            role="assistant", content=types.TextContent(type="text", text="written"), model=self.name
        )

    async def roots(self, context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root.model_validate({"uri": f"file:///{self.name}"})])

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.heard.append(params)

    async def message(self, message: Any) -> None:
        self.news.append(message)

    def options(self) -> dict[str, Any]:
        return {
            "elicitation_callback": self.elicit,
            "sampling_callback": self.sample,
            "list_roots_callback": self.roots,
            "logging_callback": self.log,
            "message_handler": self.message,
        }


@asynccontextmanager
async def client(gateway: Gateway, era: str, **options: Any) -> AsyncGenerator[Client]:
    """Over a pair of pipes, as on stdio."""
    mode: Any = "legacy" if era == HANDSHAKE else era
    async with (
        pipes(gateway) as (reader, writer),
        Client(lines(reader, writer), mode=mode, cache=None, **options) as it,
    ):
        yield it


@asynccontextmanager
async def passed(
    server: Server, pair: str, settings: Settings, *, limits: Limits | None = None, **client_options: Any
) -> AsyncGenerator[tuple[Client, Gateway]]:
    """A client of one era, the gateway, and the server of another era behind it as the group `up`."""
    ours, _, theirs, _ = pair.split()
    async with AsyncExitStack() as stack:
        member = await stack.enter_async_context(behind(server, theirs, settings))
        front, _ = await stack.enter_async_context(gateway(settings, quick("up", member), limits=limits))
        yield await stack.enter_async_context(client(front, ours, **client_options)), front
