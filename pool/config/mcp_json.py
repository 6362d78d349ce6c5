"""`mcp.json` into groups: `mcpServers` as other clients read it, and `stoa.pools`, which is ours and strict.

Every error is `BadInput` and names file, key, value and remedy; values that may be secret are left out.
"""

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pool.config.entry import Entry, read_entry
from pool.config.json_text import parse_json
from pool.nearby import did_you_mean
from pool.spec import GroupSpec
from pool.config.trouble import bad, explain_validation, show
from stoa.errors import BadInput

__all__ = ["parse_config", "read_config"]

MAX_CONFIG_BYTES = 2**20
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SERVERS_KEYS = ("mcpServers", "servers")  # the second is what VS Code writes
OURS = "stoa"


class _PoolEntry(BaseModel):
    """One pool under `stoa.pools`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    members: list[str] | None = Field(None, min_length=1)
    replicas: int = Field(1, ge=1, le=64)
    strategy: Literal["least_outstanding"] = "least_outstanding"
    max_in_flight: int = Field(16, ge=1, le=10_000)
    max_waiting: int = Field(64, ge=0, le=100_000)
    acquire_timeout_seconds: float = Field(10, gt=0, le=3600)
    call_timeout_seconds: float = Field(60, gt=0, le=86_400)
    start_timeout_seconds: float = Field(30, gt=0, le=3600)
    stop_grace_seconds: float = Field(2, ge=0, le=60)
    trusted: bool | None = None


class _Ours(BaseModel):
    """The `stoa` section."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    pools: dict[str, _PoolEntry] = Field(default_factory=dict[str, _PoolEntry])


def read_config(path: Path, environ: Mapping[str, str]) -> tuple[GroupSpec, ...]:
    """The groups of a file. `environ` is where `${VAR}` comes from."""
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadInput(
                    f"The configuration file {str(path)!r} cannot be read: it is no regular file.",
                    hint="Name another one with --config.",
                )
            data = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise BadInput(
            f"There is no configuration file {str(path)!r}.", hint="Create it, or name another one with --config."
        ) from None
    except OSError as error:
        raise BadInput(f"The configuration file {str(path)!r} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_CONFIG_BYTES:
        raise BadInput(f"The configuration file {str(path)!r} has more than {MAX_CONFIG_BYTES} bytes.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"The configuration file {str(path)!r} is not UTF-8 (byte {error.start}).", hint="Save it as UTF-8."
        ) from None
    return parse_config(text, source=str(path), environ=environ)


def _open(path: str, flags: int) -> int:
    # Not blocking: opening a named pipe would wait for somebody to write to it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse_config(text: str, *, source: str, environ: Mapping[str, str]) -> tuple[GroupSpec, ...]:
    """The groups in a text; `source` is what errors call it."""
    root = parse_json(text, source=source)
    if not isinstance(root, dict):
        raise bad(source, "", f"the whole file must be one object, not {show(root)}", 'Write {"mcpServers": {…}}.')
    _refuse_misspelt(root, source)
    entries = _read_servers(root, source, environ)
    pools = _read_pools(root, source)
    return tuple(_group(entries, pools, source))


def _refuse_misspelt(root: Mapping[str, JsonValue], source: str) -> None:
    """Other clients keep settings of their own beside the servers; only what looks like a slip is refused."""
    for key in root:
        if key not in (*SERVERS_KEYS, OURS):
            meant = did_you_mean(key.replace("_", "").replace("-", ""), ("mcpServers", OURS), most=1, list_all=False)
            if meant:
                raise bad(source, key, "this key is not known", meant)


def _read_servers(root: Mapping[str, JsonValue], source: str, environ: Mapping[str, str]) -> dict[str, Entry]:
    key = next((key for key in SERVERS_KEYS if key in root), None)
    if key is None:
        raise bad(source, "mcpServers", "this key is missing", 'Write {"mcpServers": {"content": {"command": …}}}.')
    servers = root[key]
    if not isinstance(servers, dict):
        raise bad(source, key, f"must be an object of servers by name, not {show(servers)}", "")
    entries: dict[str, Entry] = {}
    for name, value in servers.items():
        _check_name(name, f"{key}.{name}", source)
        entry = read_entry(value, source=source, path=f"{key}.{name}", environ=environ)
        if entry is not None:
            entries[name] = entry
    return entries


def _read_pools(root: Mapping[str, JsonValue], source: str) -> dict[str, _PoolEntry]:
    try:
        ours = _Ours.model_validate(root.get(OURS, {}))
    except ValidationError as error:
        raise explain_validation(
            error, source=source, path=OURS, known={"": _Ours.model_fields, "pools": _PoolEntry.model_fields}
        ) from None
    for name in ours.pools:
        _check_name(name, f"{OURS}.pools.{name}", source)
    return ours.pools


def _check_name(name: str, path: str, source: str) -> None:
    if not NAME.fullmatch(name):
        raise bad(
            source,
            path,
            "a name has 1 to 64 letters, digits, '_' or '-'",
            f"Rename it, for example to {_tame(name)!r}.",
        )
    if name == "ws":
        raise bad(source, path, "no server can be called 'ws', the address /mcp/ws is taken", "Rename it.")


def _tame(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:64] or "server"


def _group(entries: Mapping[str, Entry], pools: Mapping[str, _PoolEntry], source: str) -> Iterable[GroupSpec]:
    """Servers that no pool claims are groups of their own; a pool stands where its first member stood."""
    pool_of: dict[str, str] = {}
    for pool, settings in pools.items():
        path = f"{OURS}.pools.{pool}"
        if settings.members is None and pool not in entries:
            raise bad(
                source, path, "there is no server of this name", did_you_mean(pool, entries) or "Give it members."
            )
        for member in settings.members or [pool]:
            if member not in entries:
                raise bad(source, f"{path}.members", f"there is no server {member!r}", did_you_mean(member, entries))
            if member in pool_of:
                raise bad(
                    source,
                    f"{path}.members",
                    f"the server {member!r} is also in the pool {pool_of[member]!r}",
                    "A server can be in one pool only.",
                )
            pool_of[member] = pool
    for pool in pools:
        if pool in entries and pool_of.get(pool) != pool:
            raise bad(source, f"{OURS}.pools.{pool}", "a server that is not its member has the same name", "Rename it.")
    seen: set[str] = set()
    for name in entries:
        group = pool_of.get(name, name)
        if group not in seen:
            seen.add(group)
            yield _spec(group, pools.get(group) or _PoolEntry.model_validate({}), entries)


def _spec(name: str, settings: _PoolEntry, entries: Mapping[str, Entry]) -> GroupSpec:
    members = [entries[member] for member in settings.members or [name]]
    trusted = all(member.is_ours for member in members) if settings.trusted is None else settings.trusted
    return GroupSpec(
        name=name,
        members=tuple(member.spec(trusted=trusted) for member in members),
        replicas=settings.replicas,
        max_in_flight=settings.max_in_flight,
        max_waiting=settings.max_waiting,
        acquire_timeout_seconds=settings.acquire_timeout_seconds,
        call_timeout_seconds=settings.call_timeout_seconds,
        start_timeout_seconds=settings.start_timeout_seconds,
        stop_grace_seconds=settings.stop_grace_seconds,
        trusted=trusted,
    )
