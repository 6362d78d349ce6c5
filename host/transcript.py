"""The record of a run: one JSON file, `STOA_HOME/runs/<id>.json`, readable by its owner only and free of secrets."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, cast

from pydantic import JsonValue

from host.answer import Answer
from pool.redact import MASK, is_secret_name, mask
from stoa.errors import Unavailable
from stoa.home import open_home
from stoa.tools import ToolRef

__all__ = ["FORMAT", "as_json", "record", "secrets_of", "write"]

FORMAT: Final = 1
"""Raised when a reader of old records would have to know."""

_SHORTEST_SECRET = 8


def record(
    answer: Answer, *, started_at: datetime, finished_at: datetime, secrets: Iterable[str]
) -> dict[str, JsonValue]:
    """The run as JSON. Values named in `secrets`, and arguments whose name says so, are masked."""
    values: dict[str, JsonValue] = {
        "format": FORMAT,
        "started_at": started_at.isoformat(),
        "finished_at": finished_at.isoformat(),
        **as_json(answer),
    }
    return cast("dict[str, JsonValue]", _masked(values, tuple(secrets)))


def as_json(answer: Answer) -> dict[str, JsonValue]:
    """The answer as a JSON object: what `stoa run --json` prints."""
    return cast("dict[str, JsonValue]", _plain(answer))


def secrets_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Values of the environment that must not get into a record, by the names of their variables."""
    return tuple(value for name, value in environ.items() if is_secret_name(name) and len(value) >= _SHORTEST_SECRET)


def write(values: Mapping[str, JsonValue], *, home: Path, run_id: str) -> Path:
    """Put the record in place, whole or not at all. Raises `Unavailable` where the disk does not take it."""
    folder = open_home(home) / "runs"
    path = folder / f"{run_id}.json"
    draft = folder / f".{run_id}.{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(values, file, ensure_ascii=False, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(
            f"The record of the run cannot be written to {str(path)!r}: {error.strerror}.",
            hint="Make room, or set STOA_HOME to a folder that you may write.",
        ) from error
    return path


def _plain(value: object) -> JsonValue:
    match value:
        case ToolRef():
            return str(value)
        case Decimal():
            return str(value)
        case Mapping():
            return {str(key): _plain(each) for key, each in cast("Mapping[object, object]", value).items()}
        case list() | tuple():
            return [_plain(each) for each in cast("Iterable[object]", value)]
        case None | bool() | int() | float() | str():
            return value
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            return str(value)


def _masked(value: JsonValue, secrets: tuple[str, ...], name: str = "") -> JsonValue:
    match value:
        case dict():
            return {key: _masked(each, secrets, key) for key, each in value.items()}
        case list():
            return [_masked(each, secrets, name) for each in value]
        case str() if name not in _OURS and is_secret_name(name):
            return MASK
        case str():
            return mask(value, secrets)
        case _:
            return value


_OURS = frozenset({"input_tokens", "output_tokens"})
"""Fields of the record whose names only sound secret."""
