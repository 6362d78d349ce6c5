"""The face of the room: servers by name, requests answered by whichever replica is best.

async with Pool(read_config(path, os.environ), internal_key=None) as pool:
    served = await pool.call(ToolCall(ToolRef("content", "search_documents"), {"query": "…"}), principal=LOCAL)
"""

import os
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import anyio
from anyio.abc import TaskGroup

from pool.asking import in_time
from pool.catalogue import Catalogue, ToolInfo
from pool.group import Closed
from pool.life import Open
from pool.listening import Heard, listening
from pool.offer import Offer
from pool.passes import Passes
from pool.reporting import group_stats, probe
from pool.request import Passed
from pool.roster import Roster, by_name, connections, each
from pool.samples import samples
from pool.seats import Changes
from pool.spawning import MAX_STARTS, SpawnGate
from pool.spec import GroupSpec
from pool.status import ReplicaStatus, Served, Stats
from pool.trace import Trace, TraceRing
from pool.upstream import Upstream
from pool.verdict import after_refusal
from pool.wire.answers import ResourceContent, completions, resource_contents, tool_result
from pool.wire.asker import HOST, Asker
from pool.wire.connect import FindAuth, Surroundings, no_auth, open_connection
from pool.wire.failures import Refusal
from pool.wire.http_pool import HttpPool
from pool.wire.reading import check_sendable
from pool.workshop import Told, Workshop
from stoa.clock import Clock, SystemClock
from stoa.errors import Denied, StoaError
from stoa.principal import Principal
from stoa.resilience.backoff import Backoff
from stoa.telemetry import Sample
from stoa.tools import Progress, ToolCall, ToolCaller, ToolResult
from stoa.wire import MAX_HOPS

__all__ = ["Pool"]

T = TypeVar("T")

CLOSE_SECONDS: Final = 5.0
"""What closing may take besides the grace that children get."""
PROBE_SECONDS: Final = 5.0


