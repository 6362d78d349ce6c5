"""A client written with the SDK before 2.0 finds everything it knows: in our servers, and behind the gateway."""

import json
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
import pytest

from tests.conformance.gateway import WAYS, Way, command, gateway
from tests.conformance.process import free_port, server_environment, serving

pytestmark = pytest.mark.slow

CLIENT = Path(__file__).parent / "old" / "client.py"
EVERYTHING = (sys.executable, "-m", "tests.conformance.everything")

SAID: Mapping[str, Any] = {
    "protocol": "2025-11-25",
    "text": "This is a simple text response for testing.",
    "image": "image/png",
    "progress": [[0.0, 100.0], [50.0, 100.0], [100.0, 100.0]],
    "elicited": 'User response: action=accept, content={"response":"me"}',
    "sampled": "LLM response: heard a question",
    "roots": "file:///work",
    "resources": ["test://static-binary", "test://static-text", "test://watched-resource"],
    "templates": ["test://template/{id}/data"],
    "resource": "This is the content of the static text resource.",
    "templated": '{"id":"7","templateTest":true,"data":"Data for ID: 7"}',
    "prompt": "Prompt with arguments: arg1='one', arg2='two'",
    "completion": ["paris", "park", "party"],
    "cancelled": True,
    "logs": ["Tool execution started", "Tool processing data", "Tool execution completed"],
}


async def went_through(python: str, target: tuple[str, ...], folder: Path) -> dict[str, Any]:
    environment = {**server_environment(folder / "home"), "MARK": str(folder / "mark"), "PYTHONPATH": str(Path.cwd())}
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [python, str(CLIENT), *target], check=False, stdout=PIPE, stderr=PIPE, env=environment, cwd=folder
        )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return json.loads(done.stdout)


def check(said: dict[str, Any], *, beside: Sequence[str] = ()) -> None:
    """`beside` is what the gateway adds to the resources."""
    said["resources"] = [uri for uri in said["resources"] if uri not in beside]
    assert {key: said[key] for key in SAID} == SAID
    assert "test_simple_text" in said["tools"]
    assert "test_prompt_with_arguments" in said["prompts"]
    assert said["error"][0] is True
    assert said["unknown"] != "no error"
    assert said["missing"] in {"-32002", "-32602"}  # the codes of the old revisions and of 2026-07-28


@asynccontextmanager
async def everything(folder: Path, *words: str) -> AsyncGenerator[int]:
    port = free_port()
    environment = server_environment(folder / "everything")
    async with serving(
        (*EVERYTHING, str(port), *words), port=port, environment=environment, log=folder / "everything.log"
    ):
        yield port


async def test_our_server_over_stdio(old_python: str, tmp_path: Path) -> None:
    check(await went_through(old_python, EVERYTHING, tmp_path))


async def test_our_server_over_http(old_python: str, tmp_path: Path) -> None:
    async with everything(tmp_path) as port:
        check(await went_through(old_python, (f"http://127.0.0.1:{port}/mcp",), tmp_path))


async def test_the_gateway_over_stdio(old_python: str, tmp_path: Path) -> None:
    target = await command(WAYS[0], tmp_path, upstream=None)
    check(await went_through(old_python, target, tmp_path), beside=["stoa://servers"])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_the_gateway_over_http(old_python: str, tmp_path: Path, way: Way) -> None:
    words = ["handshake"] if way.is_handshake else []
    async with everything(tmp_path, *words) as upstream, gateway(way, tmp_path, upstream=upstream) as url:
        check(await went_through(old_python, (url,), tmp_path), beside=["stoa://servers"])
