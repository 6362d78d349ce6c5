"""JSON: checked, then written out readably in one fenced block, with numbers and repeated keys exactly as they came."""

import json
import re
from collections.abc import Iterator
from typing import cast

from servers.content.formats.draft import Draft, check_length
from servers.content.formats.limits import MAX_JSON_DEPTH, MAX_JSON_VALUES
from stoa.errors import BadInput

__all__ = ["read"]

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)  # possessive: never looks back
_WORDS = {True: "true", False: "false", None: "null"}
_TITLE_KEYS = ("title", "name", "headline", "subject", "$id", "id")


class _Number(str):
    """A number as it was written: 1.10 stays 1.10, and a thousand digits cost nothing."""

    __slots__ = ()


class _Pairs(list[tuple[str, object]]):
    """An object as pairs, so that a key given twice is shown twice."""


def read(text: str) -> Draft:
    _check_size(text)
    try:
        value = cast(
            "object",
            json.loads(
                text,
                parse_float=_Number,
                parse_int=_Number,
                parse_constant=_refuse_constant,
                object_pairs_hook=_Pairs,
            ),
        )
    except json.JSONDecodeError as error:
        raise BadInput(
            f"The JSON is not valid: {error.msg} at line {error.lineno}, column {error.colno}.",
            hint="Correct it, or send it as text/plain.",
        ) from error
    parts: list[str] = []
    length = 0
    for part in _write(value, ""):
        length += len(part)
        check_length(length)
        parts.append(part)
    body = "".join(parts)
    fence = "```"
    while fence in body:
        fence += "`"
    return Draft(_title(value), f"{fence}json\n{body}\n{fence}")


def _refuse_constant(name: str) -> object:
    raise BadInput(f"The JSON is not valid: {name} is not a JSON value.", hint="Use null instead, or send text/plain.")


def _check_size(text: str) -> None:
    """Refuse what the parser would take long or nest deeply for, before it starts."""
    if sum(map(text.count, ",[{")) > MAX_JSON_VALUES:
        raise BadInput(f"The JSON holds more than {MAX_JSON_VALUES:,} values.", hint="Split it into smaller documents.")
    depth = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise BadInput(
                    f"The JSON is nested deeper than {MAX_JSON_DEPTH} levels (at offset {token.start()}).",
                    hint="Flatten it, or send it as text/plain.",
                )
        elif first in "]}":
            depth -= 1


def _write(value: object, indent: str) -> Iterator[str]:
    inner = indent + "  "
    if isinstance(value, _Pairs) and value:
        lead = "{\n"
        for key, item in value:
            yield f"{lead}{inner}{_quote(key)}: "
            yield from _write(item, inner)
            lead = ",\n"
        yield f"\n{indent}}}"
    elif isinstance(value, list) and value and not isinstance(value, _Pairs):
        items = cast("list[object]", value)
        if not any(isinstance(item, list) for item in items) and len(items) <= 1000:
            line = "[" + ", ".join(_scalar(item) for item in items) + "]"
            if len(line) <= 100:
                yield line
                return
        lead = "[\n"
        for item in items:
            yield lead + inner
            yield from _write(item, inner)
            lead = ",\n"
        yield f"\n{indent}]"
    else:
        yield _scalar(cast("object", value))


def _scalar(value: object) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, _Pairs):
        return "{}"
    return _WORDS[value] if value is None or isinstance(value, bool) else "[]"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _title(value: object) -> str | None:
    if not isinstance(value, _Pairs):
        return None
    by_key = {key: item for key, item in reversed(value) if isinstance(item, str) and not isinstance(item, _Number)}
    return next((by_key[key] for key in _TITLE_KEYS if by_key.get(key, "").strip()), None)
