"""Words, stems and BM25."""

import pytest
from pydantic import JsonValue

from host.rank import Index, terms, tool_text, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("search_documents", ["search", "documents"]),
        ("getHTTPResponse", ["get", "http", "response"]),
        ("a.b-c/d2", ["a", "b", "c", "d2"]),
        ("Füße des Café", ["füsse", "des", "café"]),
        ("", []),
    ],
)
def test_names_come_apart_into_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_words_that_say_nothing_are_dropped_and_the_rest_is_stemmed() -> None:
    assert terms("How do I reload my program when files change?") == terms("reloading programs, file changes")


def test_the_text_that_shares_the_rarer_word_comes_first() -> None:
    index = Index(["send a message", "send an email message", "delete a message"])
    assert [position for position, _ in index.ranked("send email")] == [1, 0]


def test_a_text_without_a_shared_word_is_not_ranked() -> None:
    assert Index(["alpha", "beta"]).ranked("gamma") == []


def test_equal_texts_stay_in_their_order() -> None:
    assert [position for position, _ in Index(["same words", "same words"]).ranked("same")] == [0, 1]


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_nothing_to_rank_is_no_error(texts: list[str]) -> None:
    assert Index(texts).ranked("anything") == []


def test_a_tool_is_found_by_the_description_of_a_parameter() -> None:
    schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"when": {"type": "string", "description": "departure of the train"}},
    }
    index = Index([tool_text("book_seat", "Books a seat.", schema), tool_text("list_seats", "Lists seats.", {})])
    assert [position for position, _ in index.ranked("departure")] == [0]


def test_a_short_text_beats_a_long_one_with_the_same_word() -> None:
    index = Index(["lock " + "padding " * 50, "lock file"])
    assert index.ranked("lock")[0][0] == 1
