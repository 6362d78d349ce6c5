"""Whether a tool's structured content is what its output schema promises.

Schema and content are both the server's, so that it decides how much work this is: a pattern like `(a+)+$`, or
definitions that name each other twice, would keep us busy for ever. Patterns are therefore matched in linear time, and
the whole has a limit; what is not judged by then counts as good.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from jsonschema.exceptions import ValidationError
from jsonschema.validators import (
    extend,  # pyright: ignore[reportUnknownVariableType] - it has no types
    validator_for,
)
from jsonschema_specifications import REGISTRY  # pyright: ignore[reportMissingTypeStubs] - it has none
from pydantic import JsonValue
from pydantic_core import SchemaError, SchemaValidator, core_schema, to_json

from stoa.errors import Fault
from stoa.tools import ToolResult

__all__ = ["OutputCheck"]

_log = logging.getLogger(__name__)

MOST_SECONDS: Final = 0.25
"""Of processor time, for one look."""
MAX_UNIQUE: Final = 1000
"""Whether more items than these are all different is not judged: it takes quadratic time."""

_FIELDS: Final = {"schema": "schema", "registry": "_registry", "_resolver": "_resolver"}
"""What validators are made with, and where they keep it."""

_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class _TakesTooLong(Exception):
    pass


class OutputCheck:
    """Whether structured content fits a tool's output schema; the schema is looked through once."""

    def __init__(self, schema: Mapping[str, JsonValue]) -> None:
        self._ends_at = 0.0
        self._matchers: dict[str, SchemaValidator | None] = {}
        self._is_told = False
        self._has_patterns = True  # as the schema for schemas has
        plain = dict(schema)
        kind = validator_for(plain)
        guarded = cast("Any", extend)(kind, {name: self._guard(name, check) for name, check in kind.VALIDATORS.items()})

        def evolve(validator: Any, **changes: Any) -> Any:
            # The library's own would go back to what is not guarded wherever a part of a schema has a `$schema`.
            return guarded(**{name: getattr(validator, kept) for name, kept in _FIELDS.items()} | changes)

        guarded.evolve = evolve
        # A registry of its own: the library would fetch whatever address a schema refers to.
        error = self._first_error(guarded(kind.META_SCHEMA, registry=REGISTRY), plain)
        self._trouble = "" if error is None else f"its output schema is no JSON schema: {error[:300]}"
        self._has_patterns = b"patternProperties" in to_json(plain)
        self._validator: Any = guarded(plain, registry=REGISTRY)

    def __repr__(self) -> str:
        return f"<OutputCheck{' ' + self._trouble if self._trouble else ''}>"

    def check(self, result: ToolResult, *, server: str, tool: str) -> None:
        """Raise `Fault` where the server breaks its own contract. A failure of the tool promises nothing."""
        if result.is_error:
            return
        trouble = self._trouble or self._find(result.structured)
        if trouble:
            raise Fault(
                f"The server {server!r} broke its own contract for {tool!r}: {trouble}",
                hint="Its makers have to mend it.",
            )

    def _find(self, structured: JsonValue) -> str:
        if structured is None:
            return "it promises structured content and gave none"
        try:
            error = self._first_error(self._validator, structured)
        except Exception as failure:  # noqa: BLE001 - references that lead nowhere raise errors of several libraries
            return f"its output schema cannot be used: {str(failure)[:300]}"
        return "" if error is None else f"its answer does not fit: {error[:300]}"

    def _first_error(self, validator: Any, value: object) -> str | None:
        self._ends_at = time.thread_time() + MOST_SECONDS
        try:
            error = next(iter(validator.iter_errors(value)), None)
        except _TakesTooLong:
            if not self._is_told:
                self._is_told = True
                _log.warning("An output schema takes too long to check; what does not fit it may pass.")
            return None
        return None if error is None else str(error.message)

    def _guard(self, name: str, check: _Keyword) -> _Keyword:
        check = {
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "additionalProperties": self._leave_patterns(check),
            "unevaluatedProperties": self._leave_patterns(check),
            "uniqueItems": _unique_if_few(check),
        }.get(name, check)

        def guarded(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
            if time.thread_time() > self._ends_at:
                raise _TakesTooLong
            yield from check(validator, wanted, value, schema) or ()

        return guarded

    def _matches(self, pattern: str, text: str) -> bool | None:
        """None for a pattern that cannot be matched in linear time, or is none."""
        if pattern not in self._matchers:
            try:
                shape = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
                self._matchers[pattern] = SchemaValidator(shape)
            except SchemaError:
                self._matchers[pattern] = None
        matcher = self._matchers[pattern]
        return None if matcher is None else matcher.isinstance_python(text)

    def _pattern(self, validator: Any, pattern: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(value, str) and self._matches(pattern, value) is False:
            yield ValidationError(f"{value[:100]!r} does not match {pattern[:100]!r}")

    def _pattern_properties(self, validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(value, dict):
            for pattern, below in cast("dict[str, Any]", wanted).items():
                for key, part in cast("dict[str, Any]", value).items():
                    if self._matches(pattern, key):
                        yield from validator.descend(part, below, path=key, schema_path=pattern)

    def _leave_patterns(self, check: _Keyword) -> _Keyword:
        """The library's own matching is left out: what patterns of keys may allow is allowed."""

        def checked(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
            if not self._has_patterns:
                yield from check(validator, wanted, value, schema) or ()

        return checked


def _unique_if_few(check: _Keyword) -> _Keyword:
    def checked(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(value, list) and len(cast("list[Any]", value)) <= MAX_UNIQUE:
            yield from check(validator, wanted, value, schema) or ()

    return checked
