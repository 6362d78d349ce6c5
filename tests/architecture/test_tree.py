"""What must not stand anywhere in the tree: index addresses, paths of one machine, unpinned requirements."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Written in pieces so that this file does not contain what it looks for.
REGISTRIES = re.compile(
    r"(files\.python" + r"hosted\.org|py" + r"pi\.org/simple|registry\.np" + r"mjs\.org|registry\.yarn" + r"pkg\.com"
    r"|--(extra-)?index" + r"-url|--find" + r"-links)"
)
MACHINE = re.compile(r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot)/")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: git lists the files of the tree")
    found: dict[str, str] = {}
    for path in tracked():
        if path.is_file():
            found[path.relative_to(ROOT).as_posix()] = path.read_bytes().decode("utf-8", "replace")
    return found


def test_no_file_names_a_package_registry(texts: dict[str, str]) -> None:
    assert {name: m.group() for name, text in texts.items() if (m := REGISTRIES.search(text))} == {}


def test_no_file_names_a_path_of_one_machine(texts: dict[str, str]) -> None:
    assert {name: m.group() for name, text in texts.items() if (m := MACHINE.search(text))} == {}


def test_npm_lock_has_digests_and_no_download_addresses(texts: dict[str, str]) -> None:
    locks = {name: text for name, text in texts.items() if name.endswith("package-lock.json")}
    assert locks
    for name, text in locks.items():
        assert '"integrity"' in text, name
        assert '"resolved"' not in text, name


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_hashes(path: Path) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", path.read_text("utf-8").replace("\\\n", " "))
    for entry in entries:
        line = " ".join(part for part in entry.splitlines() if not part.lstrip().startswith("#"))
        if line.strip():
            assert re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==\S+", line), line[:80]
            assert "--hash=sha256:" in line, line[:80]


@pytest.mark.parametrize("name", ["torch", "sentence-transformers", "nvidia"])
def test_no_requirement_brings_torch(name: str) -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        assert not re.search(rf"^{name}\b", path.read_text("utf-8"), re.MULTILINE), path.name


def test_the_project_and_its_requirement_files_ask_for_the_same_packages() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for name, wanted in {"base": project["dependencies"], **project["optional-dependencies"]}.items():
        path = ROOT / "requirements" / f"{name}.in"
        if path.exists():
            asked = [line for line in path.read_text("utf-8").splitlines() if line and line[0] not in "#-"]
            assert sorted(line.replace('"', "'") for line in asked) == sorted(wanted), path.name
