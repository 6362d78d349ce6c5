"""One server of `mcpServers`: a command or an address, as Claude, Cursor, VS Code and others write it."""

import re
import sys
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pool.address import header_trouble, url_trouble
from pool.config.trouble import bad, explain_validation, show
from pool.redact import is_secret_name, secrets_in
from pool.spec import HttpSpec, LoginSpec, MemberSpec, SseSpec, StdioSpec, WsSpec

__all__ = ["KINDS", "Entry", "Filler", "own_variables", "read_entry"]

KINDS: Final[Mapping[str, str]] = {
    "stdio": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamable_http": "http",
    "streamablehttp": "http",
    "ws": "ws",
    "websocket": "ws",
    "sse": "sse",
}
# fmt: off
FOREIGN: Final = frozenset((
    "$comment", "alwaysAllow", "auth", "authentication", "authProviderType", "autoApprove", "comment",
    "description", "dev", "disabledTools", "displayName", "enabledTools", "env_vars", "envFile",
    "excludeTools", "extensions", "gallery", "icon", "icons", "id", "includeTools", "installSource",
    "isolation", "logo", "meta", "metadata", "name", "networkTimeout", "note", "notes", "oauth",
    "presentation", "provider", "readme", "registry", "roots", "sandbox", "sandboxEnabled", "scopes",
    "source", "startup_timeout", "startupTimeout", "tags", "timeout", "title", "tools", "trust", "version",
))
# fmt: on
"""Keys that other clients write for themselves; read over. So is whatever begins with `_` or `x-`."""

