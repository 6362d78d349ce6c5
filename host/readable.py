"""A tool's result in a few lines for people, whatever its shape. Pure."""

from collections.abc import Mapping

from pydantic import JsonValue

from host.planner import PASSAGE_FIELDS
from stoa.tools import ToolResult

__all__ = ["first_line", "in_words", "outline"]

_TITLES = ("title", "name", "subject", "label", "id")
_TEXTS = ("markdown", *PASSAGE_FIELDS)
LONGEST_LINE = 100
LONGEST_TEXT = 2_000
"""Characters of a text that are shown; the whole of it is one `stoa call` away."""


def in_words(result: ToolResult) -> str:
    """One line on what came back: `10 hits`, `no documents`, or how its text begins."""
    listed = _longest_list(result.structured)
    if listed is not None:
        name, found = listed
        words = name.replace("_", " ")
        one = words[:-1] if len(found) == 1 and words.endswith("s") else words
        return f"{len(found) or 'no'} {one}"
    return first_line(result.text)


def outline(result: ToolResult) -> str:
    """What was looked up: a line for each object of a list, else its text, else its fields."""
    structured = result.structured
    listed = _longest_list(structured)
    if listed is not None:
        name, found = listed
        lines = [_line(each) for each in found] or [f"There are no {name.replace('_', ' ')}."]
        more = isinstance(structured, dict) and structured.get("next_cursor")
        return "\n".join([*lines, "… and more"] if more else lines)
    if isinstance(structured, dict):
        text = next((value for name in _TEXTS if isinstance(value := structured.get(name), str) and value), None)
        if text is not None:
            return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT].rstrip()} …"
        return "\n".join(f"{name}: {_cell(value)}" for name, value in structured.items() if value is not None)
    return result.text if len(result.text) <= LONGEST_TEXT else f"{result.text[:LONGEST_TEXT].rstrip()} …"


def first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"


def _longest_list(structured: JsonValue) -> tuple[str, list[JsonValue]] | None:
    """The list of objects that a result is about; an empty one counts where there is no other."""
    if not isinstance(structured, dict):
        return None
    lists = [(name, value) for name, value in structured.items() if isinstance(value, list)]
    of_objects = [(name, value) for name, value in lists if all(isinstance(each, dict) for each in value)]
    if not of_objects or any(isinstance(structured.get(name), str) for name in _TEXTS):
        return None
    return max(of_objects, key=lambda pair: len(pair[1]))


def _line(value: JsonValue) -> str:
    if not isinstance(value, dict):
        return _cell(value)
    title = next((text for name in _TITLES if isinstance(text := value.get(name), str) and text), "")
    identity = value.get("id")
    behind = f"  ({identity})" if isinstance(identity, str) and identity != title else ""
    return f"{title}{behind}" if title else _fields(value)


def _fields(value: Mapping[str, JsonValue]) -> str:
    return first_line(", ".join(f"{name}={_cell(each)}" for name, each in value.items()))


def _cell(value: JsonValue) -> str:
    return value if isinstance(value, str) else str(value)
