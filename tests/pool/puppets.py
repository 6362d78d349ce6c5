"""Connections without servers, for what the pool decides by itself: each replica answers what the test tells it to."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import anyio

from pool.life import Notice
from pool.pool import Pool
from pool.spec import GroupSpec, InProcessSpec, MemberSpec
from pool.wire.asker import HOST, Asker
from pool.wire.child import LastWords
from pool.wire.connect import Surroundings
from pool.wire.connection import ACKNOWLEDGED, Connection
from pool.wire.failures import Lost
from pool.wire.link import Traffic
from stoa.clock import Clock
from stoa.errors import StoaError
from stoa.tools import Progress
from tests.pool.stage import QUICK

__all__ = ["Puppet", "Puppets", "group", "open_puppets", "tool"]

Answer = Callable[["Puppet", str, dict[str, Any]], Awaitable[dict[str, Any]]]


def tool(name: str, *, read_only: bool = True, **more: Any) -> dict[str, Any]:
    """A tool as a server describes it."""
    return {"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": read_only}, **more}


async def _empty(puppet: "Puppet", method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"content": []}


@dataclass(eq=False)
class Puppet:
    """One connection. `seat` is the number of its member, `number` counts all that were opened."""

    seat: int
    number: int
    stage: "Puppets"
    on_notice: Notice
    lost: anyio.Event = field(default_factory=anyio.Event)
    why: str = ""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    headers: list[Mapping[str, str] | None] = field(default_factory=list[Mapping[str, str] | None])
    is_closed: bool = False
    progress: Progress | None = None
    traffic: Traffic = field(default_factory=Traffic)
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    protocol = "2026-07-28"
    is_modern = True
    is_session = False
    pid = None
    server_name = "puppet"
    server_version = "1"
    instructions = "Pull the strings."
    heard: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])

    @property
    def capabilities(self) -> Mapping[str, Any]:
        return {"tools": {}}

    def explain(self) -> str:
        return self.why

    def lose(self, why: str = "It fell.") -> None:
        self.why = why
        self.lost.set()

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        *,
        progress: Progress | None = None,
        asker: Asker = HOST,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        self.asked.append((method, params))
        self.headers.append(headers)
        self.progress = progress
        return await self.stage.answer(self, method, params)

    async def list_all(self, method: str, key: str) -> tuple[dict[str, Any], ...]:
        await self.stage.list_gate(self, method)
        return tuple(self.lists.get(key, self.stage.lists.get(key, ())))

    async def ping(self) -> None:
        await self.stage.ping(self)

    async def listen(self, *, filter: Mapping[str, Any], meta: Mapping[str, Any], on_notice: Notice) -> None:
        self.heard.append(filter)
        self.on_notice = on_notice
        on_notice(ACKNOWLEDGED, {"notifications": dict(filter)})
        await self.lost.wait()
        raise Lost(self.why)


class Puppets:
    """All connections of a pool. `answer`, `ping` and `list_gate` are what the test replaces."""

    def __init__(self) -> None:
        self.opened: list[Puppet] = []
        self.answer: Answer = _empty
        self.lists: dict[str, list[dict[str, Any]]] = {"tools": [tool("read"), tool("write", read_only=False)]}
        self.refuse: StoaError | None = None
        self.opening: Callable[[], Awaitable[None]] | None = None

    async def ping(self, puppet: Puppet) -> None:
        """Answers."""

    async def list_gate(self, puppet: Puppet, method: str) -> None:
        """Lists at once."""

    @property
    def alive(self) -> list[Puppet]:
        return [puppet for puppet in self.opened if not puppet.is_closed]

    def at(self, seat: int) -> Puppet:
        """The newest connection of a member."""
        return [puppet for puppet in self.opened if puppet.seat == seat][-1]

    @asynccontextmanager
    async def open(
        self,
        spec: MemberSpec,
        *,
        server: str,
        surroundings: Surroundings,
        grace_seconds: float,
        on_notice: Notice,
        words: LastWords,
    ) -> AsyncGenerator[Connection]:
        words.feed(b"puppet %d here\n" % len(self.opened))
        if self.opening is not None:
            await self.opening()
        if self.refuse is not None:
            raise self.refuse
        seat = cast("int", spec.server) if isinstance(spec, InProcessSpec) else len(self.opened)
        puppet = Puppet(seat, len(self.opened), self, on_notice)
        self.opened.append(puppet)
        try:
            yield cast("Connection", puppet)
        finally:
            puppet.is_closed = True


def group(name: str = "one", *, members: int = 1, **options: Any) -> GroupSpec:
    """Each member is known by its number."""
    options = {"trusted": True, "stop_grace_seconds": 0.1, "probe_interval_seconds": 0.0, **options}
    return GroupSpec(name, members=tuple(InProcessSpec(number) for number in range(members)), **options)


@asynccontextmanager
async def open_puppets(
    puppets: Puppets, groups: Iterable[GroupSpec], *, clock: Clock | None = None, within_seconds: float = 20
) -> AsyncGenerator[Pool]:
    with anyio.fail_after(within_seconds):
        async with Pool(groups, internal_key=b"k" * 32, backoff=QUICK, clock=clock, connect=puppets.open) as pool:
            yield pool
