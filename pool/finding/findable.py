"""What a tool is found by: its name, its description, and what is said of its parameters. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import cast

from pydantic import JsonValue

__all__ = ["Findable", "findable"]

# A server says as much as it likes; so much of it is read.
MAX_DESCRIPTION = 8_000
MAX_PARAMETERS = 200
MAX_CHOICES = 50
MAX_SAID = 1_000
_DEEPEST = 4
"""Levels of objects within objects that are looked into."""


@dataclass(frozen=True, slots=True)
class Findable:
    """A tool as the index reads it. `parameters`: what is said of each, by name; inner ones as `outer.inner`."""

    name: str
    description: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def key(self) -> bytes:
        """The same for the same words: what was worked out for a tool holds as long as its key does."""
        digest = blake2b(digest_size=16)
        for part in (self.name, self.description, *(word for pair in self.parameters.items() for word in pair)):
            encoded = part.encode(errors="surrogatepass")
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
        return digest.digest()


def findable(name: str, description: str | None, input_schema: Mapping[str, JsonValue]) -> Findable:
    """From what `tools/list` says. The values that a parameter may take are words of its description: who wants it
    in celsius looks for the tool that has celsius to choose from.
    """
    said: dict[str, str] = {}
    for path, schema in islice(_parameters(input_schema, input_schema, "", _DEEPEST), MAX_PARAMETERS):
        said.setdefault(path, _said(schema))
    return Findable(name, (description or "")[:MAX_DESCRIPTION], said)


def _said(schema: Mapping[str, JsonValue]) -> str:
    description = schema.get("description")
    told = [description] if isinstance(description, str) else []
    choices = schema.get("enum")
    if isinstance(choices, list):
        told += [choice for choice in choices[:MAX_CHOICES] if isinstance(choice, str)]
    return " ".join(told)[:MAX_SAID]


def _parameters(
    schema: Mapping[str, JsonValue], root: Mapping[str, JsonValue], path: str, levels: int
) -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
    """All parameters, the outer before the inner."""
    inner: list[tuple[Mapping[str, JsonValue], str]] = []
    for part in _alternatives(schema, root):
        known = part.get("properties")
        if not isinstance(known, dict):
            continue
        for name, value in known.items():
            here = f"{path}{name}"[:MAX_SAID]
            found = _resolved(value, root)
            yield here, found
            inner += [(found, f"{here}.")]
    if levels > 1:
        for found, here in inner:
            yield from _parameters(found, root, here, levels - 1)


def _alternatives(schema: Mapping[str, JsonValue], root: Mapping[str, JsonValue]) -> Iterator[Mapping[str, JsonValue]]:
    """The schema, its items, and what it is put together from: whichever of them has properties."""
    yield schema
    items = schema.get("items")
    if isinstance(items, dict):
        yield _resolved(items, root)
    for key in ("anyOf", "oneOf", "allOf"):
        parts = schema.get(key)
        if isinstance(parts, list):
            yield from (_resolved(part, root) for part in parts[:MAX_CHOICES])


def _resolved(schema: JsonValue, root: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """The schema, or what its `$ref` within the document points to; empty when it cannot be read."""
    if not isinstance(schema, dict):
        return {}
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    here: JsonValue = cast("JsonValue", root)
    for step in reference.removeprefix("#/").split("/"):
        here = here.get(step) if isinstance(here, dict) else None
    return {**here, **schema} if isinstance(here, dict) else schema
