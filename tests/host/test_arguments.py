"""Arguments from words: typed by the schema, all faults named at once."""

import pytest
from pydantic import JsonValue

from host.arguments import check, from_json, from_words, skeleton
from stoa.errors import BadInput

SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["query"],
    "$defs": {"Detail": {"type": "string", "enum": ["brief", "full"]}},
    "properties": {
        "query": {"type": "string", "minLength": 1},
        "limit": {"type": "integer", "minimum": 1, "maximum": 50},
        "share": {"type": "number"},
        "exact": {"type": "boolean"},
        "detail": {"$ref": "#/$defs/Detail"},
        "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
        "numbers": {"type": "array", "items": {"type": "integer"}},
        "filter": {"type": "object"},
        "cursor": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "anything": {},
    },
}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("query=a=b", "a=b"),
        ("query=5", "5"),
        ("query=true", "true"),
        ("limit=5", 5),
        ("share=0.5", 0.5),
        ("share=2", 2),
        ("exact=true", True),
        ("tags=a", ["a"]),
        ('tags=["a","b"]', ["a", "b"]),
        ("tags=null", None),
        ("numbers=3", [3]),
        ('filter={"a": 1}', {"a": 1}),
        ("cursor=eyJ", "eyJ"),
        ("cursor=null", None),
        ("anything=[1]", [1]),
        ("anything=word", "word"),
        ("detail=full", "full"),
        ("query=", ""),
    ],
)
def test_a_word_becomes_what_the_schema_says(word: str, value: JsonValue) -> None:
    assert from_words([word], SCHEMA) == {word.partition("=")[0]: value}


def test_a_repeated_key_adds_to_a_list() -> None:
    assert from_words(["tags=a", 'tags=["b"]', "numbers=1", "numbers=2"], SCHEMA) == {
        "tags": ["a", "b"],
        "numbers": [1, 2],
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["query"], ["'query' is not of the form key=value"]),
        (["=x"], ["'=x' is not of the form key=value"]),
        (["query=a", "query=b", "nonsense"], ["'query' is given twice", "'nonsense'"]),
    ],
)
def test_words_that_are_no_arguments_are_named(words: list[str], said: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        from_words(words, SCHEMA)
    for part in said:
        assert part in caught.value.message
    assert "query=string" in caught.value.hint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["limit=five"], ["'limit': 'five' is not of type 'integer'", "'query' is missing"]),
        (["limit=1.5"], ["'limit': '1.5' is not of type 'integer'"]),
        (["limit=true"], ["'limit'"]),
        (["exact=maybe"], ["'exact': 'maybe' is not of type 'boolean'"]),
        (["filter=[1]"], ["'filter'"]),
        (["numbers=x"], ["'numbers.0': 'x' is not of type 'integer'"]),
        (["limit=five", "exact=maybe", "quer=x"], ["'limit'", "'exact'", "'quer' is not an argument (near: query)"]),
    ],
)
def test_words_that_do_not_fit_are_named_together(words: list[str], said: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        check(from_words(words, SCHEMA), SCHEMA)
    for part in said:
        assert part in caught.value.message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, ["'query' is missing"]),
        ({"query": "a", "limt": 1}, ["'limt' is not an argument (near: limit)"]),
        ({"query": "a", "limit": "5"}, ["'limit'", "not of type 'integer'"]),
        ({"query": "a", "limit": 500}, ["'limit'", "maximum of 50"]),
        ({"query": "a", "detail": "most"}, ["'detail'", "brief", "full"]),
        ({"query": ""}, ["'query'"]),
        ({"query": "a", "tags": [1]}, ["'tags'", "is not list"]),
        ({"query": "a", "numbers": [1, "x"]}, ["'numbers.1'", "integer"]),
        ({"limit": 0, "zzz": 1}, ["'query' is missing", "'limit'", "'zzz'"]),
    ],
)
def test_every_fault_of_the_arguments_is_named(arguments: dict[str, JsonValue], said: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        check(arguments, SCHEMA)
    for part in said:
        assert part.lower() in caught.value.message.lower()


def test_arguments_that_fit_pass() -> None:
    check({"query": "a", "limit": 5, "tags": None, "detail": "full", "filter": {"deep": [1]}}, SCHEMA)
    check({}, {"type": "object"})


@pytest.mark.parametrize("text", ["", "{", "[1]", "nonsense", '{"a": }', "null"])
def test_args_that_are_no_json_object_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--args"):
        from_json(text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 200 + "]" * 200, "nested more than"),
        ("9" * 5000, "digits"),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ('"\\ud800"', "not valid text"),
        ('{"\\udcff": 1}', "not valid text"),
    ],
    ids=["broken", "deep", "long", "NaN", "infinite", "half", "half-name"],
)
def test_args_that_would_break_on_the_way_are_refused(value: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        from_json(f'{{"a": {value}}}')
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "word",
    ["numbers=" + "[" * 100_000, "limit=" + "9" * 5000, "limit=NaN", "limit=1e999", "query=\udcff", "\udcff=1"],
    ids=["deep", "long", "NaN", "infinite", "half", "half-name"],
)
def test_a_word_that_would_break_on_the_way_is_refused(word: str) -> None:
    with pytest.raises(BadInput) as caught:
        check({"query": "a", **from_words([word], SCHEMA)}, SCHEMA)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000])
def test_a_text_may_look_like_any_json(text: str) -> None:
    assert from_words([f"query={text}"], SCHEMA) == {"query": text}


def test_the_skeleton_shows_required_arguments_first() -> None:
    assert skeleton(SCHEMA).startswith(
        'query=string [limit=integer] [share=number] [exact=boolean] [detail="brief"|"full"]'
    )
