"""Secrets stay out of what people read."""

import time

import pytest

from pool.nearby import did_you_mean
from pool.redact import mask, mask_arguments, mask_url
from pool.spec import StdioSpec
from pool.wire.child import LastWords


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
        (["--env=API_KEY=hunter2"], ["--env=API_KEY=***"]),
        (["--api-key", "-hunter2"], ["--api-key", "***"]),
        (["http://ann:hunter2@h/"], ["http://***@h/"]),
        (["https://hunter2@h/"], ["https://***@h/"]),
        (["--db=postgres://ann:hunt%65r2@h/d"], ["--db=postgres://***@h/d"]),
        (["http://h/?a=b&api_key=hunter2"], ["http://h/?a=b&api_key=***"]),
        (["--header", "Authorization: Bearer hunter2"], ["--header", "Authorization:***"]),
        (["-H", "X-Api-Key:hunter2"], ["-H", "X-Api-Key:***"]),
        (["say", "Bearer hunter2"], ["say", "Bearer ***"]),
        (["sk-ant-hunter2", "x=ghp_hunter2"], ["***", "x=***"]),
        (["-v", "/etc/keys:/keys", "http://token.h:80/x"], ["-v", "/etc/keys:/keys", "http://token.h:80/x"]),
    ],
)
def test_values_of_secret_options_are_hidden(args: list[str], shown: list[str]) -> None:
    assert mask_arguments(args) == shown


def test_what_is_hidden_in_arguments_is_hidden_everywhere() -> None:
    args = ("--api-key", "hunter2a", "-H", "Authorization: Bearer hunter2b", "pg://ann:hunt%65r2c@h/d", "-p=1", "d=e")
    spec = StdioSpec("x", args, secrets=("other",))
    told = "hunter2a, hunter2b, hunt%65r2c, hunter2c and other"
    assert mask(told, spec.secrets) == "***, ***, ***, *** and ***"
    assert "hunter2" not in f"{spec} {spec!r}"


def test_tokens_are_known_by_their_looks() -> None:
    text = "got sk-proj-12345678 and AKIAIOSFODNN7EXAMPLE, Bearer eyJhbGci.x/y==, at http://ann:pw@h/; bearer tokens"
    assert mask(text, ()) == "got *** and ***, Bearer ***, at http://***@h/; bearer tokens"
    assert mask("task-management, disk-usages", ()) == "task-management, disk-usages"


def test_what_is_called_a_secret_is_hidden_wherever_it_is_printed() -> None:
    assert mask("start with token=abc123def456, API_KEY='x y' db_password=correct-horse", ()) == (
        "start with token=***, API_KEY='x y' db_password=***"
    )
    assert mask("GET /x?access_token=abcdefgh1234&page=2", ()) == "GET /x?access_token=***&page=2"
    assert mask('secret="abcdefgh1234"', ()) == 'secret="***"'
    for text in ("max_tokens=1000000000", "tokens=many", "the token is missing", "token: 12 left", "token=***"):
        assert mask(text, ()) == text


def test_long_texts_are_read_in_linear_time() -> None:
    started = time.process_time()
    for text in (
        "a" * 99_999,
        "=" * 30_000,
        "a:" * 30_000,
        "://" * 30_000,
        "://a@" * 30_000,
        "sk-" * 30_000,
        "token" * 20_000,
        "token=" * 20_000,
    ):
        mask(text, ())
        mask_arguments([text])
    assert time.process_time() - started < 5


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
