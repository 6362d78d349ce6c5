"""What the pages say is true: links lead somewhere, JSON parses, Python runs, commands and options exist."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)")
GROUPS = {"events", "runs", "subjects"}
"""Commands that have commands of their own."""
LINE_END = re.compile(r"\s+#\s.*$")


def blocks(language: str) -> list[object]:
    return [
        pytest.param(body, id=f"{page.relative_to(ROOT)}:{number}")
        for page in PAGES
        for number, (kind, body) in enumerate(BLOCK.findall(page.read_text("utf-8")), start=1)
        if kind == language
    ]


def commands() -> list[str]:
    """Every `stoa …` line of a shell block, without its remark."""
    found = [
        LINE_END.sub("", line.strip())
        for page in PAGES
        for kind, body in BLOCK.findall(page.read_text("utf-8"))
        if kind == "sh"
        for line in body.replace("\\\n", " ").splitlines()
    ]
    return sorted({line for line in found if line.startswith("stoa ")})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_tree_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text("utf-8"))
    assert [target for target in LINK.findall(text) if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("block", blocks("json"))
def test_json_parses(block: str) -> None:
    json.loads(block)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs(block: str, home: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [sys.executable, "-c", block],
        env={**os.environ, "PATH": path, "HOME": str(home.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize("command", commands())
def test_a_command_on_the_pages_is_one_that_there_is(command: str) -> None:
    """The command line understands it; what it would do is tested elsewhere, so `--help` keeps it from doing it."""
    _, *arguments = shlex.split(command)
    options = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    names = [word for word in arguments if not word.startswith("-")]
    depth = next(number for number, name in enumerate(names, start=1) if name not in GROUPS)
    own = subprocess.run(
        [sys.executable, "-m", "host", *names[:depth], "--help"], capture_output=True, text=True, check=False
    )
    top = subprocess.run([sys.executable, "-m", "host", "--help"], capture_output=True, text=True, check=False)
    assert own.returncode == 0, own.stderr
    assert [option for option in options if option not in own.stdout + top.stdout] == []
