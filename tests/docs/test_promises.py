"""Each promise of docs/eventlog.md names the tests that own it, and they exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "eventlog.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def promises() -> list[tuple[str, list[tuple[str, str]]]]:
    """The rows of the tables of promises: what is promised, and its tests."""
    section = PAGE.read_text("utf-8").partition("## What is promised")[2].partition("\n## ")[0]
    rows = [line.strip("|").rsplit("|", 1) for line in section.splitlines() if line.startswith("| ")]
    return [(row[0].strip(), TEST.findall(row[1])) for row in rows if row[0].strip() != "promise"]


def functions_in(file: str) -> set[str]:
    """Names of test functions in a file, also those in classes."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)} | {
        node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    }


def test_every_promise_of_the_log_has_a_test_of_its_own() -> None:
    assert len(promises()) > 10
    assert [promise for promise, tests in promises() if not tests] == []


def test_every_test_that_a_promise_names_exists() -> None:
    named = [(file, name) for _, tests in promises() for file, name in tests]
    assert [
        f"{file}::{name}" for file, name in named if not (ROOT / file).exists() or name not in functions_in(file)
    ] == []
