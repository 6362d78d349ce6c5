"""Sentences chosen from a passage, and Markdown made readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.extracts import LONGEST, LONGEST_CODE, best_extract, clean
from pool.finding.words import terms

PASSAGE = """\
# filelock

[![PyPI](https://badge.example/x.svg)](https://example.org) [![CI](ci.svg)](ci)

A platform-independent file lock for Python. It is **small**.

## Locking

Call `acquire()` on a [lock](https://example.org/lock) before you write. Two processes then never write at once.

```python
with FileLock("x.lock"):
    write()
```

- The weather is fine.
"""


def weights(question: str) -> dict[str, float]:
    return dict.fromkeys(terms(question), 1.0)


def test_the_sentence_that_shares_most_words_is_chosen() -> None:
    found = best_extract(PASSAGE, weights("Do two processes write at once?"))
    assert found is not None
    assert found.text.endswith("Two processes then never write at once.")


def test_offsets_point_at_the_sentence_in_the_passage_as_it_was() -> None:
    found = best_extract(PASSAGE, weights("weather"))
    assert found is not None
    assert PASSAGE[found.start : found.end] == "- The weather is fine."
    assert found.text == "The weather is fine."


def test_a_short_code_block_right_behind_goes_along_when_asked_for() -> None:
    found = best_extract(PASSAGE, weights("two processes write"), with_code=True)
    assert found is not None
    assert found.text.endswith('with FileLock("x.lock"):\n    write()\n```')
    assert PASSAGE[found.start : found.end].endswith("```")


def test_the_heading_above_counts_for_its_sentences() -> None:
    passage = "## Cooking\n\nIt takes an hour.\n\n## Locking\n\nIt takes a second.\n"
    found = best_extract(passage, weights("locking"))
    assert found is not None
    assert found.text == "It takes a second."


def test_of_equal_sentences_the_first_is_chosen() -> None:
    found = best_extract("Nothing here. Nor there.", weights("zebra"))
    assert found is not None
    assert found.start == 0


@pytest.mark.parametrize("passage", ["", "\n\n", "# Only a heading", "[![a](b)](c)", "---"])
def test_a_passage_without_a_sentence_has_no_extract(passage: str) -> None:
    assert best_extract(passage, weights("heading code")) is None


def test_a_passage_that_is_all_code_gives_the_code() -> None:
    found = best_extract("```\nlock.acquire()\n```\n", weights("lock"))
    assert found is not None
    assert found.text == "```\nlock.acquire()\n```"


def test_code_that_is_not_marked_as_such_is_not_taken_for_a_sentence() -> None:
    passage = ">>> lock.copy('the text')\n\nAnother way to copy.\n"
    found = best_extract(passage, weights("copy the text"))
    assert found is not None
    assert found.text == "Another way to copy."


def test_a_code_block_that_began_before_the_passage_is_closed_by_its_first_fence() -> None:
    found = best_extract("copy = text\n```\n\nThat was the text.\n", weights("copy text"))
    assert found is not None
    assert found.text == "That was the text."


def test_a_whole_sentence_is_preferred_to_half_of_one() -> None:
    for half in ("and copies the text", "Copy text by @somebody in #12345"):
        found = best_extract(f"{half}\n\nThis copies the text.\n", weights("copy text"))
        assert found is not None
        assert found.text == "This copies the text."


@given(st.text(alphabet="ab .!?\n#`-*[]()|\t", max_size=400))
def test_every_extract_lies_in_its_passage_and_is_not_too_long(passage: str) -> None:
    found = best_extract(passage, {"a": 1.0, "ab": 2.0})
    if found is not None:
        assert 0 <= found.start < found.end <= len(passage)
        assert found.text
        sentence = max(len(part) for part in passage.split("\n\n"))
        assert found.end - found.start <= max(LONGEST, sentence)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("**bold** and *soft* and `code`", "bold and soft and `code`"),
        ("see [the docs](https://x.example/a_b)", "see the docs"),
        ("[![badge](a.svg)](b) text", "text"),
        ("snake_case_name stays", "snake_case_name stays"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("- item\n  goes on", "item goes on"),
        ("a <br/> b <https://x.example>", "a b https://x.example"),
        (r"1\. escaped \*star\*", "1. escaped *star*"),
        ("``rst code``", "`rst code`"),
        ("| a | b |", "a b"),
    ],
)
def test_markdown_becomes_what_a_reader_sees(markdown: str, expected: str) -> None:
    assert clean(markdown) == expected


def test_code_that_is_too_long_is_cut_at_the_end_of_a_line_and_closed() -> None:
    lines = [f"lock.acquire(timeout={number})" for number in range(100)]
    passage = "```python\n" + "\n".join(lines) + "\n```\n"
    found = best_extract(passage, weights("lock"))
    assert found is not None
    head, *body, end = found.text.split("\n")
    assert (head, end) == ("```python", "```")
    assert body == lines[: len(body)]
    assert 0 < len("\n".join(body)) <= LONGEST_CODE
    assert passage[found.start : found.end].endswith(body[-1])


@pytest.mark.parametrize(
    ("passage", "expected"),
    [
        ("```sh\nlock --now", "```sh\nlock --now\n```"),
        ("lock --now\n```\n", "```\nlock --now\n```"),
        (">>> lock()\n1\n", "```\n>>> lock()\n1\n```"),
        ("    ```sh\n    lock --now\n    ```\n", "```sh\nlock --now\n```"),
        ("  ```sh\nlock --now\n  ```\n", "```sh\nlock --now\n```"),
    ],
    ids=["cut below", "cut above", "no fences", "in a list", "indented fences"],
)
def test_code_always_stands_between_fences(passage: str, expected: str) -> None:
    found = best_extract(passage, weights("lock"))
    assert found is not None
    assert found.text == expected


def test_a_passage_that_begins_and_ends_in_code_keeps_its_words_apart() -> None:
    found = best_extract("x = 1\n```\n\nThis locks the file.\n\n```sh\ny = 2\n", weights("lock file"))
    assert found is not None
    assert found.text == "This locks the file."


@given(st.text(alphabet="ab=.\n`~ ", max_size=200))
def test_no_fence_of_an_extract_is_left_open(passage: str) -> None:
    found = best_extract(passage, {"a": 1.0, "ab": 2.0}, with_code=True)
    if found is not None and "\n" in found.text:
        code = found.text if found.text.startswith(("```", "~~~")) else found.text.partition("\n\n")[2]
        fence = code[: len(code) - len(code.lstrip(code[0]))]
        assert len(fence) >= 3
        assert code.endswith(f"\n{fence}")