class Pool:
    """Servers start when they are first needed, and end, with all their processes, when the block is left.

    `internal_key` signs who calls, for servers that are trusted. `environ` is where children get PATH and HOME from.
    At most `max_starts` processes are being started at a time. `connect` opens connections (tests bring their own).
    `passes` lets children call each other; whoever gives them serves the way back.
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
        max_starts: int = MAX_STARTS,
        connect: Open = open_connection,
        auth: FindAuth = no_auth,
        passes: Passes | None = None,
    ) -> None:
        specs = by_name(groups)
        rng = rng or random.Random()  # noqa: S311 - chooses among equals, guards nothing
        self._http = HttpPool(max_connections=connections(specs.values()))
        self._ring = TraceRing()
        self._told: list[Told] = []
        self._workshop = Workshop(
            surroundings=Surroundings(http=self._http, environ=os.environ if environ is None else environ, auth=auth),
            internal_key=internal_key,
            clock=clock or SystemClock(),
            rng=rng,
            backoff=backoff or Backoff(),
            gate=SpawnGate(max_starts=max_starts, rng=rng),
            ring=self._ring,
            open_connection=connect,
            on_change=self._changed,
            passes=passes,
        )
        self._roster = Roster(specs, self._workshop)
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        state = "closed" if self._tasks is None else "open"
        return f"<Pool {state}{''.join(f' {upstream!r}' for upstream in self._roster.upstreams.values())}>"

    @property
    def servers(self) -> tuple[str, ...]:
        return tuple(self._roster.upstreams)

    def spec(self, server: str) -> GroupSpec:
        """How a server is configured now. Raises `NotFound`."""
        return self._upstream(server).group.spec

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        self._roster.start(self._tasks)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        groups = [upstream.group for upstream in self._roster.every]
        # Shielded: a block that is cancelled or fails must leave no process behind either. Bounded all the same.
        with anyio.CancelScope(shield=True):
            for group in groups:
                group.stop()
            grace = max((group.spec.stop_grace_seconds for group in groups), default=0.0)
            with anyio.move_on_after(2 * grace + CLOSE_SECONDS):
                for group in groups:
                    await group.wait_closed()
        self._tasks.cancel_scope.cancel()
        try:
            # The block's own error is not the tasks' error: it goes on as it is, not inside a group.
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._tasks = None
            with anyio.CancelScope(shield=True):
                await self._http.aclose()

    # -- requests, raw -----------------------------------------------------------------------------------------------

    async def request(
        self,
        server: str,
        method: str,
        params: dict[str, Any],
        *,
        principal: Principal,
        hops: int = 0,
        progress: Progress | None = None,
        asker: Asker = HOST,
        timeout_seconds: float | None = None,
        prefer: str | None = None,
    ) -> Passed:
        """Pass a request on as it is; the answer is raw, too. `_meta` tells trusted servers who calls; what it says
        under `io.stoa/` from outside is dropped.

        `prefer` is the replica to use if it can be used. Raises errors of ours, and `Refusal` (code, message, data)
        when the server itself answered with an error of the protocol.
        """
        upstream = self._upstream(server)
        _check_hops(hops)
        return await upstream.request(
            method,
            params,
            principal=principal,
            hops=hops,
            progress=progress,
            asker=asker,
            timeout_seconds=timeout_seconds,
            prefer=prefer,
        )

    def listen(
        self, server: str, *, filter: Mapping[str, Any], principal: Principal, hops: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[Heard]]:
        """Notifications of a server, as the `notifications` of `subscriptions/listen` name them, until the block is
        left: `async with pool.listen(…) as heard: async for method, params in heard: …`. Survives the loss of a
        replica; everything in the filter is then told as changed."""
        _check_hops(hops)
        self._upstream(server)  # raises at once for a name that nobody has
        return listening(lambda: self._upstream(server).group, filter=filter, principal=principal, hops=hops)

    # -- what there is -----------------------------------------------------------------------------------------------

    async def offer(self, server: str) -> Offer:
        """What a server offers; what was known once is given, marked stale, while it is away. Raises why it is not
        known, after `start_timeout_seconds` at most."""
        return await self._upstream(server).shelf.offer()

    async def offers(self) -> tuple[Mapping[str, Offer], Mapping[str, StoaError]]:
        """All of them, asked at the same time, and why some are not known. Nobody waits for one longer than for the
        slowest that answers in its time."""
        return await each(self._roster.upstreams, lambda upstream: upstream.shelf.offer())

    def peek(self, server: str) -> Offer | None:
        """What is known of a server, without asking it."""
        return self._upstream(server).shelf.peek()

    def on_change(self, callback: Told) -> Callable[[], None]:
        """Have `callback(server, what)` called when something changes: `tools`, `prompts` or `resources` of a server,
        or `servers`: whether and how it is up. It must not block; what is returned ends it."""
        self._told.append(callback)

        def stop() -> None:
            with suppress(ValueError):
                self._told.remove(callback)

        return stop

    async def tools(self, server: str | None = None) -> Catalogue:
        """The tools of one server or of all, asked at the same time; who does not answer in time is listed with why."""
        asked = self._roster.upstreams if server is None else {server: self._upstream(server)}
        found, unreachable = await each(asked, lambda upstream: upstream.shelf.tools())
        return Catalogue(
            tools=tuple(tool for name in asked for tool in found.get(name, ())),
            unreachable=tuple((name, str(unreachable[name])) for name in asked if name in unreachable),
            errors=tuple(unreachable[name] for name in asked if name in unreachable),
        )

    # -- requests, with typed answers --------------------------------------------------------------------------------

    async def call(
        self,
        call: ToolCall,
        *,
        principal: Principal,
        timeout_seconds: float | None = None,
        progress: Progress | None = None,
        hops: int = 0,
    ) -> Served:
        """Call a tool on whichever replica is best. `hops`: servers that this call has already passed through.

        Raises `NotFound`, `Unavailable`, `OutcomeUnknown`, `Denied`, `BadInput` or `Fault`; a tool's own failure is a
        result with `is_error`.
        """
        upstream, what = self._upstream(call.ref.server), str(call.ref)
        _check_hops(hops)
        check_sendable(call.arguments, f"The arguments of {what}")
        started = anyio.current_time()
        try:
            tool = await _find(upstream, call, timeout_seconds)
        except Closed:
            if upstream.successor is None:
                raise
            upstream = upstream.successor
            tool = await _find(upstream, call, timeout_seconds)
        left = None if timeout_seconds is None else max(0.0, timeout_seconds - (anyio.current_time() - started))
        passed = await self._ask(
            upstream,
            "tools/call",
            {"name": call.ref.tool, "arguments": dict(call.arguments)},
            what,
            principal=principal,
            hops=hops,
            progress=progress,
            timeout_seconds=left,
            tool=tool,
        )
        result = tool_result(passed.result, server=upstream.name, protocol=passed.protocol)
        if (check := upstream.shelf.check(tool)) is not None:
            check.check(result, server=upstream.name, tool=call.ref.tool)
        return Served(result=result, replica=passed.replica, latency_seconds=passed.latency_seconds)

    async def read_resource(
        self, server: str, uri: str, *, principal: Principal, hops: int = 0
    ) -> tuple[ResourceContent, ...]:
        """The contents of a resource. Raises `NotFound` and the errors of `call`."""
        upstream, what = self._upstream(server), f"The resource {uri!r}"
        _check_hops(hops)
        check_sendable(uri, f"The address {uri!r}")
        passed = await self._ask(upstream, "resources/read", {"uri": uri}, what, principal=principal, hops=hops)
        return resource_contents(passed.result, server=server, protocol=passed.protocol)

    async def complete(
        self, server: str, template: str, argument: str, prefix: str, *, principal: Principal, hops: int = 0
    ) -> tuple[str, ...]:
        """What may be meant by the beginning of an argument of a resource template."""
        upstream, what = self._upstream(server), f"The completion of {argument!r}"
        _check_hops(hops)
        check_sendable((template, argument, prefix), what)
        params = {
            "ref": {"type": "ref/resource", "uri": template},
            "argument": {"name": argument, "value": prefix},
        }
        passed = await self._ask(upstream, "completion/complete", params, what, principal=principal, hops=hops)
        return completions(passed.result, server=server, protocol=passed.protocol)

    def caller(self, principal: Principal, *, hops: int = 0) -> ToolCaller:
        """This pool as a server of ours sees it: calls on behalf of one principal."""
        return _Caller(self, principal, hops)

    # -- how it goes -------------------------------------------------------------------------------------------------

    async def status(self) -> tuple[ReplicaStatus, ...]:
        """Every replica, after starting what has not been started and probing what is up."""
        found, errors = await each(
            self._roster.upstreams, lambda upstream: probe(upstream.group, within_seconds=PROBE_SECONDS)
        )
        for error in errors.values():
            raise error
        return tuple(line for name in self._roster.upstreams if name in found for line in found[name])

    def stats(self) -> Stats:
        """Everything that is counted, by server and replica. Asks nobody."""
        return Stats(
            groups=tuple(
                group_stats(upstream.group, is_offer_known=upstream.shelf.peek() is not None)
                for upstream in self._roster.upstreams.values()
            )
        )

    def samples(self) -> Iterable[Sample]:
        """The same as series for Prometheus (`stoa.telemetry.POOL_HELP`)."""
        return samples(upstream.group for upstream in self._roster.upstreams.values())

    def trace(self, n: int = 100) -> tuple[Trace, ...]:
        """The last attempts, the newest last: which replica, why, what the others scored, and what came of it."""
        return self._ring.last(n)

    def stderr(self, server: str) -> Mapping[str, tuple[str, ...]]:
        """The last lines that the processes of a server wrote there, by replica, with secrets masked; also of one
        that did not start, or that has ended."""
        return {replica.name: lines for replica in self._upstream(server).group.replicas if (lines := replica.stderr())}

    # -- another configuration ---------------------------------------------------------------------------------------

    async def reconfigure(self, groups: Iterable[GroupSpec]) -> Changes:
        """Have these groups from now on. Calls in flight are finished where they are; what only another setting
        changes keeps its processes. Raises `BadInput`, and then nothing is changed."""
        changes = self._roster.change(groups)
        for name in (*changes.added, *changes.removed, *changes.changed):
            self._changed(name, "servers")
        return changes

    # -- inside ------------------------------------------------------------------------------------------------------

    def _changed(self, server: str, what: str) -> None:
        upstream = self._roster.upstreams.get(server)
        if upstream is not None:
            upstream.shelf.touch(what)
        for told in tuple(self._told):
            told(server, what)

    async def _ask(self, upstream: Upstream, method: str, params: dict[str, Any], what: str, **options: Any) -> Passed:
        try:
            return await upstream.request(method, params, what=what, **options)
        except Refusal as refusal:
            raise after_refusal(refusal, what, server=upstream.name) from refusal

    def _upstream(self, server: str) -> Upstream:
        return self._roster.find(server)


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


async def _find(upstream: Upstream, call: ToolCall, timeout_seconds: float | None) -> ToolInfo:
    finding = upstream.shelf.find_tool(call.ref.tool)
    if timeout_seconds is None:
        return await finding
    return await in_time(finding, anyio.current_time() + timeout_seconds, what=str(call.ref))


def _check_hops(hops: int) -> None:
    if hops > MAX_HOPS:
        raise Denied(
            f"The call has already passed through {hops} servers; the limit is {MAX_HOPS}.",
            hint="Two servers may be calling each other in a circle.",
        )
