"""What the environment says about servers and pools: defaults under the file, and servers beside those of the file.

`MCP_SERVER_TIMEOUT`, `MCP_RETRY_COUNT`, `MCP_CONNECTION_POOL_SIZE` and `MCP_LOAD_BALANCING_STRATEGY` are the defaults;
`MCP_EXTERNAL_SERVER_{n}_…`, `NOTION_MCP_URL`, `HELPSCOUT_MCP_URL` and `SLACK_MCP_URL` are servers, unless `MCP_ENABLED`
is false. Empty counts as unset. Errors name the variable. Pure.
"""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Final, cast

from pydantic import JsonValue

from pool.address import url_trouble
from pool.balance.policy import STRATEGIES
from pool.config.entry import KINDS, Entry, own_variables
from pool.config.pools import read_strategy
from pool.redact import mask_url
from stoa.errors import BadInput

__all__ = ["NAME", "VARIABLES", "pool_defaults", "read_servers"]

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

VARIABLES: Final[Mapping[str, str]] = {
    "MCP_SERVER_TIMEOUT": "`call_timeout_seconds` where the file says nothing, in milliseconds.",
    "MCP_RETRY_COUNT": "`retry.attempts` likewise, less one: how often a call is sent again.",
    "MCP_CONNECTION_POOL_SIZE": "`max_in_flight` likewise: calls at once on one replica.",
    "MCP_LOAD_BALANCING_STRATEGY": "`strategy` likewise.",
    "MCP_ENABLED": "`false` leaves out the servers that the variables below name.",
    "MCP_EXTERNAL_SERVER_{n}_NAME": "Name of a further server; `n` is a number.",
    "MCP_EXTERNAL_SERVER_{n}_TRANSPORT": "stdio, http, ws or sse; else what the next two suggest.",
    "MCP_EXTERNAL_SERVER_{n}_URI": "Its address.",
    "MCP_EXTERNAL_SERVER_{n}_COMMAND": "Its command, for stdio.",
    "MCP_EXTERNAL_SERVER_{n}_ARGS": "Arguments of the command, as in a shell or as a JSON list.",
    "MCP_EXTERNAL_SERVER_{n}_ENABLED": "`false` leaves it out.",
    "NOTION_MCP_URL": "Address of a server `notion`: `http(s)://`, `ws(s)://`, or `stdio://` and a command.",
    "HELPSCOUT_MCP_URL": "Likewise for `helpscout`.",
    "SLACK_MCP_URL": "Likewise for `slack`.",
}
"""What there is, for the page of settings."""

_EXTERNAL = re.compile(r"MCP_EXTERNAL_SERVER_(0|[1-9][0-9]{0,5})_(NAME|URI|TRANSPORT|COMMAND|ARGS|ENABLED)")
_EXTERNAL_PREFIX: Final = "MCP_EXTERNAL_SERVER_"
_ADDRESSES: Final[Mapping[str, str]] = {
    "NOTION_MCP_URL": "notion",
    "HELPSCOUT_MCP_URL": "helpscout",
    "SLACK_MCP_URL": "slack",
}
_ON: Final = ("true", "1", "yes", "on")
_OFF: Final = ("false", "0", "no", "off")
_MOST_RETRIES: Final = 9
_STDIO: Final = "stdio://"


def pool_defaults(environ: Mapping[str, str]) -> dict[str, JsonValue]:
    """Values for pools that do not say it themselves, by their keys."""
    found: dict[str, JsonValue] = {}
    if (milliseconds := _number(environ, "MCP_SERVER_TIMEOUT", least=1, most=86_400_000)) is not None:
        found["call_timeout_seconds"] = milliseconds / 1000
    if (retries := _number(environ, "MCP_RETRY_COUNT", least=0, most=_MOST_RETRIES)) is not None:
        found["retry"] = {"attempts": retries + 1}
    if (calls := _number(environ, "MCP_CONNECTION_POOL_SIZE", least=1, most=10_000)) is not None:
        found["max_in_flight"] = calls
    if text := environ.get("MCP_LOAD_BALANCING_STRATEGY"):
        strategy = read_strategy(text)
        if strategy is None:
            raise _bad("MCP_LOAD_BALANCING_STRATEGY", text, f"Use one of {', '.join(STRATEGIES)}.")
        found["strategy"] = strategy
    return found


def read_servers(environ: Mapping[str, str]) -> dict[str, Entry]:
    """The servers that variables name, by name."""
    if not _is_on(environ, "MCP_ENABLED"):
        return {}
    for each in environ:
        if each.startswith(_EXTERNAL_PREFIX) and environ[each] and not _EXTERNAL.fullmatch(each):
            raise BadInput(
                f"The environment variable {each} is not known.",
                hint=f"Write {_EXTERNAL_PREFIX}1_NAME, …_URI, …_TRANSPORT, …_COMMAND, …_ARGS or …_ENABLED.",
            )
    found: dict[str, Entry] = {}
    for variable, name in _ADDRESSES.items():
        if url := environ.get(variable):
            found[name] = _at(environ, url, kind="", variable=variable)
    for number in sorted({int(match[1]) for each in environ if (match := _EXTERNAL.fullmatch(each)) and environ[each]}):
        named = _external(environ, number)
        if named is not None:
            name, entry = named
            if name in found:
                raise _bad(_variable(number, "NAME"), name, "Another variable names a server so; choose another name.")
            found[name] = entry
    return found


