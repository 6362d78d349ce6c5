"""Words are counted as the index counts them, and questions are cut to what they are about."""

import sqlite3

import pytest

from servers.content.words import MAX_TERMS, find_words, read_question, stem

HARD = """
running flies happily possibly incredibly methodology methodologies biology doubly assembly generalizations oscillators
relational conditional skies dying news agreed hopping falling filing sized controlling rolls as is a I io x86 utf8
snake_case email-validator C++ naïve café Ångström über straße Русский ДОКУМЕНТЫ ドメイン 한국어 العربية 2026 v1.2.3
don't O'Reilly 1µs μs e\u0301tude I\u0307stanbul
"""


def test_the_index_stems_every_word_as_we_do() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE found USING fts5 (body, tokenize = 'porter unicode61')")
    database.execute("CREATE VIRTUAL TABLE word USING fts5vocab (found, 'instance')")
    database.execute("INSERT INTO found VALUES (?)", (HARD,))
    indexed = [row[0] for row in database.execute("SELECT term FROM word ORDER BY offset")]
    database.close()
    assert [word.stem for word in find_words(HARD)] == indexed


def test_a_word_knows_where_it_stands() -> None:
    text = "Éclairs, two-tone"
    assert [text[word.start : word.end] for word in find_words(text)] == ["Éclairs", "two", "tone"]
    assert [word.start for word in find_words(text, offset=100)] == [100, 109, 113]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("How do I rotate an API key?", ["rotate", "api", "key"]),
        ("keys, KEY and Keys", ["keys"]),
        ("What is it?", ["what", "is", "it"]),
        ("???", []),
        ("", []),
    ],
)
def test_a_question_is_cut_to_its_matter(question: str, words: list[str]) -> None:
    assert [term.text for term in read_question(question)] == words


def test_a_long_question_is_bounded() -> None:
    assert len(read_question(" ".join(f"word{number}" for number in range(500)))) == MAX_TERMS


def test_stems_do_not_depend_on_the_case_or_accents_of_latin_letters() -> None:
    assert stem("Café") == stem("CAFE")
