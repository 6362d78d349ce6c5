"""When hits are an answer, and when they are not."""

from dataclasses import replace

import pytest
from pydantic import JsonValue

from host.evidence import ENOUGH_COVERAGE, ENOUGH_OF_BEST, MAX_CITATIONS, Hit, conclude, read_hits

QUESTION = "How do I lock a file?"


def hit(document: str, passage: str = "Lock the file first.", coverage: float | None = 1.0, start: int = 0) -> Hit:
    place = (start, start + len(passage))
    return Hit(document, f"Title of {document}", f"{document}.md", passage, *place, coverage=coverage)


def test_hits_are_read_from_whatever_list_carries_passages() -> None:
    structured: JsonValue = {
        "total": 1,
        "tags": ["a"],
        "found": [{"id": "7", "name": "Locks", "snippet": "Lock it.", "url": "https://x.example/7"}, {"id": "8"}, 3],
    }
    assert read_hits(structured) == (Hit("7", "Locks", "https://x.example/7", "Lock it.", 0, 8),)


def test_a_result_of_another_shape_has_no_hits() -> None:
    others: list[JsonValue] = [
        None,
        [],
        "text",
        {"found": []},
        {"found": [{"size": 1}]},
        {"found": {"passage": "x"}},
    ]
    assert [read_hits(other) for other in others] == [()] * len(others)


def test_each_citation_is_of_another_document_and_numbered_in_order() -> None:
    found = conclude(QUESTION, [[hit("a"), hit("a", "Lock files."), hit("b"), hit("c"), hit("d")]])
    assert [(each.number, each.document_id) for each in found.citations] == [(1, "a"), (2, "b"), (3, "c")]
    assert len(found.citations) == MAX_CITATIONS
    assert found.found
    assert "[1]" in found.text


def test_hits_that_cover_too_little_are_not_cited() -> None:
    found = conclude(QUESTION, [[hit("a", coverage=ENOUGH_COVERAGE - 0.01), hit("b", coverage=ENOUGH_COVERAGE)]])
    assert [each.document_id for each in found.citations] == ["b"]


def test_nothing_that_covers_enough_is_nothing_found() -> None:
    found = conclude(QUESTION, [[hit("a", coverage=0.3), hit("b", coverage=0.2)]])
    assert (found.found, found.text, found.citations) == (False, "", ())


def test_no_hits_at_all_are_nothing_found() -> None:
    assert not conclude(QUESTION, []).found
    assert not conclude(QUESTION, [[], []]).found


def test_coverage_is_counted_where_the_server_gives_none() -> None:
    found = conclude(QUESTION, [[hit("a", "Lock every file.", None), hit("b", "Bake the bread.", None)]])
    assert [each.document_id for each in found.citations] == ["a"]


def test_results_of_several_servers_are_interleaved_by_place() -> None:
    found = conclude(QUESTION, [[hit("a1"), hit("a2")], [hit("b1"), hit("b2")]])
    assert [each.document_id for each in found.citations] == ["a1", "b1", "a2"]


def test_offsets_of_a_citation_count_in_the_document() -> None:
    passage = (
        "Bread is baked. Lock the file first so that nobody writes into it while you do your work, whatever it is."
    )
    (citation,) = conclude(QUESTION, [[hit("a", passage, start=1000)]]).citations
    assert citation.start == 1000 + passage.index("Lock")
    assert citation.end == 1000 + len(passage)


def test_a_hit_without_a_readable_sentence_is_passed_over() -> None:
    found = conclude(QUESTION, [[hit("a", "# file lock"), hit("b")]])
    assert [each.document_id for each in found.citations] == ["b"]


def test_the_servers_own_word_on_evidence_goes_before_coverage() -> None:
    hits = [replace(hit("a", coverage=1.0), is_evidence=False), replace(hit("b", coverage=0.1), is_evidence=True)]
    assert [each.document_id for each in conclude(QUESTION, [hits]).citations] == ["b"]


def test_a_hit_that_scores_far_less_than_the_best_is_not_cited_beside_it() -> None:
    hits = [
        replace(hit(name), score=score)
        for name, score in (("a", 1.0), ("b", ENOUGH_OF_BEST), ("c", ENOUGH_OF_BEST - 0.01))
    ]
    assert [each.document_id for each in conclude(QUESTION, [hits]).citations] == ["a", "b"]


def test_the_number_stands_before_the_code_of_a_citation() -> None:
    said = "Call `acquire` to lock a file, and mind that it waits for as long as somebody else holds it; see below how."
    passage = f"{said}\n\n```\nlock.acquire()\n```\n"
    found = conclude(QUESTION, [[hit("a", passage)]])
    assert "[1]\n\n```\nlock.acquire()\n```" in found.text


def test_the_number_of_a_citation_that_is_all_code_stands_behind_it() -> None:
    code = "```\nlock = FileLock()\n\nlock.acquire()\n```"
    found = conclude(QUESTION, [[hit("a", code)]])
    assert found.text == f"{code}\n\n[1]"


def test_no_number_stands_inside_of_code_that_has_no_fences_of_its_own() -> None:
    said = "Call `acquire` to lock a file, and mind that it waits for as long as somebody else holds it; see below how."
    found = conclude(QUESTION, [[hit("a", f"{said}\n\n>>> lock.acquire()\n1\n"), hit("b", ">>> lock.file()\n1\n")]])
    assert found.text == (f"{said} [1]\n\n```\n>>> lock.acquire()\n1\n```\n\n```\n>>> lock.file()\n1\n```\n\n[2]")


@pytest.mark.parametrize("task", ["the of and", "Hi!", "hello, how are you?", "?"])
def test_a_task_without_a_word_of_content_finds_nothing(task: str) -> None:
    found = conclude(task, [[replace(hit("a", "Hi, how are the two of you?"), is_evidence=True)]])
    assert (found.found, found.citations) == (False, ())
