"""Secrets stay out of what people read."""

import pytest

from pool.child import LastWords
from pool.nearby import did_you_mean
from pool.redact import mask, mask_arguments, mask_url


def test_no_tail_of_a_longer_secret_is_left() -> None:
    assert mask("token secret-long and secret", ["secret", "secret-long"]) == "token *** and ***"


def test_very_short_values_are_not_masked() -> None:
    assert mask("one of a kind", ["a", "of", ""]) == "one of a kind"


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["--api-key", "hunter2", "x"], ["--api-key", "***", "x"]),
        (["--api-key=hunter2"], ["--api-key=***"]),
        (["--token", "--verbose"], ["--token", "--verbose"]),
        (["serve", "content"], ["serve", "content"]),
        (["PASSWORD=hunter2"], ["PASSWORD=***"]),
    ],
)
def test_values_of_secret_options_are_hidden(args: list[str], shown: list[str]) -> None:
    assert mask_arguments(args) == shown


def test_an_address_is_shown_without_password_and_query() -> None:
    assert mask_url("https://ann:hunter2@host:1/mcp?token=hunter2#x") == "https://host:1/mcp?***"


def test_last_words_are_bounded_and_masked_and_printable() -> None:
    words = LastWords(secrets=["hunter2"], max_lines=3, max_characters=20)
    for number in range(100):
        words.feed(f"line {number}\n".encode())
    words.feed(b"\x1b[31mred\xff hunt")
    words.feed(b"er2\n" + b"y" * 100_000)
    assert words.tail() == "  line 98\n  line 99\n  [31mred\ufffd ***\n  " + "y" * 20


def test_a_secret_at_the_edge_of_a_long_line_is_masked_before_the_line_is_cut() -> None:
    words = LastWords(secrets=["hunter2"], max_characters=10)
    words.feed(b"12345 hunter2\n")
    assert "hunt" not in words.tail()


def test_near_matches_are_named() -> None:
    assert did_you_mean("serach", ["search", "get"]) == "Did you mean 'search'?"
    assert did_you_mean("doc", ["get_document", "list_documents"]) == "Did you mean 'get_document' or 'list_documents'?"
    assert did_you_mean("zzz", ["a", "b"]) == "There is 'a', 'b'."
    assert did_you_mean("zzz", ["a", "b"], list_all=False) == ""
    assert did_you_mean("zzz", []) == ""
