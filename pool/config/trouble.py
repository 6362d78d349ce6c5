"""Errors of a configuration file: where it is, which key, what was found, what to do."""

import json
from collections.abc import Iterable, Mapping

from pydantic import JsonValue, ValidationError

from pool.nearby import did_you_mean
from pool.redact import is_secret_name
from stoa.errors import BadInput

__all__ = ["bad", "explain_validation", "show"]

MAX_SHOWN = 60


def bad(source: str, path: str, message: str, remedy: str) -> BadInput:
    where = f"{source}: {path}: " if path else f"{source}: "
    return BadInput(f"{where}{message}.", hint=remedy)


def show(value: object) -> str:
    """A value as it stands in the file, cut short."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def explain_validation(
    error: ValidationError,
    *,
    source: str,
    path: str,
    known: Mapping[str, Iterable[str]],
    spelled: Mapping[str, str] | None = None,
) -> BadInput:
    """The first error of pydantic. `known`: the keys there are, by the name of the object that holds them.
    `spelled`: how a key was written, where that is not its name."""
    first = error.errors(include_url=False)[0]
    location = [(spelled or {}).get(str(part), str(part)) for part in first["loc"]]
    where = ".".join([path, *location])
    if first["type"] == "extra_forbidden":
        holder = "" if len(location) == 1 else location[0]
        keys = list(known.get(holder, ()))
        meant = did_you_mean(location[-1], keys, list_all=False)
        return bad(source, where, "this key is not known", meant or f"Known are {', '.join(sorted(keys))}.")
    if first["type"] == "missing":
        return bad(source, where, "this key is missing", "Add it.")
    found: JsonValue = first["input"]
    # Values under env and headers are secrets more often than not.
    is_hidden = any(part in ("env", "headers") or is_secret_name(part) for part in location)
    shown = "" if is_hidden else f", found {show(found)}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return bad(source, where, f"{message}{shown}", "Correct it.")
