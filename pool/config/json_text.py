"""JSON as people and other clients write it: comments and trailing commas are read over, mistakes have a place."""

import json
import re
from collections import Counter

from pydantic import JsonValue

from pool.config.trouble import bad

__all__ = ["parse_json"]

# A string, a comment, or a comma before a closing bracket (VS Code's files may have both of the latter).
# What is not closed is taken too, to the end: looking for it again from each later quote takes quadratic time.
_PARTS = re.compile(r'"(?:\\.|[^"\\\n])*+"?|//[^\n]*|/\*(?:.*?\*/|.*)', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\\n])*+"?)|,(?=\s*[}\]])', re.DOTALL)


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
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise bad(source, twice, "this key stands twice in the same object", "Remove one of them.")
        return built

    try:
        value = json.loads(text, object_pairs_hook=build)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise bad(source, "", "it is nested too deeply", "Write it flatter.") from None
    except json.JSONDecodeError:
        raise
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise bad(source, "", f"{half} is half a character", "Write the character itself.") from None
    except ValueError:  # Python reads no longer ones
        raise bad(source, "", "a number in it has thousands of digits", "Write a shorter one.") from None
    return value


def _plain(text: str) -> str:
    """Comments and trailing commas become spaces, so that every position stays what it was."""
    text = _PARTS.sub(lambda part: _blank(part[0]), text)
    return _TRAILING_COMMA.sub(lambda part: part[1] or " ", text)


def _blank(part: str) -> str:
    is_open = part.startswith("/*") and not (part.endswith("*/") and len(part) >= len("/**/"))
    return part if part.startswith('"') or is_open else re.sub(r"[^\n]", " ", part)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
