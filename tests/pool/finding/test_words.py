"""Words and stems."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pool.finding.words import query_terms, stems, terms, words


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


def test_a_query_of_small_words_only_is_looked_for_as_it_stands() -> None:
    assert query_terms("get up") == stems("get up") == ["get", "up"]
    assert query_terms("get up early") == terms("early")


def test_a_script_without_spaces_comes_apart_into_pairs_of_letters() -> None:
    assert terms("搜索结果list") == ["搜索", "索结", "结果", "list"]
    assert terms("图") == ["图"]


def test_threads_stem_at_the_same_time_without_mixing_their_words() -> None:
    alone = [stems(f"running{number}s reloading{number}") for number in range(200)]
    together = threading.Barrier(2)

    def stem_all(shift: int) -> list[list[str]]:
        together.wait(5)
        return [stems(f"running{number}s reloading{number}") for number in range(shift, 200)]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(stem_all, (0, 0))
    assert first == second == alone
