"""A run as JSON: what `stoa run --json` prints, and the events that the log keeps, free of secrets. Pure.

The log refuses what is no JSON and what is too big, and the record of a run must never be lost for that: numbers that
JSON has not become text, and what is long is cut, with a word on how much is missing.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, cast

from pydantic import JsonValue

from host import run_events as events
from host.answer import Answer, ModelAnswer, Step
from pool.redact import MASK, is_secret_name, mask
from stoa.tools import ToolRef

__all__ = ["Data", "answered", "as_json", "failed", "finished", "for_log", "secrets_of", "started", "tool_called"]

Data = tuple[str, dict[str, JsonValue]]
"""An event's type and its data."""

MOST_BYTES: Final = 512 * 2**10
"""Of the JSON of one event: half of what the log takes."""

_SHORTEST_SECRET: Final = 8
_LIMITS: Final = ((65_536, 4_096, 64), (8_192, 512, 32), (1_024, 64, 16), (64, 16, 3))
"""Characters of a text, items of a list or object, and depth: the first that make an event small enough."""


def started(*, run_id: str, task: str, model: str | None, servers: Iterable[str], allow_writes: bool) -> Data:
    from stoa import __version__

    return events.STARTED, {
        "run_id": run_id,
        "task": task,
        "model": model,
        "servers": list(servers),
        "allow_writes": allow_writes,
        "version": __version__,
    }


def tool_called(number: int, step: Step) -> Data:
    """`number` counts the calls of the run, from 1 on."""
    return events.TOOL_CALLED, {
        "step": number,
        "server": step.ref.server,
        "tool": step.ref.tool,
        "arguments": plain(step.arguments),
        "replica": step.replica,
        "latency_seconds": _seconds(step.latency_seconds),
        "is_error": step.is_error,
        "summary": step.summary,
    }


def answered(number: int, answer: ModelAnswer) -> Data:
    return events.MODEL_ANSWERED, {
        "answer": number,
        "model": answer.model,
        "text": answer.text,
        "tool_calls": [{"tool": call.tool, "arguments": plain(call.arguments)} for call in answer.calls],
        "latency_seconds": _seconds(answer.latency_seconds),
        "input_tokens": answer.usage.input_tokens,
        "output_tokens": answer.usage.output_tokens,
        "cost_usd": plain(answer.usage.cost_usd),
    }


def finished(answer: Answer, *, seconds: float) -> Data:
    told = as_json(answer)
    kept = {name: told[name] for name in ("text", "found", "citations", "proposals", "model", "note", "usage")}
    return events.FINISHED, {**kept, "steps": len(answer.steps), "seconds": _seconds(seconds)}


def failed(*, code: str, message: str, hint: str, steps: int, seconds: float) -> Data:
    return events.FAILED, {
        "code": code,
        "message": message,
        "hint": hint,
        "steps": steps,
        "seconds": _seconds(seconds),
    }


def for_log(data: Mapping[str, JsonValue], secrets: Iterable[str]) -> dict[str, JsonValue]:
    """The data as the log may have it: secrets, and arguments with secret names, masked; JSON; not too big."""
    masked = _masked(cast("JsonValue", dict(data)), tuple(secrets))
    kept = cast("dict[str, JsonValue]", masked)
    for limits in _LIMITS:
        cut = {name: _cut(value, *limits) for name, value in kept.items()}
        if len(json.dumps(cut, ensure_ascii=False).encode()) <= MOST_BYTES:
            return cut
        kept = cut
    return kept


def as_json(answer: Answer) -> dict[str, JsonValue]:
    """The answer as a JSON object: what `stoa run --json` prints."""
    return cast("dict[str, JsonValue]", plain(answer))


def secrets_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Values of the environment that must not get into a record, by the names of their variables."""
    return tuple(value for name, value in environ.items() if is_secret_name(name) and len(value) >= _SHORTEST_SECRET)


def plain(value: object) -> JsonValue:
    match value:
        case ToolRef():
            return str(value)
        case Decimal():
            return str(value)
        case Mapping():
            return {str(key): plain(each) for key, each in cast("Mapping[object, object]", value).items()}
        case list() | tuple():
            return [plain(each) for each in cast("Iterable[object]", value)]
        case None | bool() | int() | float() | str():
            return value
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
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


def _seconds(measured: float) -> float:
    return round(max(0.0, measured), 6)


_OURS: Final = frozenset({"input_tokens", "output_tokens"})
"""Fields of the record whose names only sound secret."""


def _cut(value: JsonValue, longest: int, most: int, depth: int) -> JsonValue:
    match value:
        case bool() | None:
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else _shorter(str(value), longest)
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return _shorter(value, longest)
        case list() | dict() if depth <= 0 and value:
            return _missing(len(value))
        case list():
            items = [_cut(each, longest, most, depth - 1) for each in value[:most]]
            return items if len(value) <= most or _is_ours(value) else [*items, _missing(len(value) - most)]
        case dict():
            pairs = list(value.items())
            kept = {_shorter(key, 128): _cut(each, longest, most, depth - 1) for key, each in pairs[:most]}
            return kept if len(pairs) <= most else {**kept, "…": _missing(len(pairs) - most)}


def _is_ours(items: list[JsonValue]) -> bool:
    """A list of objects, as citations are: a text among them would not be what the schema says."""
    return isinstance(items[0], dict)


def _shorter(text: str, longest: int) -> str:
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # halves of a pair: arguments of a command may hold such
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest:,} more characters)"


def _missing(number: int) -> str:
    return f"… ({number:,} more)"
