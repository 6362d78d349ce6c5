"""The keyless default: which tools to call for a task, and whether what they found answers it. Pure.

The planner knows no server by name. It calls on its own only read-only tools of trusted servers whose required
arguments the task itself fills: one free-text query, or an id in quotes. Whatever else fits the task is proposed as
a command. It recognises a search by the shape of its result (a list of objects that carry a passage), answers with
extracts of what was found, and says "nothing found" rather than guess.
"""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from host.answer import Proposal
from host.schema import Schema, has_type, items, properties, required
from pool.catalogue import ToolInfo
from pool.finding.findable import findable
from pool.finding.index import ToolIndex
from pool.finding.words import QUESTION_WORDS, terms, words
from stoa.tools import ToolCall

__all__ = ["MAX_PROPOSALS", "MAX_SEARCHES", "PASSAGE_FIELDS", "Plan", "is_question", "is_search", "plan"]

MAX_SEARCHES = 4
"""Search tools called for one task; they run at once, the best ranked first."""
MAX_PROPOSALS = 3

PASSAGE_FIELDS = ("passage", "snippet", "excerpt", "extract", "text", "body", "content", "summary")
"""Where a hit carries what was found, best first."""
_QUERY_NAMES = frozenset(
    {"query", "q", "question", "search", "search_query", "text", "terms", "term", "keywords", "prompt", "topic"}
)
_ID_NAME = re.compile(r"(^|_)(id|ids|key|uri|url|path|name|slug|email|cursor|token)$")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|`([^`]+)`|(?<!\w)'([^']+)'(?!\w)")
_POLITE = re.compile(
    r"^\s*((please|kindly|can you|could you|would you|will you|i want( you)? to|i need( you)? to|i would like( you)? to"
    r"|help me( to)?|let us|let's)\s+)+",
    re.IGNORECASE,
)
_ALIKE = (
    {"get", "show", "open", "read", "fetch", "display", "print"},
    {"list", "show", "enumerate"},
    {"delete", "remove", "erase", "drop", "forget"},
    {"create", "add", "make", "new"},
    {"ingest", "import", "upload", "add", "index", "load"},
    {"update", "change", "edit", "set", "modify", "rename"},
    {"send", "post", "reply", "write"},
)


@dataclass(frozen=True, slots=True)
class Plan:
    """`searches` look for evidence, `lookups` are the one thing the task names; both are safe to run as they stand."""

    searches: tuple[ToolCall, ...]
    lookups: tuple[ToolCall, ...]
    proposals: tuple[Proposal, ...]


def plan(task: str, tools: Sequence[ToolInfo], *, trusted: Collection[str]) -> Plan:
    """What to call for the task, and what to propose instead of calling. The same input gives the same plan.

    `trusted` names the servers that are believed when they call a tool read-only.
    """
    asked, question = _POLITE.sub("", task), is_question(task)
    known = [findable(tool.ref.tool, tool.description, tool.input_schema) for tool in tools]
    scores = ToolIndex(known).scores(task)
    order = sorted(range(len(tools)), key=lambda position: -scores[position])
    ranked = [tools[position] for position in order]
    named = [] if question else [tool for tool in ranked if _is_named(tool, asked)]
    lookups, proposals = list[ToolCall](), list[Proposal]()
    for tool in named:
        if is_search(tool):
            continue
        arguments, missing = _fill(tool, asked)
        if not (tool.read_only and tool.ref.server in trusted) or missing:
            proposals.append(_propose(tool, trusted, arguments, missing))
        elif arguments or _says_no_more(tool, asked):
            lookups.append(ToolCall(tool.ref, arguments))
    if lookups or (proposals and not any(is_search(tool) for tool in named)):
        return Plan((), tuple(lookups[:1]), tuple(proposals[:MAX_PROPOSALS]))
    searches = list[ToolCall]()
    for tool in ranked:
        query = _query_name(tool) if is_search(tool) and tool.read_only else None
        if query is None:
            continue
        most = properties(tool.input_schema)[query].get("maxLength")
        call = ToolCall(tool.ref, {query: _shortened(asked.strip(), most), **_in_full(tool)})
        if tool.ref.server in trusted:
            searches.append(call)
        else:
            proposals.append(_propose(tool, trusted, call.arguments, ()))
    return Plan(tuple(searches[:MAX_SEARCHES]), (), tuple(proposals[:MAX_PROPOSALS]))


def is_question(task: str) -> bool:
    """Whether the task asks to know something, rather than to have something done."""
    bare = _POLITE.sub("", task)
    first = next(iter(words(bare)), "")
    return first in QUESTION_WORDS or (bare == task and task.rstrip().endswith("?"))


def is_search(tool: ToolInfo) -> bool:
    """Whether the tool takes one free-text query and answers with a list of objects that carry a passage."""
    return _query_name(tool) is not None and _answers_with_hits(tool.output_schema or {})


def _answers_with_hits(schema: Schema) -> bool:
    for value in properties(schema).values():
        if has_type(value, schema, "array"):
            fields = properties(items(value, schema))
            if any(has_type(fields[name], fields[name], "string") for name in PASSAGE_FIELDS if name in fields):
                return True
    return False


def _query_name(tool: ToolInfo) -> str | None:
    """The argument that takes free text, when the tool needs nothing else."""
    known, needed = properties(tool.input_schema), required(tool.input_schema)
    if len(needed) > 1:
        return None
    for name in needed or sorted(_QUERY_NAMES & known.keys()):
        value = known.get(name, {})
        if has_type(value, tool.input_schema, "string") and "enum" not in value and not _ID_NAME.search(name):
            return name
    return None


def _shortened(text: str, most: JsonValue) -> str:
    """As much of the text as the tool takes, cut between two words where there are two."""
    if not isinstance(most, int) or len(text) <= most:
        return text
    head, _, _ = text[: most + 1].rpartition(" ")
    return head.rstrip() or text[:most]


def _in_full(tool: ToolInfo) -> dict[str, JsonValue]:
    """Ask for whole passages where that can be asked for: an extract is chosen from them."""
    detail = properties(tool.input_schema).get("detail", {}).get("enum")
    return {"detail": "full"} if isinstance(detail, list) and "full" in detail else {}


def _is_named(tool: ToolInfo, task: str) -> bool:
    """Whether the task begins with the tool's verb (or one like it) and speaks of its object.

    The very verb alone is enough for what is only proposed: "ingest notes.md" does not say "document".
    """
    said = words(task)
    verb, *objects = words(tool.ref.tool)
    if not said:
        return False
    speaks_of_it = bool(set(terms(" ".join(objects))) & set(terms(task)))
    if said[0] == verb:
        return speaks_of_it or not tool.read_only
    return speaks_of_it and any({said[0], verb} <= group for group in _ALIKE)


def _fill(tool: ToolInfo, task: str) -> tuple[dict[str, JsonValue], tuple[str, ...]]:
    """Required arguments that the task gives, and the names of those that it does not.

    Strings come from quotes, in order; closed sets from a word of the task. Nothing is guessed.
    """
    known, needed = properties(tool.input_schema), required(tool.input_schema)
    quoted = [next(part for part in match if part) for match in _QUOTED.findall(task)]
    said = set(words(task))
    arguments: dict[str, JsonValue] = {}
    for name in needed:
        value = known.get(name, {})
        choices = value.get("enum")
        if isinstance(choices, list):
            fitting = [choice for choice in choices if isinstance(choice, str) and choice.casefold() in said]
            if len(fitting) == 1:
                arguments[name] = fitting[0]
        elif quoted and has_type(value, tool.input_schema, "string"):
            arguments[name] = quoted.pop(0)
    return arguments, tuple(name for name in needed if name not in arguments)


def _says_no_more(tool: ToolInfo, task: str) -> bool:
    """Whether the task is the tool's own name in other words.

    "List the documents" is; "list the ways to lock a file" asks for something else.
    """
    verb = words(tool.ref.tool)[0]
    alike = " ".join(word for group in _ALIKE if verb in group for word in sorted(group))
    return set(terms(task)) <= set(terms(f"{tool.ref.tool}\n{tool.description}\n{alike}"))


def _propose(
    tool: ToolInfo, trusted: Collection[str], arguments: Mapping[str, JsonValue], missing: tuple[str, ...]
) -> Proposal:
    given = [f"{name}={shlex.quote(str(value))}" for name, value in arguments.items()]
    command = " ".join(("stoa call", str(tool.ref), *given, *(f"{name}=…" for name in missing)))
    if not tool.read_only:
        why = "It changes something, so it is left to you."
    elif tool.ref.server not in trusted:
        why = f"The server {tool.ref.server!r} is not marked as trusted in mcp.json."
    else:
        why = "The task does not give all of its arguments."
    if not given and not missing and properties(tool.input_schema):
        # None is required by itself, yet it may need one of several: the schema does not say.
        why += f" What it takes: stoa tools {tool.ref.tool} --server {tool.ref.server}"
    return Proposal(command, why, missing)
