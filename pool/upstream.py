"""One server as the pool has it: its group of replicas, what it offers, and who looks after it; and how a request for
it is made ready."""

import math
from collections.abc import Mapping
from typing import Any, Final, cast

import anyio
from anyio.abc import TaskGroup

from pool.asking import ask, in_time
from pool.catalogue import ToolInfo
from pool.group import Closed, Group
from pool.identity import without_ours
from pool.keeper import Keeper
from pool.request import Passed, Request, is_read
from pool.shelf import Shelf
from pool.spec import GroupSpec
from pool.trace_context import with_trace
from pool.wire.asker import HOST, Asker
from pool.wire.failures import Refusal
from pool.workshop import Workshop
from stoa.errors import StoaError
from stoa.principal import Principal
from stoa.tools import Progress

__all__ = ["Upstream"]

MAX_SHOWN: Final = 200
HEADER_MISMATCH: Final = -32020
"""The server wants arguments in headers that the schema we know does not name (SEP-2243): it is asked for anew."""


class Upstream:
    def __init__(self, spec: GroupSpec, workshop: Workshop) -> None:
        self.group = Group(spec, workshop)
        self.shelf = Shelf(self.group)
        self.keeper = Keeper(self.group)
        self.successor: Upstream | None = None
        """What another configuration has put in its place, for calls that were on their way."""

    def __repr__(self) -> str:
        return repr(self.group)

    @property
    def name(self) -> str:
        return self.group.spec.name

    def start(self, tasks: TaskGroup) -> None:
        self.group.start(tasks)
        tasks.start_soon(self.keeper.run, name=f"keeper of {self.name}")

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        *,
        principal: Principal,
        hops: int = 0,
        progress: Progress | None = None,
        asker: Asker = HOST,
        timeout_seconds: float | None = None,
        prefer: str | None = None,
        tool: ToolInfo | None = None,
        what: str = "",
    ) -> Passed:
        """`tool` is that of a `tools/call`, where it is known already. Raises errors of ours, and `Refusal`."""
        kind, headers, may_repeat = method, None, is_read(method)
        give_up_at = math.inf if timeout_seconds is None else anyio.current_time() + timeout_seconds
        params = with_trace(without_ours(params))
        if method == "tools/call":
            name = params.get("name")
            kind = name if isinstance(name, str) else ""
            tool = tool or await self._tool(kind, give_up_at)
            if tool is not None:
                may_repeat = tool.may_repeat and self.group.spec.trusted
                headers = self.shelf.headers(tool, _arguments(params))
        request = Request(
            method=method,
            params=params,
            what=what or (f"{self.name}.{kind[:MAX_SHOWN]}" if method == "tools/call" else f"{method} of {self.name}"),
            kind=kind,
            may_repeat=may_repeat,
            principal=principal,
            hops=hops,
            asker=asker,
            progress=progress,
            headers=headers,
            give_up_at=give_up_at,
            prefer=prefer,
            key=asker.key or f"{principal.tenant}/{principal.subject}",
        )
        try:
            return await ask(self.group, request)
        except Closed:
            if self.successor is None:
                raise
            return await self.successor.request(
                method,
                params,
                principal=principal,
                hops=hops,
                progress=progress,
                asker=asker,
                timeout_seconds=None if timeout_seconds is None else max(0.0, give_up_at - anyio.current_time()),
                prefer=prefer,
                tool=tool,
                what=what,
            )
        except Refusal as refusal:
            if refusal.code != HEADER_MISMATCH or method != "tools/call":
                raise
            # It was refused before anything was done.
            await self.shelf.refresh()
            known = self.shelf.tool(kind) or tool
            if known is None:
                raise
        request.headers = self.shelf.headers(known, _arguments(params))
        return await ask(self.group, request)

    async def _tool(self, name: str, give_up_at: float) -> ToolInfo | None:
        """What is known of a tool. Before the first listing that is nothing, so it is waited for: the server may want
        arguments in headers."""
        if (tool := self.shelf.tool(name)) is None and not self.shelf.has_listed:
            try:
                await in_time(self.shelf.tools(), give_up_at, what=f"{self.name}.{name}")
            except StoaError:
                if not self.group.usable:
                    raise  # nobody is there to ask either
            tool = self.shelf.tool(name)
        return tool


def _arguments(params: Mapping[str, Any]) -> Mapping[str, Any]:
    found = params.get("arguments")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
