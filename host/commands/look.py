"""`stoa servers`, `tools`, `call` and `doctor`: looking at what there is, and calling one tool by hand."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

import anyio
from pydantic import JsonValue
from rich.console import Console

from host import show
from host.app import (
    ALL_TOGETHER_PORT,
    DEFAULT_PORTS,
    Workspace,
    default_home,
    installed_servers,
    load_settings,
    open_workspace,
)
from host.arguments import check, from_json, from_words, skeleton
from host.commands.details import Details, as_json, look_closely, show_details
from host.doctor import examine
from host.output import Output
from host.reach import catalogue_of, unreachable
from host.schema import Schema
from host.session import BAD_INPUT, OK, TOOL_FAILED, UNAVAILABLE, exit_code
from pool.catalogue import Catalogue, ToolInfo
from pool.finding.findable import findable
from pool.finding.index import ToolIndex
from pool.spec import GroupSpec
from pool.status import ReplicaStatus, Served
from stoa.errors import BadInput, NotFound, StoaError
from stoa.principal import LOCAL
from stoa.tools import ToolCall, ToolRef

__all__ = ["call_tool", "examine_all", "list_servers", "list_tools", "tool_ref"]


def list_servers(work: Workspace, output: Output, name: str | None) -> int:
    """Start what has to be started, and say how each replica is: all in a line each, or one server closely.

    Fails when none of those asked for is up.
    """
    if name is not None:  # the others need not be started for it
        work = replace(work, groups=(work.group(name),))

    async def ask() -> tuple[tuple[ReplicaStatus, ...], Details | None]:
        async with work.pool() as pool:
            found = await pool.status()
            return found, None if name is None else look_closely(pool, name)

    with output.working("asking the servers"):
        found, details = anyio.run(ask)
    closely: dict[str, JsonValue] = {} if details is None else {"details": as_json(details)}
    output.document(
        {"servers": [_status(each) for each in found], **closely, "configuration": work.source},
        lambda console: _show_servers(console, found, details),
    )
    if not found:
        output.note(f"There is no server in {work.source}.")
    return OK if any(each.is_up for each in found) or not found else UNAVAILABLE


def _show_servers(console: Console, found: Sequence[ReplicaStatus], details: Details | None) -> None:
    show.table(
        console,
        ("server", "replica", "state", "era", "version", "latency", ""),
        [
            (
                each.server,
                each.replica,
                each.state,
                each.era or "",
                each.version or "",
                "" if each.latency_seconds is None else f"{each.latency_seconds * 1000:.1f} ms",
                each.reason,
            )
            for each in found
        ],
    )
    if details is not None:
        show_details(console, details, told={each.reason for each in found})


def list_tools(work: Workspace, output: Output, query: str | None, servers: Sequence[str]) -> int:
    for server in servers:
        work.group(server)

    async def ask() -> Catalogue:
        async with work.pool() as pool:
            return await catalogue_of(pool, servers)

    with output.working("asking the servers"):
        catalogue = anyio.run(ask)
    tools = list(catalogue.tools)
    if query is not None:
        index = ToolIndex([findable(tool.ref.tool, tool.description, tool.input_schema) for tool in tools])
        tools = [tools[found.position] for found in index.search(query, limit=len(tools))]
    for server, reason in catalogue.unreachable:
        output.note(reason if repr(server) in reason else f"{server} cannot be reached: {reason}")
    output.document(
        {
            "tools": [_tool(tool) for tool in tools],
            "unreachable": [{"server": server, "reason": reason} for server, reason in catalogue.unreachable],
        },
        lambda console: show.tools(
            console,
            [(str(tool.ref), skeleton(tool.input_schema), _first_paragraph(tool), tool.read_only) for tool in tools],
        ),
    )
    if query is not None and catalogue.tools and not tools:
        output.note(f"No tool speaks of {query!r}.")
    return exit_code(unreachable(catalogue.errors)) if catalogue.errors and not catalogue.tools else OK


def call_tool(work: Workspace, output: Output, name: str, words: Sequence[str], args: str | None) -> int:
    """Nothing is sent before all arguments fit the tool's schema."""
    ref = tool_ref(name, work)
    if words and args is not None:
        raise BadInput("Arguments are given twice: as key=value and with --args.", hint="Use one of the two.")
    given = from_json(args) if args is not None else None

    async def ask() -> Served:
        async with work.pool() as pool:
            catalogue = await pool.tools(ref.server)
            tool = catalogue.find(ref)
            if tool is None and catalogue.errors:
                raise unreachable(catalogue.errors)
            # A tool that is not listed is left to the pool, which says what is near.
            schema: Schema = tool.input_schema if tool is not None else {}
            arguments = given if given is not None else from_words(words, schema)
            if tool is not None:
                check(arguments, schema)
            return await pool.call(ToolCall(ref, arguments), principal=LOCAL)

    with output.working(f"calling {ref}"):
        served = anyio.run(ask)
    result = served.result
    structured = result.structured if isinstance(result.structured, dict) else {}
    if result.is_error:
        message, hint = structured.get("message"), structured.get("hint")
        output.error(
            str(structured.get("code") or "tool_error"),
            str(message or result.text or f"{ref} failed and did not say why."),
            str(hint or ""),
        )
        return TOOL_FAILED
    document: dict[str, JsonValue] = {
        "tool": str(ref),
        "replica": served.replica,
        "latency_seconds": round(served.latency_seconds, 6),
        "result": result.structured,
        "content": [dict(block.wire) for block in result.blocks] if result.structured is None else None,
    }
    output.document(document, lambda console: show.result(console, result.structured, result.text))
    return OK


