"""The last wash of a document's text."""

import tracemalloc

import pytest

from servers.content.formats.draft import tidy_text


@pytest.mark.parametrize(
    ("text", "tidy"),
    [
        ("\n \t\n  a\r\n b \n\n", "  a\n b"),
        ("a", "a"),
        ("\r\r\n", ""),
        ("", ""),
        (" \n ", ""),
        ("a\x00\ud800", "a\ufffd\ufffd"),
    ],
)
def test_blank_lines_around_go_and_indents_stay(text: str, tidy: str) -> None:
    assert tidy_text(text) == tidy


@pytest.mark.parametrize("blank", ["\n", "\r", "\r\n", " ", " \n"])
def test_millions_of_blank_lines_take_little_memory(blank: str) -> None:
    text = blank * 1_000_000 + "a"
    tracemalloc.start()
    try:
        assert tidy_text(text).strip() == "a"
        assert tracemalloc.get_traced_memory()[1] < 5 * len(text)
    finally:
        tracemalloc.stop()
