"""Reading a tool's JSON Schema as far as the host has to: which properties there are, and what each may be. Pure."""

from collections.abc import Iterator, Mapping
from typing import cast

from pydantic import JsonValue

__all__ = ["Schema", "has_type", "items", "kinds", "properties", "required", "resolve", "variants"]

Schema = Mapping[str, JsonValue]

_DEEPEST = 8
"""References followed in a row; a schema that refers to itself ends here."""


def properties(schema: Schema) -> dict[str, Schema]:
    """The properties of an object schema, references resolved."""
    found = schema.get("properties")
    if not isinstance(found, Mapping):
        return {}
    return {name: resolve(value, schema) for name, value in found.items() if isinstance(value, Mapping)}


def required(schema: Schema) -> tuple[str, ...]:
    names = schema.get("required")
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def items(schema: Schema, root: Schema) -> Schema:
    """The schema of an array's items; empty where it is not said."""
    found = schema.get("items")
    return resolve(found, root) if isinstance(found, Mapping) else {}


def variants(schema: Schema, root: Schema) -> tuple[Schema, ...]:
    """The alternatives of `anyOf` and `oneOf` (an optional value is `anyOf` with `null`), or the schema itself."""
    for key in ("anyOf", "oneOf"):
        alternatives = schema.get(key)
        if isinstance(alternatives, list):
            return tuple(resolve(each, root) for each in alternatives if isinstance(each, Mapping))
    return (schema,)


def has_type(schema: Schema, root: Schema, wanted: str) -> bool:
    return any(wanted in kinds(variant) for variant in variants(schema, root))


def kinds(schema: Schema) -> Iterator[str]:
    """The JSON types that one alternative allows; none where the schema does not say."""
    kind = schema.get("type")
    if isinstance(kind, str):
        yield kind
    elif isinstance(kind, list):
        yield from (each for each in kind if isinstance(each, str))
    elif isinstance(schema.get("enum"), list):
        yield "string"


def resolve(schema: Schema, root: Schema) -> Schema:
    """Follow `$ref` within the document (`#/$defs/Hit`); what cannot be followed is an empty schema.

    What stands beside the reference (a description) is kept. The definitions go along, so that inner references
    still resolve against what is returned.
    """
    for _ in range(_DEEPEST):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            break
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**_follow(reference, root), **beside}
    definitions = root.get("$defs")
    return {"$defs": definitions, **schema} if definitions is not None else schema


def _follow(reference: str, root: Schema) -> Schema:
    here: JsonValue = cast("JsonValue", root)
    for step in reference.removeprefix("#/").split("/"):
        here = here.get(step) if isinstance(here, dict) else None
    return here if isinstance(here, dict) else {}
