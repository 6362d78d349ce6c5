"""Results in words."""

import pytest
from pydantic import JsonValue

from host.readable import LONGEST_TEXT, first_line, in_words, outline
from stoa.tools import Block, ToolResult


def result(structured: JsonValue, text: str = "") -> ToolResult:
    return ToolResult((Block("text", text, {"type": "text", "text": text}),), structured)


@pytest.mark.parametrize(
    ("structured", "said"),
    [
        ({"hits": [{"a": 1}, {"a": 2}], "next_cursor": None}, "2 hits"),
        ({"open_tickets": [{"a": 1}]}, "1 open ticket"),
        ({"hits": []}, "no hits"),
        ({"tags": ["a"], "n": 1}, "first"),
        (None, "first"),
    ],
)
def test_a_result_is_summed_up_in_a_few_words(structured: JsonValue, said: str) -> None:
    assert in_words(result(structured, "first\nsecond")) == said


@pytest.mark.parametrize(
    ("structured", "said"),
    [
        ({"pages": [{"title": "A", "id": "1"}, {"id": "2"}, {"size": 3}]}, "A  (1)\n2\nsize=3"),
        ({"pages": [{"name": "A"}], "next_cursor": "x"}, "A\n… and more"),
        ({"pages": []}, "There are no pages."),
        ({"id": "1", "markdown": "# Whole\n\ntext", "tags": []}, "# Whole\n\ntext"),
        ({"id": "1", "count": 3, "gone": None}, "id: 1\ncount: 3"),
        (None, "plain"),
    ],
)
def test_a_result_is_shown_by_its_shape(structured: JsonValue, said: str) -> None:
    assert outline(result(structured, "plain")) == said


def test_long_texts_are_cut() -> None:
    assert len(outline(result({"text": "x" * 5000}))) == LONGEST_TEXT + 2
    assert first_line("\n\n  " + "y" * 500).endswith("y…")
