"""The face of the room: servers by name, tools called on whichever replica is free.

async with Pool(read_config(path, os.environ), internal_key=None) as pool:
    served = await pool.call(ToolCall(ToolRef("content", "search_documents"), {"query": "…"}), principal=LOCAL)
"""

import math
import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import anyio
from anyio.abc import TaskGroup

from pool.asking import ask, in_time
from pool.catalogue import Catalogue, ToolInfo
from pool.group import Group
from pool.nearby import did_you_mean
from pool.spec import GroupSpec, HttpSpec
from pool.status import ReplicaStatus, Served
from pool.wire.answers import ResourceContent
from pool.wire.connect import Surroundings
from pool.wire.http import HttpPool
from pool.wire.reading import check_sendable
from stoa.clock import Clock, SystemClock
from stoa.errors import BadInput, Denied, NotFound, StoaError
from stoa.principal import Principal
from stoa.resilience.backoff import Backoff
from stoa.tools import Progress, ToolCall, ToolCaller, ToolResult
from stoa.wire import MAX_HOPS

__all__ = ["Pool"]

CLOSE_SECONDS: Final = 5.0
"""What closing may take besides the grace that children get."""


class Pool:
    """Servers start when they are first needed, and end, with all their processes, when the block is left.

    `internal_key` signs who calls, for servers that are trusted. `environ` is where children get PATH and HOME from.
    """

    def __init__(
        self,
        groups: Iterable[GroupSpec],
        *,
        internal_key: bytes | None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        backoff: Backoff | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        specs = tuple(groups)
        self._clock = clock or SystemClock()
        self._http = HttpPool(max_connections=_connections(specs))
        surroundings = Surroundings(http=self._http, environ=os.environ if environ is None else environ)
        self._groups: dict[str, Group] = {}
        for spec in specs:
            if spec.name in self._groups:
                raise BadInput(f"Two servers have the name {spec.name!r}.")
            self._groups[spec.name] = Group(
                spec,
                surroundings=surroundings,
                internal_key=internal_key,
                clock=self._clock,
                rng=rng or random.Random(),  # noqa: S311 - chooses among equals, guards nothing
                backoff=backoff or Backoff(),
            )
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        state = "closed" if self._tasks is None else "open"
        return f"<Pool {state}{''.join(f' {group!r}' for group in self._groups.values())}>"

    @property
    def servers(self) -> tuple[str, ...]:
        return tuple(self._groups)

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        for group in self._groups.values():
            group.start(self._tasks)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        # Shielded: a block that is cancelled or fails must leave no process behind either. Bounded all the same.
        with anyio.CancelScope(shield=True):
            for group in self._groups.values():
                group.stop()
            grace = max((group.spec.stop_grace_seconds for group in self._groups.values()), default=0.0)
            with anyio.move_on_after(2 * grace + CLOSE_SECONDS):
                for group in self._groups.values():
                    await group.wait_closed()
        self._tasks.cancel_scope.cancel()
        try:
            # The block's own error is not the tasks' error: it goes on as it is, not inside a group.
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._tasks = None
            with anyio.CancelScope(shield=True):
                await self._http.aclose()

    async def tools(self, server: str | None = None) -> Catalogue:
        """The tools of one server or of all, asked at the same time; who does not answer in time is listed with why."""
        groups = [self._group(server)] if server is not None else list(self._groups.values())
        found: dict[str, tuple[ToolInfo, ...]] = {}
        unreachable: dict[str, StoaError] = {}

        async def look(group: Group) -> None:
            try:
                found[group.spec.name] = await group.tools()
            except StoaError as error:
                unreachable[group.spec.name] = error

        async with anyio.create_task_group() as tasks:
            for group in groups:
                tasks.start_soon(look, group)
        names = [group.spec.name for group in groups]
        return Catalogue(
            tools=tuple(tool for name in names for tool in found.get(name, ())),
            unreachable=tuple((name, str(unreachable[name])) for name in names if name in unreachable),
            errors=tuple(unreachable[name] for name in names if name in unreachable),
        )

    async def call(
        self,
        call: ToolCall,
        *,
        principal: Principal,
        timeout_seconds: float | None = None,
        progress: Progress | None = None,
        hops: int = 0,
    ) -> Served:
        """Call a tool on whichever replica is free. `hops`: servers that this call has already passed through.

        Raises `NotFound`, `Unavailable`, `OutcomeUnknown`, `Denied`, `BadInput` or `Fault`; a tool's own failure is a
        result with `is_error`.
        """
        group = self._group(call.ref.server)
        _check_hops(hops)
        check_sendable(call.arguments, f"The arguments of {call.ref}")
        give_up_at = math.inf if timeout_seconds is None else anyio.current_time() + timeout_seconds
        tool = await in_time(group.find_tool(call.ref.tool), give_up_at, what=str(call.ref))
        result, replica, seconds = await ask(
            group,
            lambda connection, meta: connection.call_tool(call.ref.tool, call.arguments, meta=meta, progress=progress),
            what=str(call.ref),
            may_repeat=group.spec.trusted and tool.may_repeat,
            principal=principal,
            hops=hops,
            give_up_at=give_up_at,
            clock=self._clock,
        )
        return Served(result=result, replica=replica, latency_seconds=seconds)

    async def read_resource(
        self, server: str, uri: str, *, principal: Principal, hops: int = 0
    ) -> tuple[ResourceContent, ...]:
        """The contents of a resource. Raises `NotFound` and the errors of `call`."""
        _check_hops(hops)
        check_sendable(uri, f"The address {uri!r}")
        contents, _, _ = await ask(
            self._group(server),
            lambda connection, meta: connection.read_resource(uri, meta=meta),
            what=f"The resource {uri!r}",
            may_repeat=True,  # the protocol has no reading that writes
            principal=principal,
            hops=hops,
            clock=self._clock,
        )
        return contents

    async def complete(
        self, server: str, template: str, argument: str, prefix: str, *, principal: Principal, hops: int = 0
    ) -> tuple[str, ...]:
        """What may be meant by the beginning of an argument of a resource template."""
        _check_hops(hops)
        check_sendable((template, argument, prefix), f"The completion of {argument!r}")
        values, _, _ = await ask(
            self._group(server),
            lambda connection, meta: connection.complete(template, argument, prefix, meta=meta),
            what=f"The completion of {argument!r}",
            may_repeat=True,
            principal=principal,
            hops=hops,
            clock=self._clock,
        )
        return values

    async def status(self) -> tuple[ReplicaStatus, ...]:
        """Every replica, after starting what has not been started and probing what is up."""
        found: dict[str, tuple[ReplicaStatus, ...]] = {}

        async def look(group: Group) -> None:
            found[group.spec.name] = await group.status()

        async with anyio.create_task_group() as tasks:
            for group in self._groups.values():
                tasks.start_soon(look, group)
        return tuple(line for name in self._groups for line in found[name])

    def caller(self, principal: Principal, *, hops: int = 0) -> ToolCaller:
        """This pool as a server of ours sees it: calls on behalf of one principal."""
        return _Caller(self, principal, hops)

    def _group(self, server: str) -> Group:
        group = self._groups.get(server)
        if group is None:
            raise NotFound(f"There is no server {server!r}.", hint=did_you_mean(server, self._groups))
        return group


@dataclass(frozen=True, slots=True)
class _Caller:
    pool: Pool
    principal: Principal
    hops: int

    async def call_tool(
        self, call: ToolCall, *, timeout_seconds: float | None = None, progress: Progress | None = None
    ) -> ToolResult:
        served = await self.pool.call(
            call, principal=self.principal, timeout_seconds=timeout_seconds, progress=progress, hops=self.hops
        )
        return served.result


def _check_hops(hops: int) -> None:
    if hops > MAX_HOPS:
        raise Denied(
            f"The call has already passed through {hops} servers; the limit is {MAX_HOPS}.",
            hint="Two servers may be calling each other in a circle.",
        )


def _connections(specs: Iterable[GroupSpec]) -> int:
    """Enough that no call waits for a connection: all slots of all HTTP replicas, and one listener each."""
    return 1 + sum(
        spec.replicas * (spec.max_in_flight + 2)
        for spec in specs
        for member in spec.members
        if isinstance(member, HttpSpec)
    )