# Parent's variables that a child of ours needs none of: keys to other doors, and what the pool sets itself.
_WITHHELD = ("STOA_INTERNAL_KEY", "STOA_UPSTREAM", "STOA_AUTH_", "STOA_MODEL")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_REFERENCE = re.compile(r"(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_PLAIN_VARIABLES = frozenset({"HOME", "PATH", "PWD", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "USERPROFILE"})


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    type: str | None = None
    command: str | None = Field(None, min_length=1)
    args: list[str] = Field(default_factory=list[str])
    env: dict[str, str] = Field(default_factory=dict[str, str])
    cwd: str | None = Field(None, min_length=1)
    url: str | None = Field(None, min_length=1)
    headers: dict[str, str] = Field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Entry:
    """A server as it was written, variables filled in."""

    kind: str
    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str | None
    url: str
    headers: Mapping[str, str]
    secrets: tuple[str, ...]
    own_variables: Mapping[str, str]

    @property
    def is_ours(self) -> bool:
        """Whether the command is `stoa serve X` or `python -m servers.X`, of this very installation."""
        if self.kind != "stdio":
            return False
        if self.command in ("stoa", str(_beside("stoa"))):
            return "serve" in self.args
        is_python = self.command in ("python", "python3", sys.executable)
        return is_python and any(
            flag == "-m" and module.startswith("servers.")
            for flag, module in zip(self.args, self.args[1:], strict=False)
        )

    def with_secrets(self, filled: Set[str]) -> "Entry":
        """The same, knowing what must not be shown: what was filled in, and what looks like a secret."""
        hidden = set(filled)
        hidden.update(value for name, value in self.env.items() if is_secret_name(name))
        for value in self.headers.values():
            hidden.update({value, value.rpartition(" ")[2]})
        for value in (self.url, *self.env.values()):
            hidden |= secrets_in(value)
        return replace(self, secrets=tuple(sorted(hidden)))

    def spec(self, *, trusted: bool, login: LoginSpec | None = None) -> MemberSpec:
        """The member. A trusted child gets this process's own variables, so that both use the same files and keys."""
        if self.kind == "stdio":
            own: Mapping[str, str] = self.own_variables if trusted else {}
            hidden = tuple(value for name, value in own.items() if is_secret_name(name))
            return StdioSpec(
                command=self.command,
                args=self.args,
                env={**own, **self.env},
                cwd=self.cwd,
                secrets=self.secrets + hidden,
            )
        if self.kind == "ws":
            return WsSpec(url=self.url, headers=self.headers, secrets=self.secrets)
        login = login or LoginSpec()
        secrets = (*self.secrets, login.client_secret) if login.client_secret else self.secrets
        make = SseSpec if self.kind == "sse" else HttpSpec
        return make(url=self.url, headers=self.headers, secrets=secrets, login=login)


def read_entry(value: JsonValue, *, source: str, path: str, environ: Mapping[str, str]) -> Entry | None:
    """The entry; None when it is switched off (`disabled`, as some clients write)."""
    if not isinstance(value, dict):
        raise bad(source, path, f"must be an object, not {show(value)}", 'Write {"command": …} or {"url": …}.')
    if value.get("disabled") is True or value.get("enabled") is False or value.get("isActive") is False:
        return None
    try:
        written = _Written.model_validate(_without_foreign(value))
    except ValidationError as error:
        raise explain_validation(error, source=source, path=path, known={"": _Written.model_fields}) from None
    kind = _kind(written, source=source, path=path)
    filler = Filler(environ, source)
    entry = Entry(
        kind=kind,
        command=filler.fill(written.command or "", f"{path}.command"),
        args=tuple(filler.fill(arg, f"{path}.args[{number}]") for number, arg in enumerate(written.args)),
        env={name: filler.fill(text, f"{path}.env.{name}") for name, text in written.env.items()},
        cwd=filler.fill(written.cwd, f"{path}.cwd") if written.cwd is not None else None,
        url=filler.fill(written.url or "", f"{path}.url"),
        headers={name: filler.fill(text, f"{path}.headers.{name}") for name, text in written.headers.items()},
        secrets=(),
        own_variables=own_variables(environ),
    )
    if kind != "stdio":
        if (url_is := url_trouble(entry.url, "ws" if kind == "ws" else "http")) is not None:
            raise bad(source, f"{path}.url", *url_is)
        if (header_is := header_trouble(entry.headers)) is not None:
            raise bad(source, f"{path}.headers.{header_is[0]}", *header_is[1:])
    return entry.with_secrets(filler.secrets)


def own_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What a trusted child gets of this process's own variables."""
    return {name: text for name, text in environ.items() if name.startswith("STOA_") and not name.startswith(_WITHHELD)}


def _without_foreign(value: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    kept = {
        key: part
        for key, part in value.items()
        if key not in FOREIGN and not key.startswith(("_", "x-")) and key not in ("disabled", "enabled", "isActive")
    }
    for ours, theirs in (("url", ("serverUrl", "httpUrl")), ("type", ("transport", "transportType"))):
        for name in theirs:  # Windsurf and Gemini; FastMCP and Cline
            if name in kept:
                kept.setdefault(ours, kept.pop(name))
    if kept.get("type") is None and "httpUrl" in value:
        kept["type"] = "http"
    return {key: part for key, part in kept.items() if part is not None}


def _kind(written: _Written, *, source: str, path: str) -> str:
    if written.type is None:
        if written.command is None and written.url is None:
            raise bad(source, path, "there is neither a command nor a url", "Add the one that is right.")
        if written.command is not None:
            return "stdio"
        return "ws" if (written.url or "").startswith(("ws://", "wss://")) else "http"
    kind = KINDS.get(written.type.lower())
    if kind is None:
        raise bad(source, f"{path}.type", f"{show(written.type)} is not known", "Use stdio, http, ws or sse.")
    needed = "command" if kind == "stdio" else "url"
    if getattr(written, needed) is None:
        raise bad(source, f"{path}.{needed}", f"this key is missing; a server of type {kind} needs it", "Add it.")
    return kind


class Filler:
    """Fills in `${VAR}`, `${VAR:-default}` and `${env:VAR}`, and remembers what came from the environment."""

    def __init__(self, environ: Mapping[str, str], source: str) -> None:
        self._environ = environ
        self._source = source
        self.secrets: set[str] = set()

    def fill(self, text: str, path: str) -> str:
        # Up to the last bracket only: after it, looking for one from each `${` would take quadratic time.
        end = text.rfind("}") + 1
        return _VARIABLE.sub(lambda found: self._value(found[1], path), text[:end]) + text[end:]

    def _value(self, reference: str, path: str) -> str:
        parts = _REFERENCE.fullmatch(reference)
        if parts is None:
            raise bad(
                self._source,
                path,
                f"{show('${' + reference + '}')} is not understood",
                "Use ${VAR} or ${VAR:-default} with a variable of the environment.",
            )
        name, default = parts[1], parts[2]
        value = self._environ.get(name)
        if value:
            if name not in _PLAIN_VARIABLES:
                self.secrets.add(value)
            return value
        if default is not None:
            return default
        if value is not None:
            return value
        raise bad(
            self._source,
            path,
            f"the environment variable {name} is not set",
            f"Set it, or write ${{{name}:-default}}.",
        )


def _beside(name: str) -> Path:
    return Path(sys.executable).with_name(name)
