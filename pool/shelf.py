"""What one group offers: looked up on a replica that is up, kept, and looked up again when the server says so.

A group that was up once keeps its offer: while it is away or slow it is shown as stale, and nobody waits for it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

import anyio
from pydantic_core import to_json

from pool.catalogue import ToolInfo
from pool.group import Group
from pool.life import Life
from pool.nearby import did_you_mean
from pool.offer import Offer
from pool.replica import Replica
from pool.wire.connection import Connection
from pool.wire.contract import OutputCheck
from pool.wire.failures import Lost, Refusal
from pool.wire.lists import param_headers
from stoa.errors import NotFound, StoaError, Unavailable

__all__ = ["Shelf"]

_log = logging.getLogger(__name__)

RELIST_AFTER_SECONDS: Final = 5.0
"""An unknown tool is looked up again on the server, but not more often than this."""
LISTS: Final[Mapping[str, tuple[tuple[str, str, str], ...]]] = {
    "prompts": (("prompts", "prompts/list", "prompts"),),
    "resources": (
        ("resources", "resources/list", "resources"),
        ("templates", "resources/templates/list", "resourceTemplates"),
    ),
}
"""By kind of change: the field of the offer, the method, and the key of its result."""

T = TypeVar("T")


class Shelf:
    """Of one group. `touch` says that something is no longer as it was."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._kept: Offer | None = None
        self._from: Life | None = None
        self._old: set[str] = set(LISTS)
        self._lock = anyio.Lock()
        self._in_headers: dict[str, tuple[ToolInfo, bool]] = {}
        self._checks: dict[str, tuple[ToolInfo, OutputCheck]] = {}

    def __repr__(self) -> str:
        kept = "nothing" if self._kept is None else f"{len(self._kept.tools)} tools"
        return f"<Shelf of {self._group.spec.name}: {kept}{', to be looked up' if self._old else ''}>"

    def touch(self, kind: str) -> None:
        if kind in LISTS or kind == "tools":
            self._old.add(kind)

    def peek(self) -> Offer | None:
        """What is known, without asking anybody."""
        if self._kept is None:
            return None
        return self._kept if self._group.usable else replace(self._kept, is_stale=True)

    def tool(self, name: str) -> ToolInfo | None:
        """A tool as far as is known."""
        for replica in self._group.usable:
            if replica.life is not None and (tool := replica.life.tools_by_name.get(name)) is not None:
                return tool
        return self._kept.tool(name) if self._kept is not None else None

    @property
    def has_listed(self) -> bool:
        """Whether anything is known of its tools."""
        return self._kept is not None or any(replica.life is not None for replica in self._group.usable)

    def check(self, tool: ToolInfo) -> OutputCheck | None:
        """What its results must fit, looked through once."""
        if tool.output_schema is None:
            return None
        known = self._checks.get(tool.ref.tool)
        if known is None or known[0] is not tool:
            known = self._checks[tool.ref.tool] = tool, OutputCheck(tool.output_schema)
        return known[1]

    def headers(self, tool: ToolInfo, arguments: Mapping[str, Any]) -> Mapping[str, str] | None:
        """The arguments that its schema wants in headers, too (SEP-2243); None for the tools of most servers."""
        name = tool.ref.tool
        known = self._in_headers.get(name)
        if known is None or known[0] is not tool:
            # Whether the word occurs at all decides for nearly every tool, once.
            known = self._in_headers[name] = tool, b"x-mcp-header" in to_json(tool.input_schema)
        return param_headers(tool.input_schema, arguments) or None if known[1] else None

    async def tools(self) -> tuple[ToolInfo, ...]:
        """Its tools. Raises why they cannot be told."""
        return (await self._in_time(self._listed, "its tools")).tools

    async def find_tool(self, name: str) -> ToolInfo:
        """Raises `NotFound` with near matches when no replica that is up has it."""
        for replica in self._group.usable:
            life = replica.life
            if life is not None and not life.is_stale and (tool := life.tools_by_name.get(name)) is not None:
                return tool

        async def look_again() -> Replica:
            replica = await self._listed()
            if replica.life is not None and name not in replica.life.tools_by_name:
                await self._ask(replica.life.relist(not_older_than_seconds=RELIST_AFTER_SECONDS))
                self._group.see_versions()
            return replica

        found = (await self._in_time(look_again, "its tools")).life
        known = found.tools_by_name if found is not None else {}
        if (tool := known.get(name)) is not None:
            return tool
        raise NotFound(f"The server {self._group.spec.name!r} has no tool {name!r}.", hint=did_you_mean(name, known))

    async def refresh(self) -> None:
        """Ask for the tools again now: the server refused a call made by what is known of them."""
        replica = await self._group.any_ready()
        if replica.life is not None:
            replica.life.is_stale = True
            await self._listed()

    async def offer(self) -> Offer:
        """All of it. What was known once is given, stale, when it cannot be looked up; else the reason is raised."""
        kept = self._kept
        if kept is not None:
            usable = self._group.usable
            if not usable:
                self._group.want(1)  # it comes back for the next one who asks
                return replace(kept, is_stale=True)
            if not self._old and usable[0].life is self._from:
                return kept
        try:
            return await self._in_time(self._look, "what it offers")
        except StoaError:
            if self._kept is None:
                raise
            return replace(self._kept, is_stale=True)

    async def _look(self) -> Offer:
        async with self._lock:
            replica = await self._listed()
            life, connection = replica.life, replica.connection
            if life is None or connection is None:
                raise self._why_not("it went away")
            if life is not self._from:
                self._old |= LISTS.keys()
            old, self._old = self._old, set[str]()
            try:
                fields = await self._lists(connection, old)
            except BaseException:
                self._old |= old
                raise
            base = self._kept or Offer()
            self._from = life
            self._kept = replace(
                base,
                tools=life.tools,
                instructions=connection.instructions,
                capabilities=connection.capabilities,
                server_name=connection.server_name,
                server_version=connection.server_version,
                protocol=connection.protocol,
                is_stale=False,
                **fields,
            )
            return self._kept

    async def _lists(self, connection: Connection, kinds: set[str]) -> dict[str, Any]:
        """The lists of these kinds, all at once. One that fails costs itself alone: it is asked for the next time."""
        found: dict[str, Any] = {}

        async def fetch(field: str, method: str, key: str) -> None:
            try:
                found[field] = await connection.list_all(method, key)
            except (Refusal, StoaError) as error:
                _log.warning("The server %r did not answer %s: %s", self._group.spec.name, method, error.message)

        try:
            async with anyio.create_task_group() as tasks:
                for kind in kinds:
                    for entry in LISTS.get(kind, ()):  # tools come with the replica
                        tasks.start_soon(fetch, *entry)
        except ExceptionGroup as errors:
            lost, other = errors.split(Lost)
            if lost is None or other is not None:
                raise
            raise self._why_not(str(lost.exceptions[0])) from None
        return found

    async def _listed(self) -> Replica:
        """A replica that is up, once all that said so have listed their tools anew."""
        replica = await self._group.any_ready()
        stale = [each.life for each in self._group.replicas if each.life is not None and each.life.is_stale]
        if not stale:
            return replica
        failures: list[StoaError] = []

        async def relist(life: Life) -> None:
            try:
                await self._ask(life.relist())
            except StoaError as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for life in stale:
                tasks.start_soon(relist, life)
        self._group.see_versions()
        if len(failures) == len(stale) and replica.life in stale:
            raise failures[0]
        return await self._group.any_ready()

    async def _ask(self, question: Awaitable[None]) -> None:
        try:
            await question
        except (Lost, Refusal) as failure:
            raise self._why_not(str(failure)) from failure

    def _why_not(self, reason: str) -> StoaError:
        return Unavailable(f"The server {self._group.spec.name!r} did not list what it offers: {reason}")

    async def _in_time(self, look: Callable[[], Awaitable[T]], what: str) -> T:
        limit = self._group.spec.start_timeout_seconds if self._group.usable else self._group.start_seconds
        with anyio.move_on_after(limit):
            return await look()
        raise Unavailable(f"The server {self._group.spec.name!r} did not list {what} within {limit:g} seconds.")