def examine_all(config: Path | None, output: Output) -> int:
    found: str | StoaError
    groups: tuple[GroupSpec, ...] = ()
    try:
        work = open_workspace(config, os.environ, folder=Path.cwd())
        found, home, groups = work.source, work.settings.home, work.groups
    except StoaError as error:
        found, home = error, default_home(os.environ)
    from host.doctor_log import event_log  # the database's library, which no other command here needs

    servers = installed_servers()
    ports = {name: DEFAULT_PORTS[name] for name in servers if name in DEFAULT_PORTS}
    ports["stoa up"] = ALL_TOGETHER_PORT
    with output.working("looking around"):
        checks = list(examine(home=home, environ=os.environ, servers=servers, config=found, ports=ports, groups=groups))
        with suppress(StoaError):  # what is wrong with the settings stands under Configuration
            checks.insert(2, event_log(load_settings(os.environ)))
    bad = [check for check in checks if check.verdict == "bad"]
    output.document(
        {
            "ok": not bad,
            "checks": [
                {"what": check.what, "verdict": check.verdict, "found": check.found, "remedy": check.remedy}
                for check in checks
            ],
        },
        lambda console: show.checks(console, checks),
    )
    return BAD_INPUT if bad else OK


def tool_ref(name: str, work: Workspace) -> ToolRef:
    """`server.tool`; the server may have dots in its name, the tool may not."""
    server, dot, tool = name.rpartition(".")
    if not dot or not server or not tool:
        example = next((group.name for group in work.groups), "content")
        raise BadInput(
            f"{name!r} is not of the form server.tool.", hint=f"Write it as {example}.TOOL; `stoa tools` lists them."
        )
    try:
        work.group(server)
    except NotFound:
        # A tool with a dot in its name: the longest server that fits.
        for group in sorted(work.groups, key=lambda group: -len(group.name)):
            if name.startswith(f"{group.name}."):
                return ToolRef(group.name, name.removeprefix(f"{group.name}."))
        raise
    return ToolRef(server, tool)


def _status(status: ReplicaStatus) -> dict[str, JsonValue]:
    return {
        "server": status.server,
        "replica": status.replica,
        "state": status.state,
        "era": status.era,
        "protocol": status.protocol,
        "version": status.version,
        "latency_seconds": status.latency_seconds,
        "in_flight": status.in_flight,
        "reason": status.reason,
    }


def _tool(tool: ToolInfo) -> dict[str, JsonValue]:
    return {
        "name": str(tool.ref),
        "title": tool.title,
        "description": tool.description,
        "read_only": tool.read_only,
        "idempotent": tool.idempotent,
        "destructive": tool.destructive,
        "input_schema": cast("JsonValue", dict(tool.input_schema)),
        "output_schema": cast("JsonValue", dict(tool.output_schema)) if tool.output_schema is not None else None,
    }


def _first_paragraph(tool: ToolInfo) -> str:
    """The description's first paragraph, on one line."""
    return " ".join(tool.description.strip().split("\n\n")[0].split())
