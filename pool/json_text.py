"""JSON as people and other clients write it: comments and trailing commas are read over, mistakes have a place."""

import json
import re

from pydantic import JsonValue

from pool.trouble import bad

__all__ = ["parse_json"]

# A string, a comment, or a comma before a closing bracket (VS Code's files may have both of the latter).
_PARTS = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\\n])*")|,(?=\s*[}\]])')


def parse_json(text: str, *, source: str) -> JsonValue:
    """The value. Raises `BadInput` with line and column."""
    try:
        return _load(text, source)
    except json.JSONDecodeError:
        pass
    try:
        return _load(_plain(text), source)
    except json.JSONDecodeError as error:
        raise bad(
            source,
            f"line {error.lineno}, column {error.colno}",
            f"this is not JSON: {_lower(error.msg)}",
            "Look for a missing comma, quote or bracket there or just before.",
        ) from None


def _load(text: str, source: str) -> JsonValue:
    def build(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        built = dict(pairs)
        if len(built) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise bad(source, twice, "this key stands twice in the same object", "Remove one of them.")
        return built

    try:
        return json.loads(text, object_pairs_hook=build)
    except RecursionError:
        raise bad(source, "", "it is nested too deeply", "Write it flatter.") from None


def _plain(text: str) -> str:
    """Comments and trailing commas become spaces, so that every position stays what it was."""
    text = _PARTS.sub(lambda part: part[0] if part[0].startswith('"') else re.sub(r"[^\n]", " ", part[0]), text)
    return _TRAILING_COMMA.sub(lambda part: part[1] or " ", text)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
