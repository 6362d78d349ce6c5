"""Errors on the wire, translated here and nowhere else.

A tool's own failure is a result (`isError`) that a model can read and act on; everything else that goes wrong is a
JSON-RPC error. Both carry the same fields: code, message, hint, retryable, retry_after_seconds. What we did not expect
becomes `fault`: its traceback goes to the log and none of it to the caller.
"""

import difflib
import logging
from collections.abc import Collection, Mapping
from typing import Final, cast

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import JsonValue, ValidationError

from stoa.errors import BadInput, Conflict, Denied, Fault, NotFound, OutcomeUnknown, StoaError, Unavailable

__all__ = ["admit_failures", "as_stoa_error", "explain_arguments", "failed_result", "near", "protocol_error", "unknown"]

log = logging.getLogger(__name__)

MAX_NAMED_ARGUMENTS: Final = 5

# JSON-RPC keeps -32000 to -32099 for servers; MCP itself uses -32000 to -32002, -32020 to -32022 and -32042.
_CODES: Final[Mapping[type[StoaError], int]] = {
    BadInput: types.INVALID_PARAMS,
    NotFound: types.INVALID_PARAMS,
    Denied: -32061,
    Conflict: -32062,
    Unavailable: -32063,
    OutcomeUnknown: -32064,
    Fault: types.INTERNAL_ERROR,
}


def as_stoa_error(error: BaseException, *, doing: str) -> StoaError:
    """The error of ours in an exception: itself, the one it was wrapped around, or a `Fault` that is logged here."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StoaError):
            return seen
        seen = seen.__cause__
    log.error("%s failed", doing, exc_info=error)
    return Fault("Something went wrong inside the server.", hint="Its log says what.")


def failed_result(error: StoaError) -> dict[str, object]:
    """A tool result that says what went wrong, as MCP writes it."""
    return {
        "content": [{"type": "text", "text": str(error)}],
        "structuredContent": _fields(error),
        "isError": True,
        "resultType": "complete",
    }


def admit_failures(output_schema: Mapping[str, object]) -> dict[str, object]:
    """The schema of a tool's result that `failed_result` fits as well: clients check what fails, too, against it."""
    schema = {key: value for key, value in output_schema.items() if key not in {"required", "additionalProperties"}}
    either = [{"required": output_schema.get("required", [])}, {"required": ["code", "message", "hint", "retryable"]}]
    return {**schema, "anyOf": either} if "anyOf" not in schema else {**schema, "allOf": [{"anyOf": either}]}


def protocol_error(error: StoaError, **data: JsonValue) -> MCPError:
    """A JSON-RPC error for requests that have no result to fail in."""
    return MCPError(code=_CODES.get(type(error), types.INTERNAL_ERROR), message=str(error), data=_fields(error) | data)


def unknown(kind: str, name: str, known: Collection[str], **data: JsonValue) -> MCPError:
    """-32602 for a name that nothing has, with the names that look like it."""
    close = near(name, known)
    hint = f"Did you mean {_either(close)}?" if close else ""
    return protocol_error(NotFound(f"Unknown {kind}: {name!r}.", hint=hint), near=list(close), **data)


def near(name: str, known: Collection[str]) -> list[str]:
    """Up to three names that look like this one, the likeliest first."""
    # Cut first: the comparison takes time by the square of the length, and the name comes from outside.
    return difflib.get_close_matches(name[:128], known, n=3, cutoff=0.6)


def explain_arguments(error: ValidationError, schema: Mapping[str, object]) -> BadInput:
    """Which arguments do not fit and what the tool takes instead."""
    properties = cast("Mapping[str, object]", schema.get("properties") or {})
    details = error.errors(include_url=False, include_context=False, include_input=False)
    said = [_explain(detail["type"], detail["loc"], detail["msg"], properties) for detail in details]
    more = len(said) - MAX_NAMED_ARGUMENTS
    message = " ".join(said[:MAX_NAMED_ARGUMENTS]) + (f" And {more} more." if more > 0 else "")
    return BadInput(message, hint=_takes(properties, cast("list[str]", schema.get("required") or [])))


def _explain(kind: str, location: tuple[int | str, ...], message: str, properties: Mapping[str, object]) -> str:
    name = ".".join(str(part) for part in location) or "arguments"
    match kind:
        case "missing_argument" | "missing_keyword_only_argument":
            return f"The argument {name!r} is missing."
        case "missing":
            return f"The field {name!r} is missing."
        case "unexpected_keyword_argument":
            close = near(name, list(properties))
            return f"There is no argument {name[:64]!r}." + (f" Did you mean {_either(close)}?" if close else "")
        case _:
            return f"The argument {name!r} does not fit: {message[:1].lower()}{message[1:].removesuffix('.')}."


def _takes(properties: Mapping[str, object], required: Collection[str]) -> str:
    if not properties:
        return "It takes no arguments."
    names = [f"{name} (required)" if name in required else name for name in properties]
    return f"It takes: {', '.join(names)}."


def _either(names: list[str]) -> str:
    return " or ".join(repr(name) for name in names)


def _fields(error: StoaError) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "retryable": error.retryable,
    }
    if error.retry_after is not None:
        fields["retry_after_seconds"] = error.retry_after
    return fields
