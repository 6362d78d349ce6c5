"""`mcp.json` into groups: `mcpServers` as other clients read it, and `stoa.pools`, which is ours and strict.

Under what the file says stands what the environment says, and servers that it names are there besides.
Every error is `BadInput` and names file, key, value and remedy; values that may be secret are left out.
"""

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pool.config.entry import Entry, read_entry
from pool.config.environment import NAME, pool_defaults, read_servers
from pool.config.grouping import as_group
from pool.config.json_text import parse_json
from pool.config.logins import read_login
from pool.config.pools import PoolSection, read_pool
from pool.config.trouble import bad, explain_validation, show
from pool.nearby import did_you_mean
from pool.spec import GroupSpec, LoginSpec
from stoa.errors import BadInput

__all__ = ["parse_config", "read_config"]

MAX_CONFIG_BYTES = 2**20
SERVERS_KEYS = ("mcpServers", "servers")  # the second is what VS Code writes
OURS = "stoa"


class Ours(BaseModel):
    """The `stoa` section."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    pools: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    logins: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


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
    entries = {**_read_servers(root, source, environ), **_beside(root, environ)}
    ours = _read_ours(root, source)
    defaults = pool_defaults(environ)
    pools = {name: _read_pool(value, name, source, defaults) for name, value in ours.pools.items()}
    logins = {name: _read_login(value, name, source, environ, entries) for name, value in ours.logins.items()}
    return tuple(_group(entries, pools, logins, source, defaults))


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


def _beside(root: Mapping[str, JsonValue], environ: Mapping[str, str]) -> dict[str, Entry]:
    """Servers of the environment; what the file says of a name, also that it is switched off, goes first."""
    named = root[next(key for key in SERVERS_KEYS if key in root)]
    assert isinstance(named, dict), "the file's own servers were read before"
    return {name: entry for name, entry in read_servers(environ).items() if name not in named}


def _read_ours(root: Mapping[str, JsonValue], source: str) -> Ours:
    try:
        return Ours.model_validate(root.get(OURS, {}))
    except ValidationError as error:
        raise explain_validation(error, source=source, path=OURS, known={"": Ours.model_fields}) from None


def _read_pool(value: JsonValue, name: str, source: str, defaults: Mapping[str, JsonValue]) -> PoolSection:
    path = f"{OURS}.pools.{name}"
    _check_name(name, path, source)
    return read_pool(value, name=name, source=source, path=path, defaults=defaults)


def _read_login(
    value: JsonValue, name: str, source: str, environ: Mapping[str, str], entries: Mapping[str, Entry]
) -> LoginSpec:
    path = f"{OURS}.logins.{name}"
    if name not in entries:
        raise bad(source, path, "there is no server of this name", did_you_mean(name, entries))
    if entries[name].kind not in ("http", "sse"):
        raise bad(source, path, "only servers of type http and sse can be logged in to", "Remove it.")
    return read_login(value, source=source, path=path, environ=environ)


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


def _group(
    entries: Mapping[str, Entry],
    pools: Mapping[str, PoolSection],
    logins: Mapping[str, LoginSpec],
    source: str,
    defaults: Mapping[str, JsonValue],
) -> Iterable[GroupSpec]:
    """Servers that no pool claims are groups of their own; a pool stands where its first member stood."""
    pool_of = _claims(entries, pools, source)
    seen: set[str] = set()
    for name in entries:
        group = pool_of.get(name, name)
        if group not in seen:
            seen.add(group)
            settings = pools.get(group) or read_pool({}, name=group, source=source, path="", defaults=defaults)
            members = [(entries[member], logins.get(member)) for member in settings.members or [group]]
            yield as_group(group, settings, members)


def _claims(entries: Mapping[str, Entry], pools: Mapping[str, PoolSection], source: str) -> dict[str, str]:
    """Which server belongs to which pool."""
    pool_of: dict[str, str] = {}
    for pool, settings in pools.items():
        path = f"{OURS}.pools.{pool}"
        if settings.members is None and pool not in entries:
            raise bad(
                source, path, "there is no server of this name", did_you_mean(pool, entries) or "Give it members."
            )
        for member in settings.members or [pool]:
            if member not in entries:
                meant = did_you_mean(member, entries)
                raise bad(source, f"{path}.members", f"there is no server {member[:80]!r}", meant)
            if member in pool_of:
                raise bad(
                    source,
                    f"{path}.members",
                    f"the server {member!r} is also in the pool {pool_of[member]!r}",
                    "A server can be in one pool only, and once.",
                )
            pool_of[member] = pool
    for pool in pools:
        if pool in entries and pool_of.get(pool) != pool:
            raise bad(source, f"{OURS}.pools.{pool}", "a server that is not its member has the same name", "Rename it.")
    return pool_of
