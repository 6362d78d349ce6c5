"""`stoa login` and `stoa logout`: agree in a browser that Stoa may use a server, or take it back."""

import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import anyio
from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from host.app import Workspace
from host.output import Output, printable
from host.session import OK
from pool.login.tokens import FOLDER, Grant, TokenFolder, canonical
from pool.spec import HttpSpec, SseSpec
from stoa.errors import BadInput

__all__ = ["has_browser", "log_in_to", "log_out_of"]


def log_in_to(
    work: Workspace, output: Output, name: str, *, browser: bool, scope: str | None = None, port: int | None = None
) -> int:
    """Log in to each address of the server, one after the other; what is done stays when a later one fails."""
    from pool.login.flow import log_in, log_in_as_machine  # half a second, which `stoa logout` has no use for

    tokens = TokenFolder(work.settings.home / FOLDER)

    async def show(url: str) -> None:
        output.note(f"Open this address in a browser, to let Stoa use {name}:\n  {url}")
        if browser:
            await anyio.to_thread.run_sync(_open, url, abandon_on_cancel=True)

    async def run() -> list[Grant]:
        grants: list[Grant] = []
        for member in _members(work, name):
            login = replace(member.login, scope=scope or member.login.scope)
            spec = replace(member, login=login if port is None else replace(login, port=port))
            if spec.login.is_machine:
                grant = await log_in_as_machine(spec)
            else:
                grant = await log_in(spec, show=show, before=_before(tokens, spec.url))
            async with tokens.locked(spec.url):
                tokens.write(grant)
            grants.append(grant)
        return grants

    grants = anyio.run(run)
    output.document(
        {"server": name, "logins": [_login(grant) for grant in grants]},
        lambda console: _say(console, [_sentence(grant) for grant in grants]),
    )
    return OK


def log_out_of(work: Workspace, output: Output, name: str) -> int:
    """Delete the tokens, and have the authorization server forget them where it takes that."""
    tokens = TokenFolder(work.settings.home / FOLDER)

    async def run() -> list[tuple[str, bool]]:
        from pool.login.flow import revoke

        done: list[tuple[str, bool]] = []
        for member in _members(work, name):
            try:
                grant = tokens.read(member.url)
            except BadInput:  # a damaged file is no reason to keep it
                tokens.forget(member.url)
                done.append((str(member), False))
                continue
            if grant is not None:
                async with tokens.locked(member.url):
                    tokens.forget(member.url)
                done.append((str(member), await revoke(grant)))
        return done

    done = anyio.run(run)
    output.document(
        {"server": name, "logged_out": [{"url": url, "revoked": revoked} for url, revoked in done]},
        lambda console: _say(
            console,
            [
                f"Logged out of {url}; {'its' if revoked else 'only our copy of its'} tokens are gone."
                for url, revoked in done
            ]
            or [f"There was no login to {name}."],
        ),
    )
    return OK


def _before(tokens: TokenFolder, url: str) -> Grant | None:
    try:
        return tokens.read(url)
    except BadInput:  # a damaged file is about to be replaced
        return None


def has_browser(environ: Mapping[str, str], platform: str) -> bool:
    """Whether a window can open. On Linux that takes a display; a browser in this very terminal would be in the way."""
    return platform in ("win32", "darwin") or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _members(work: Workspace, name: str) -> Sequence[HttpSpec | SseSpec]:
    """The members that can be logged in to, one for each address."""
    members = work.group(name).members
    found = {canonical(each.url): each for each in members if isinstance(each, HttpSpec | SseSpec)}
    if not found:
        raise BadInput(
            f"The server {name!r} is not one to log in to: only http and sse servers are.",
            hint="What a command needs stands in its env; a WebSocket server's token in its headers.",
        )
    for member in found.values():
        if any(header.lower() == "authorization" for header in member.headers):
            raise BadInput(
                f"The token of the server {name!r} stands in its headers already.",
                hint=f"Take Authorization out of mcpServers.{name}.headers, to log in instead.",
            )
    return tuple(found.values())


def _open(url: str) -> None:
    if has_browser(os.environ, sys.platform):
        try:
            webbrowser.open(url)
        except (webbrowser.Error, OSError):
            return  # the address stands on the screen


def _login(grant: Grant) -> dict[str, JsonValue]:
    until = None if grant.expires_at is None else datetime.fromtimestamp(grant.expires_at, UTC).isoformat()
    return {
        "url": grant.url,
        "issuer": grant.issuer,
        "scope": grant.scope,
        "token_expires_at": until,
        "renews": grant.refresh_token is not None,
    }


def _sentence(grant: Grant) -> str:
    scope = f", scope {grant.scope}" if grant.scope else ""
    if grant.refresh_token is not None:
        return f"Logged in to {grant.url}{scope}. The login renews itself."
    if grant.expires_at is None:
        return f"Logged in to {grant.url}{scope}."
    until = datetime.fromtimestamp(grant.expires_at).astimezone().strftime("%Y-%m-%d %H:%M")
    return f"Logged in to {grant.url}{scope}, until {until}."


def _say(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=True)
