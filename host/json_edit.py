"""Putting one member into a JSON file, and taking it out again, without touching a byte of the rest. Pure.

The file is edited as text: order, indentation, comments and trailing commas of VS Code's dialect stay as they are. The
text has to be valid already (`pool.config.json_text` tells where it is not).
"""

import json
import re
from dataclasses import dataclass
from itertools import pairwise

from pydantic import JsonValue

__all__ = ["with_member", "without_member"]

_TOKEN = re.compile(r'\s+|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|[{}\[\],:]|[^\s{}\[\],:"/]+', re.DOTALL)
_NEWLINE = re.compile(r"[ \t]*\r?\n")
_UNIT = "  "


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a member of an object stands. `comma` is the place of the comma behind it, if there is one."""

    name: str
    start: int
    value: int
    end: int
    comma: int | None


@dataclass(frozen=True, slots=True)
class _Object:
    """`start` and `end` are its brackets; `filled` is where the last member, comma or comment within it ends, and
    `needs_line` whether that is a comment which the end of its line ends.
    """

    start: int
    end: int
    filled: int
    needs_line: bool
    members: tuple[_Member, ...]

    def find(self, name: str) -> _Member | None:
        return next((member for member in self.members if member.name == name), None)


def with_member(text: str, holder: str, name: str, value: JsonValue) -> str:
    """The text with `value` as the member `name` of the object `holder` of the root; either is made where missing."""
    root = _read(text, 0)
    held = root.find(holder)
    if held is None:
        return _insert(text, root, holder, {name: value})
    inner = _read(text, held.value)
    there = inner.find(name)
    if there is None:
        return _insert(text, inner, name, value)
    return text[: there.value] + _rendered(text, value, _indent(text, there.start)) + text[there.end :]


def without_member(text: str, holder: str, name: str) -> str:
    """The text without that member; the same text where it is not there."""
    held = _read(text, 0).find(holder)
    inner = _read(text, held.value) if held is not None else None
    there = inner.find(name) if inner is not None else None
    if inner is None or there is None:
        return text
    before = next((one for one, two in pairwise(inner.members) if two == there), None)
    head, tail = text[: there.start], text[there.end :]
    if there.comma is not None:
        tail = text[there.end : there.comma] + text[there.comma + 1 :]
    elif before is not None and before.comma is not None:
        head = text[: before.comma] + text[before.comma + 1 : there.start]
    # The line that the member stands on goes, but for what else is on it.
    bare, after = head.rstrip(), tail.lstrip()
    if _NEWLINE.match(tail) or (after.startswith("}") and not _ends_in_line_comment(text, inner.start, there.start)):
        is_empty = len(inner.members) == 1 and bare.endswith("{")
        return bare + (after if is_empty else tail)
    return head + after if there.comma is not None else head.rstrip(" \t") + tail


def _ends_in_line_comment(text: str, start: int, end: int) -> bool:
    found = [match[0] for match in _TOKEN.finditer(text, start, end) if not match[0].isspace()]
    return bool(found) and found[-1].startswith("//")


def _insert(text: str, into: _Object, name: str, value: JsonValue) -> str:
    """As the last member, behind whatever comment follows the present last one."""
    last = into.members[-1] if into.members else None
    newline = "\r\n" if "\r\n" in text else "\n"
    own = _indent(text, into.start)
    is_inline = "\n" not in (text[into.start : last.end] if last else text.strip()) and not into.needs_line
    if is_inline and text[: into.end].strip() != "{":
        lead, indent, tail = (" " if last else ""), None, ""
    else:
        indent = _indent(text, last.start) if last and not is_inline and _begins_line(text, last) else own + _unit(text)
        lead = newline + indent
        tail = "" if last is not None or "\n" in text[into.filled : into.end] else newline + own
    member = f"{lead}{json.dumps(name, ensure_ascii=False)}: {_rendered(text, value, indent)}"
    trails = last is not None and last.comma is not None
    member += ("," if trails else "") + tail
    comma = "," if last is not None and not trails else ""
    at = last.end if last is not None else into.filled
    return text[:at] + comma + text[at : into.filled] + member + text[into.filled :]


def _rendered(text: str, value: JsonValue, indent: str | None) -> str:
    if indent is None:
        return json.dumps(value, ensure_ascii=False)
    newline = "\r\n" if "\r\n" in text else "\n"
    return json.dumps(value, ensure_ascii=False, indent=_unit(text)).replace("\n", newline + indent)


def _indent(text: str, at: int) -> str:
    """What the line of this place begins with."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _begins_line(text: str, member: _Member) -> bool:
    return not text[text.rfind("\n", 0, member.start) + 1 : member.start].strip()


def _unit(text: str) -> str:
    """What one level is indented by: as the root's first member is."""
    root = _read(text, 0)
    first = root.members[0] if root.members else None
    found = _indent(text, first.start) if first and "\n" in text[root.start : first.start] else ""
    return found or _UNIT


def _read(text: str, at: int) -> _Object:
    """The object that begins at this place, or behind the comments and spaces there.

    Raises `ValueError` for a comma that separates nothing, which `parse_json` reads over.
    """
    members: list[_Member] = []
    depth, start, filled, needs_line = 0, at, at, False
    key: tuple[str, int] | None = None
    value, end = -1, -1
    for match in _TOKEN.finditer(text, at):
        part, place = match[0], match.start()
        if part[0].isspace():
            continue
        is_comment = part.startswith(("//", "/*"))
        if part == "}" and depth == 1:
            if key is not None:
                members.append(_Member(key[0], key[1], value, end, None))
            return _Object(start, place, filled, needs_line, tuple(members))
        if depth == 0 and not is_comment:
            start = place  # the bracket itself
        filled, needs_line = match.end(), part.startswith("//")
        if is_comment:
            continue
        if part in "{[":
            if depth == 1 and value < 0:
                value = place
            depth += 1
        elif part in "}]":
            depth -= 1
            end = match.end()
        elif depth == 1 and part == ",":
            if key is None:
                line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
                raise ValueError(f"line {line}, column {column}: a comma with nothing before it")
            members.append(_Member(key[0], key[1], value, end, place))
            key, value = None, -1
        elif depth == 1 and part != ":":
            if key is None:
                key = (str(json.loads(part)), place)
            else:
                value, end = place, match.end()
    raise ValueError("no object there")
