"""`stoa login`, `stoa call` and `stoa logout`, as commands, against a server that asks for OAuth."""

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from host.commands.login import has_browser, log_in_to, log_out_of
from host.output import Output
from pool.spec import GroupSpec, HttpSpec, StdioSpec, WsSpec
from stoa.errors import BadInput
from tests.fakes.authority import Authority
from tests.host.shelf import workspace
from tests.pool.stage import load, served

PATIENCE_SECONDS = 60


@asynccontextmanager
async def guarded(config: Path, **habits: object) -> AsyncGenerator[Authority]:
    authority = Authority(load("plain").build().streamable_http_app(), **habits)  # type: ignore[arg-type] - its own fields
    async with served(authority) as address:
        text = json.dumps({"mcpServers": {"guarded": {"url": f"http://{address}/mcp"}}})
        await anyio.Path(config).write_text(text)
        with anyio.fail_after(PATIENCE_SECONDS):
            yield authority


def command(config: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "host", "--config", str(config), *words]


async def run(config: Path, *words: str) -> tuple[int, str, str]:
    done = await anyio.run_process(command(config, *words), check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def all_of(stream: object) -> str:
    assert stream is not None
    return "".join([text async for text in TextReceiveStream(stream)])  # type: ignore[arg-type] - a process's own stream


async def log_in(config: Path, *words: str) -> tuple[int, str, str]:
    """The command, and a person who opens the address that it prints."""
    process: Process
    async with await anyio.open_process(command(config, *words, "login", "guarded", "--no-browser")) as process:
        assert process.stderr is not None
        said = ""
        errors = TextReceiveStream(process.stderr)
        async for text in errors:
            said += text
            if "/authorize?" in said and said.endswith("\n"):
                break
        url = next((word for word in said.split() if "/authorize?" in word), None)
        if url is not None:
            async with httpx2.AsyncClient(follow_redirects=True) as browser:
                await browser.get(url)
        out = await all_of(process.stdout)
        said += "".join([text async for text in errors])
        return await process.wait(), out, said


async def test_a_login_opens_the_server_and_a_logout_closes_it(tmp_path: Path, home: Path) -> None:
    config = tmp_path / "mcp.json"
    async with guarded(config) as authority:
        code, _, err = await run(config, "call", "guarded.echo", "text=hello")
        assert (code, "stoa login guarded" in err) == (1, True)
        code, out, err = await log_in(config)
        assert (code, "Logged in to http://127.0.0.1" in out) == (0, True), err
        assert "hunter2" not in out + err
        code, out, err = await run(config, "--json", "call", "guarded.echo", "text=hello")
        assert (code, "hello" in out) == (0, True), err
        code, out, err = await run(config, "logout", "guarded")
        assert (code, "tokens are gone" in out) == (0, True), err
        assert authority.refreshable == {}
        assert list((home / "tokens").glob("*.json")) == []
        code, out, err = await run(config, "logout", "guarded")
        assert (code, out) == (0, "There was no login to guarded.\n")


async def test_a_refusal_is_one_short_block(tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    async with guarded(config, denies=True):
        code, out, err = await log_in(config)
        assert (code, out) == (1, "")
        assert "error: The login was refused: access_denied: not today." in err
        assert "Traceback" not in err


@pytest.mark.parametrize(("path", "told"), [("mcp", "does not ask for a login"), ("elsewhere", "no MCP server at")])
async def test_a_server_that_asks_for_no_login_says_so(tmp_path: Path, home: Path, path: str, told: str) -> None:
    async with served(load("plain").build().streamable_http_app()) as address:
        config = tmp_path / "mcp.json"
        config.write_text(json.dumps({"mcpServers": {"open": {"url": f"http://{address}/{path}"}}}), "utf-8")
        with anyio.fail_after(PATIENCE_SECONDS):
            code, out, err = await run(config, "login", "open", "--no-browser")
    assert (code, out) == (2, "")
    assert told in err


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (StdioSpec("x"), "only http and sse servers are"),
        (WsSpec("ws://h"), "only http and sse servers are"),
        (HttpSpec("http://h", {"Authorization": "Bearer hunter2"}), "stands in its headers"),
    ],
)
def test_what_cannot_be_logged_in_to_is_said(home: Path, member: object, told: str) -> None:
    work = workspace(home, GroupSpec("a", (member,)))  # type: ignore[arg-type] - one of its kinds
    for do in (lambda: log_in_to(work, Output(), "a", browser=False), lambda: log_out_of(work, Output(), "a")):
        with pytest.raises(BadInput, match=told):
            do()


def test_a_browser_is_opened_only_where_there_is_a_screen() -> None:
    assert has_browser({}, "darwin")
    assert has_browser({"DISPLAY": ":0"}, "linux")
    assert not has_browser({"DISPLAY": ""}, "linux")