def _external(environ: Mapping[str, str], number: int) -> tuple[str, Entry] | None:
    """Name and entry of the n-th further server; None when it is switched off."""
    if not _is_on(environ, _variable(number, "ENABLED")):
        return None
    said = {key: environ.get(_variable(number, key), "") for key in ("NAME", "URI", "TRANSPORT", "COMMAND", "ARGS")}
    name = said["NAME"]
    if not name:
        raise BadInput(
            f"The environment variable {_variable(number, 'NAME')} is not set, but others of the same number are.",
            hint="Set it to the server's name.",
        )
    if not NAME.fullmatch(name) or name == "ws":
        raise _bad(_variable(number, "NAME"), name, "A name has 1 to 64 letters, digits, '_' or '-', and is not 'ws'.")
    kind = KINDS.get(said["TRANSPORT"].lower(), "")
    if said["TRANSPORT"] and not kind:
        raise _bad(_variable(number, "TRANSPORT"), said["TRANSPORT"], "Use stdio, http, ws or sse.")
    is_command = kind == "stdio" or (not kind and bool(said["COMMAND"]))
    if is_command and said["COMMAND"]:
        words = _words(said["ARGS"], variable=_variable(number, "ARGS"))
        return name, _entry(environ, kind="stdio", command=said["COMMAND"], args=words)
    needed = "COMMAND" if is_command and not said["URI"] else "URI"
    if not said[needed]:
        raise BadInput(
            f"The environment variable {_variable(number, needed)} is not set, which the server {name!r} needs.",
            hint=f"Set it, or set {_variable(number, 'ENABLED')} to false.",
        )
    return name, _at(environ, said["URI"], kind=kind, variable=_variable(number, "URI"))


def _at(environ: Mapping[str, str], url: str, *, kind: str, variable: str) -> Entry:
    """The server at an address."""
    if url.startswith(_STDIO) and kind in ("", "stdio"):
        words = _words(url.removeprefix(_STDIO), variable=variable)
        if not words:
            raise _bad(variable, url, "Write the command behind stdio://.")
        return _entry(environ, kind="stdio", command=words[0], args=words[1:])
    kind = kind or ("ws" if url.startswith(("ws://", "wss://")) else "http")
    if kind == "stdio" or url_trouble(url, "ws" if kind == "ws" else "http") is not None:
        scheme = {"ws": "ws://host:port/path", "stdio": "stdio://command"}.get(kind, "http://host:port/path")
        raise _bad(variable, mask_url(url) if _can_split(url) else "…", f"Write {scheme}.")
    return _entry(environ, kind=kind, url=url)


def _entry(
    environ: Mapping[str, str], *, kind: str, command: str = "", args: tuple[str, ...] = (), url: str = ""
) -> Entry:
    entry = Entry(
        kind=kind,
        command=command,
        args=args,
        env={},
        cwd=None,
        url=url,
        headers={},
        secrets=(),
        own_variables=own_variables(environ),
    )
    return entry.with_secrets(frozenset())


def _words(text: str, *, variable: str) -> tuple[str, ...]:
    if text.lstrip().startswith("["):
        try:
            parsed = cast("JsonValue", json.loads(text))
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, list) or not all(isinstance(word, str) for word in parsed):
            raise _bad(variable, "", 'Write a JSON list of strings, ["-m", "server"], or words as in a shell.')
        return tuple(str(word) for word in parsed)
    try:
        return tuple(shlex.split(text))
    except ValueError:
        raise _bad(variable, "", "A quote in it is not closed.") from None


def _number(environ: Mapping[str, str], variable: str, *, least: int, most: int) -> int | None:
    text = environ.get(variable, "").strip()
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
        raise _bad(variable, text, f"Write a whole number from {least} to {most}.")
    return int(text)


def _is_on(environ: Mapping[str, str], variable: str) -> bool:
    text = environ.get(variable, "").strip()
    if text.lower() not in ("", *_ON, *_OFF):
        raise _bad(variable, text, "Write true or false.")
    return text.lower() not in _OFF


def _variable(number: int, key: str) -> str:
    return f"{_EXTERNAL_PREFIX}{number}_{key}"


def _can_split(url: str) -> bool:
    try:
        mask_url(url)
    except ValueError:
        return False
    return True


def _bad(variable: str, text: str, remedy: str) -> BadInput:
    shown = f": {text[:60]!r}" if text else ""
    return BadInput(f"The environment variable {variable} cannot be used{shown}.", hint=remedy)
