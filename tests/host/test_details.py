"""`stoa servers NAME` looks at one server closely, and starts no other."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from host.commands.details import look_closely, show_details
from host.commands.look import list_servers
from host.output import Output
from host.session import OK, UNAVAILABLE
from pool.spec import GroupSpec, StdioSpec
from tests.host.shelf import Shelf, dead, workspace
from tests.pool.stage import SERVERS, call, open_pool, plain, quick

TALKS = f"""
import runpy, sys
print("warming up with hunter2-key", file=sys.stderr, flush=True)
runpy.run_path({str(SERVERS / "plain.py")!r}, run_name="__main__")
"""
"""The plain server, after a word on stderr."""


def talking() -> GroupSpec:
    return quick("talking", StdioSpec(sys.executable, ("-c", TALKS), secrets=("hunter2-key",)))


def test_one_server_is_shown_with_its_counts_and_its_last_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_servers(workspace(home, dead("away"), talking()), Output(), "talking") == OK
    out = capsys.readouterr().out
    assert "talking: least_latency, 0 calls, 0 failed\n" in out
    assert "talking-0  healthy, 0 of 16 in flight, 0 calls, up for " in out
    assert "    warming up with ***\n" in out
    assert "away" not in out


def test_the_document_has_it_all(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_servers(workspace(home, talking()), Output(as_json=True), "talking") == OK
    document: Any = json.loads(capsys.readouterr().out)
    (replica,) = document["details"]["replicas"]
    assert (replica["state"], replica["stderr"]) == ("healthy", ["warming up with ***"])


def test_without_a_name_there_are_no_details(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_servers(workspace(home, Shelf(home).group()), Output(as_json=True), None) == OK
    assert "details" not in json.loads(capsys.readouterr().out)


async def test_the_last_decisions_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    async with open_pool(quick("plain", plain()), quick("other", plain())) as pool:
        await call(pool, "plain.echo", {"text": "hello"})
        await call(pool, "other.echo", {"text": "hello"})
        details = look_closely(pool, "plain")
        assert look_closely(pool, "nobody") is None
    assert details is not None
    Output().document({}, lambda console: show_details(console, details))
    out = capsys.readouterr().out
    assert "plain: least_latency, 1 call, 0 failed" in out
    assert "plain.echo on plain-0: " in out
    assert "other" not in out


def test_why_a_server_is_down_is_said_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_servers(workspace(home, dead("away")), Output(), "away") == UNAVAILABLE
    out = capsys.readouterr().out
    assert out.count("no-such-command-anywhere") == 1
    assert "away-0  stopped, 0 of 16 in flight, 0 calls, 1 start failed\n" in out
