"""Arguments of `stoa call` from `key=value` words or a JSON object, typed and checked by the tool's schema. Pure.

All that is wrong is said at once, before anything is sent.
"""

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol, cast

from pydantic import JsonValue

from host.schema import Schema, items, kinds, properties, required, variants
from stoa.errors import BadInput

__all__ = ["check", "from_json", "from_words", "skeleton"]

MAX_DEPTH: Final = 100
MAX_DIGITS: Final = 1000
MAX_SHOWN: Final = 200


def from_words(given: Sequence[str], schema: Schema) -> dict[str, JsonValue]:
    """`key=value` words as arguments; a key given again adds to a list where the schema allows one.

    A text that fits no kind of its argument stays as it is, for `check` to name it beside all other faults.
    """
    known = properties(schema)
    arguments: dict[str, JsonValue] = {}
    wrong: list[str] = []
    for word in given:
        name, equals, text = word.partition("=")
        if not equals or not name:
            wrong.append(f"{word!r} is not of the form key=value")
            continue
        value = _typed(text, known[name], schema) if name in known else text
        before = arguments.get(name)
        if name not in arguments:
            arguments[name] = value
        elif isinstance(before, list) and isinstance(value, list):
            arguments[name] = [*before, *value]
        else:
            wrong.append(f"{name!r} is given twice")
    if wrong:
        raise BadInput(_sentence(wrong), hint=_usage(schema))
    _refuse_unsendable(arguments)
    return arguments


def from_json(text: str) -> dict[str, JsonValue]:
    """The object given with `--args`. Raises `BadInput` with the place of the mistake."""
    example = """Write it in single quotes: --args '{"limit": 3}'."""
    try:
        value = _parsed(text)
    except ValueError as error:
        where = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise BadInput(f"--args is not JSON: {where}.", hint=example) from None
    if not isinstance(value, dict):
        raise BadInput("--args is JSON, but not an object.", hint=example)
    _refuse_unsendable(value)
    return value


def check(arguments: Mapping[str, JsonValue], schema: Schema) -> None:
    """Raise one `BadInput` that names all that is missing, unknown or wrong."""
    known = properties(schema)
    wrong = [f"{name!r} is not an argument{_near(name, known)}" for name in arguments if name not in known]
    if missing := [repr(name) for name in required(schema) if name not in arguments]:
        wrong.append(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    for name, fault in _faults({name: value for name, value in arguments.items() if name in known}, schema):
        wrong.append(f"{name!r}: {fault}")
    if wrong:
        raise BadInput(_sentence(wrong), hint=_usage(schema))


def skeleton(schema: Schema) -> str:
    """How the arguments are written: required ones first, optional ones in brackets."""
    needed, known = required(schema), properties(schema)
    first = [f"{name}={_said(known.get(name, {}), schema)}" for name in needed]
    return " ".join(first + [f"[{name}={_said(value, schema)}]" for name, value in known.items() if name not in needed])


class _SchemaError(Protocol):
    """The part of `jsonschema.ValidationError` that is read here; the library brings no types."""

    validator: str
    message: str
    path: Sequence[str | int]


def _faults(arguments: dict[str, JsonValue], schema: Schema) -> Iterator[tuple[str, str]]:
    """Argument and fault, as the schema's own rules find them."""
    from jsonschema import Draft202012Validator  # pyright: ignore[reportMissingTypeStubs]  # only `stoa call` needs it

    validator = Draft202012Validator(dict(schema))
    found = cast("Iterator[_SchemaError]", validator.iter_errors(arguments))  # pyright: ignore[reportUnknownMemberType]  # as above
    for error in found:
        if error.path and error.validator not in {"required", "additionalProperties"} | {"anyOf", "oneOf"}:
            yield ".".join(map(str, error.path)), _shortened(error.message)
        elif error.path:
            inner = _shortened(error.message) if error.validator == "required" else f"is not {_said_at(error, schema)}"
            yield ".".join(map(str, error.path)), inner


def _said_at(error: _SchemaError, schema: Schema) -> str:
    name = str(error.path[0])
    return _said(properties(schema).get(name, {}), schema)


def _parsed(text: str) -> JsonValue:
    """JSON, and no more than JSON. Raises `ValueError` also for what Python would read but no server understands."""
    try:
        return cast("JsonValue", json.loads(text, parse_int=_int, parse_float=_float, parse_constant=_no_number))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(_shortened(text))


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number that JSON can hold")


def _refuse_unsendable(arguments: dict[str, JsonValue]) -> None:
    """Raise `BadInput` for what would break on the way: half characters, and nesting that no reader follows."""
    waiting: list[tuple[JsonValue, int]] = [(arguments, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise BadInput(f"The arguments are nested more than {MAX_DEPTH} deep.", hint="Make them flatter.")
        if isinstance(value, dict):
            waiting += [(each, depth + 1) for pair in value.items() for each in pair]
        elif isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]
        elif isinstance(value, str) and not _is_text(value):
            raise BadInput(f"{_shortened(ascii(value))} is not valid text.", hint="Write the arguments in UTF-8.")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shortened(text: str) -> str:
    """For a message: the value in it may be of any length."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN // 2]}…{text[-MAX_SHOWN // 2 :]}"


def _typed(text: str, schema: Schema, root: Schema) -> JsonValue:
    """The text as the most special kind that it fits, else as it is."""
    allowed = {kind for variant in variants(schema, root) for kind in kinds(variant)}
    try:
        value = _parsed(text)
    except ValueError:
        value = text
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    fits = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "integer": number is not None and number == int(number),
        "number": number is not None,
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }
    if not allowed or any(fits.get(kind, False) for kind in allowed):
        return value
    if "array" in allowed and "string" not in allowed:
        # One word is a list of one, so that tags=a tags=b can be written.
        nothing: Schema = {}
        element = next((items(each, root) for each in variants(schema, root) if "items" in each), nothing)
        return [_typed(text, element, root)]
    return text


def _said(schema: Schema, root: Schema) -> str:
    """A kind in a word or two: `integer`, `"brief"|"full"`, `list of string`."""
    said: list[str] = []
    for variant in variants(schema, root):
        choices = variant.get("enum")
        if isinstance(choices, list):
            said.extend(json.dumps(choice) for choice in choices)
        elif "array" in kinds(variant):
            said.append("list")
        else:
            said.extend(kind for kind in kinds(variant) if kind != "null")
    return "|".join(dict.fromkeys(said)) or "any"


def _usage(schema: Schema) -> str:
    return f"Arguments: {skeleton(schema)}" if properties(schema) else "This tool takes no arguments."


def _near(name: str, known: Mapping[str, Schema]) -> str:
    near = difflib.get_close_matches(name, known, n=2)
    return f" (near: {', '.join(near)})" if near else ""


def _sentence(wrong: Sequence[str]) -> str:
    text = "; ".join(wrong)
    return f"{text[:1].upper()}{text[1:]}."
