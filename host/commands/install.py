"""`stoa install` and `stoa uninstall`: the entry for `stoa gateway` in another client's file, and out of it again."""

import difflib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from host.app import Workspace, start_command, write_built_in
from host.client_config import Client, gateway_entry, is_gateway
from host.client_files import ConfigFile, read_file
from host.client_places import NAMES, Place, find_place
from host.json_edit import with_member, without_member
from host.output import Output, printable
from host.session import OK
from pool.config.json_text import parse_json
from pool.config.mcp_json import read_config
from pool.redact import MASK, is_secret_name
from stoa.errors import BadInput, Conflict, Fault, NotFound, StoaError

__all__ = ["install", "uninstall"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MEMBER = re.compile(r'"((?:\\.|[^"\\])*)"(\s*:\s*)"(?:\\.|[^"\\])+"')
_FRESH = "{}\n"
_HANDED_ON = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""Variables that clients hand on to the servers that they start: what the MCP SDKs take to be harmless."""


def install(
    work: Workspace, output: Output, client: Client, *, name: str, servers: Sequence[str], project: bool, dry_run: bool
) -> int:
    """Write the entry; the same command again brings it up to date."""
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} cannot be a server's name.", hint="Use letters, digits, - and _, 64 at most.")
    for server in servers:
        work.group(server)
    place = _place(work.environ, client, project=project)
    config = (work.config_file or work.settings.home / "mcp.json").absolute()
    entry = gateway_entry(
        command=start_command(),
        config=config,
        servers=servers,
        home=work.settings.home.absolute(),
        environ=work.environ,
    )
    if work.config_file is None and not dry_run:
        write_built_in(config)
        output.note(f"The gateway stands for the servers in {config}. Edit it to add others.")
    _check_installed(place, client, name, entry)
    file = _read(place, project=project)
    before = file.text if file.text.strip() else _FRESH
    there = _entry(before, place, name)
    if there is not None and not is_gateway(there):
        raise Conflict(
            f"{file.path} has a server {name!r} that was not written by stoa.",
            hint="Give the entry another name with --name.",
        )
    after = with_member(before, place.holder, name, entry)
    _verify(before, after, place, name, entry)
    state = "unchanged" if there == entry else "updated" if there is not None else "installed"
    backup: Path | None = None
    if state != "unchanged" and not dry_run:
        if project:
            file.path.parent.mkdir(exist_ok=True)
        # What an update replaces is our own; the copy of how the file was before stays.
        backup = file.keep() if there is None else None
        file.replace(file.with_text(after))
    done = {
        "installed": f"{NAMES[client]} has a server {name!r} now: {file.path}",
        "updated": f"The server {name!r} of {NAMES[client]} is brought up to date: {file.path}",
        "unchanged": f"{NAMES[client]} has this server {name!r} already: {file.path}",
    }[state]
    _tell(output, client, file, state, done, after, backup, place.then, dry_run=dry_run, entry=entry)
    if work.config_file is not None:
        _warn(output, work.config_file, entry)
    return OK


def uninstall(
    environ: Mapping[str, str], output: Output, client: Client, *, name: str, project: bool, dry_run: bool
) -> int:
    """Take the entry out. Where nothing else has changed since it was written, the file is given back as it was."""
    place = _place(environ, client, project=project)
    file = _read(place, project=project)
    before = file.text
    there = _entry(before, place, name) if before.strip() else None
    if there is None:
        _tell(output, client, file, "absent", f"{file.path} has no server {name!r}.", before, None, "", dry_run=dry_run)
        return OK
    if not is_gateway(there):
        raise Conflict(
            f"The server {name!r} in {file.path} was not written by stoa.", hint="Take it out yourself if you mean it."
        )
    after = without_member(before, place.holder, name)
    _verify(before, after, place, name, None)
    content: bytes | None = file.with_text(after)
    kept = read_file(file.backup, new_mode=file.mode)
    is_as_it_was = False
    if kept.raw is not None and kept.text.strip():
        is_as_it_was = (
            with_member(kept.text, place.holder, name, there) == before and _entry(kept.text, place, name) is None
        )
    elif before == with_member(_FRESH, place.holder, name, there):  # a file that was empty, or was not there
        is_as_it_was = True
    if is_as_it_was:
        content, after = kept.raw, kept.text
    if not dry_run:
        file.replace(content)
        if is_as_it_was and kept.raw is not None:
            kept.path.unlink(missing_ok=True)
    done = f"The server {name!r} is taken out of {file.path}."
    if content is None:
        done = f"{file.path} held nothing but the server {name!r}; the file is removed."
    then = f"{NAMES[client]} notices when it starts anew."
    _tell(output, client, file, "removed", done, after, None, then, dry_run=dry_run)
    return OK


def _place(environ: Mapping[str, str], client: Client, *, project: bool) -> Place:
    folder = Path.cwd() if project else None
    return find_place(client, project=folder, platform=sys.platform, home=Path.home(), environ=environ)


def _read(place: Place, *, project: bool) -> ConfigFile:
    # A user's file may come to hold keys; a project's is meant to be shared.
    return read_file(place.file, new_mode=0o644 if project else 0o600)


def _check_installed(place: Place, client: Client, name: str, entry: JsonValue) -> None:
    """A file in a place where no client looks helps nobody."""
    if place.signs and not any(sign.exists() for sign in place.signs):
        raise NotFound(
            f"{NAMES[client]} does not seem to be installed here: there is no {place.signs[-1]}.",
            hint=f"Start it once and try again, or put this into {place.file}:\n{_paste(place, name, entry)}",
        )


def _warn(output: Output, config: Path, entry: Mapping[str, JsonValue]) -> None:
    """A client hands on little of the environment; what the configuration takes from it may be missing there."""
    given = {**(_strings(entry.get("env"))), **{name: os.environ.get(name, "") for name in _HANDED_ON}}
    try:
        read_config(config, given)
    except StoaError as error:
        output.note(f"Started by the client, it will lack something: {error.message} Add it to the entry's env.")


def _strings(value: JsonValue) -> dict[str, str]:
    return {key: each for key, each in value.items() if isinstance(each, str)} if isinstance(value, dict) else {}


def _paste(place: Place, name: str, entry: JsonValue) -> str:
    return json.dumps({place.holder: {name: entry}}, ensure_ascii=False, indent=2)


def _entry(text: str, place: Place, name: str) -> JsonValue:
    """What the file has under that name. Raises `BadInput`, with line and column, for a file that is broken."""
    found = parse_json(text, source=str(place.file))
    if not isinstance(found, dict):
        raise BadInput(f"{place.file} is no JSON object.", hint='It has to begin with "{".')
    _check_commas(text, place, found, name)
    held = found.get(place.holder, {})
    if not isinstance(held, dict):
        raise BadInput(f"{place.file}: {place.holder} is no object.", hint="Correct it, or take it out.")
    return held.get(name)


def _check_commas(text: str, place: Place, found: Mapping[str, JsonValue], name: str) -> None:
    if not isinstance(found.get(place.holder, {}), dict):
        return
    try:
        without_member(text, place.holder, name)
    except ValueError as error:
        raise BadInput(f"{place.file}: {error}.", hint="Take the comma out.") from error


def _verify(before: str, after: str, place: Place, name: str, entry: JsonValue) -> None:
    """The file means what it meant, but for the one entry: read both, and compare."""
    expected, found = (parse_json(text, source=str(place.file)) for text in (before, after))
    assert isinstance(expected, dict)
    held = dict(cast("dict[str, JsonValue]", expected.get(place.holder) or {}))
    held.pop(name, None)
    if entry is not None:
        held[name] = entry
    if found != {**expected, place.holder: held}:
        raise Fault(
            f"{place.file} is written in a way that cannot be edited safely; nothing was changed.",
            hint=f"Put this into it yourself:\n{_paste(place, name, entry)}"
            if entry is not None
            else "Edit it yourself.",
        )


def _tell(
    output: Output,
    client: Client,
    file: ConfigFile,
    state: str,
    done: str,
    after: str,
    backup: Path | None,
    then: str,
    *,
    dry_run: bool,
    entry: JsonValue = None,
) -> None:
    diff = _difference(file.text, after, str(file.path)) if dry_run else ""
    changes = state in ("installed", "updated", "removed")
    if changes and not dry_run:
        output.note(" ".join(filter(None, [f"The file as it was: {backup}." if backup else "", then])))
    document: dict[str, JsonValue] = {
        "client": client,
        "file": str(file.path),
        "state": state,
        "dry_run": dry_run,
        "backup": str(backup) if backup else None,
        "entry": entry,
        "diff": diff or None,
        "next": then if changes else None,
    }

    def show(console: Console) -> None:
        if not dry_run or not changes:
            console.print(Text(printable(done)), soft_wrap=True)
            return
        console.print(Text(printable(diff.rstrip("\n"))), soft_wrap=True)

    output.document({key: value for key, value in document.items() if value is not None}, show)
    if dry_run and changes:
        output.note("Nothing was written: --dry-run.")


def _difference(before: str, after: str, name: str) -> str:
    """As `diff -u` has it, with the values of secrets masked: it may end up in a log."""
    lines = (text.splitlines(keepends=True) for text in (before, after))
    found = list(difflib.unified_diff(*lines, fromfile=name, tofile=name, n=2))
    masked = (_MEMBER.sub(_mask, line) for line in found)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in masked)


def _mask(match: re.Match[str]) -> str:
    return f'"{match[1]}"{match[2]}"{MASK}"' if is_secret_name(match[1]) else match[0]
