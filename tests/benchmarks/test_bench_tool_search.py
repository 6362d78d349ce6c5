"""The benchmark of tool search counts what it says it counts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench_tool_search import CASES, Case, Question, cases_in, load, measure, overlap, recall
from benchmarks.report import Row
from pool.finding.findable import Findable

DATA = Path(__file__).parents[3] / "shared" / "data" / "bfcl"


def function(name: str, description: str, **parameters: str) -> dict[str, Any]:
    properties = {key: {"type": "string", "description": said} for key, said in parameters.items()}
    return {"name": name, "description": description, "parameters": {"type": "dict", "properties": properties}}


BREW = function("brew_tea", "Brews a pot of tea.", leaves="Which leaves to take.")
BREW_TOO = function("brew_tea", "Brews a pot of tea.", leaves="The leaves.")
RING = function("ring.bell", "Rings a bell.", times="How often it is to ring.")
ASKED: list[tuple[str, list[dict[str, Any]], dict[str, Any]]] = [
    ("Please make me a pot of tea", [BREW, RING], {"brew_tea": {}}),
    ("Some tea of green leaves", [BREW_TOO], {"brew_tea": {}}),
    ("How often did bells chime? Ring them.", [RING, BREW], {"ring.bell": {}}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [
        {"id": f"tiny_{number}", "question": [[{"role": "user", "content": text}]], "function": functions}
        for number, (text, functions, _) in enumerate(ASKED)
    ]
    answers = [{"id": f"tiny_{number}", "ground_truth": [call]} for number, (*_, call) in enumerate(ASKED)]
    write(tmp_path / "BFCL_v4_tiny.json", lines)
    write(tmp_path / "answers_BFCL_v4_tiny.json", answers)
    return tmp_path


def write(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", "utf-8")


def test_a_function_is_in_the_catalogue_once_by_name_and_schema(folder: Path) -> None:
    tools, questions = load(folder, ("tiny",))
    assert [(tool.name, *tool.parameters.values()) for tool in tools] == [
        ("brew_tea", "Which leaves to take."),
        ("ring.bell", "How often it is to ring."),
        ("brew_tea", "The leaves."),
    ]
    assert questions[1] == Question(ASKED[1][0], (frozenset({0, 2}),), (frozenset({2}),))


def test_recall_is_the_share_of_wanted_tools_among_the_first_so_many() -> None:
    questions = [
        Question("one", (frozenset({0, 1}),), (frozenset({1}),)),
        Question("two", (frozenset({2}), frozenset({3})), (frozenset({2}), frozenset({3}))),
    ]
    found = [(0, 5), (4, 2, 3)]
    assert recall(questions, found, 1) == 0.5
    assert recall(questions, found, 2) == 0.75
    assert recall(questions, found, 3) == 1
    assert recall(questions, found, 3, exact=True) == 0.5


def test_the_rival_counts_the_words_that_are_shared() -> None:
    search = overlap([Findable("a_b", "one two"), Findable("c", "two three two"), Findable("d")])
    assert search("two THREE", 5) == [1, 0]


def test_only_cases_whose_files_are_there_are_measured(folder: Path) -> None:
    assert [case.name for case in cases_in(folder, ())] == ["tiny"]
    assert cases_in(folder, ["tiny+absent"]) == ()
    write(folder / "BFCL_v4_unanswered.json", [])
    assert [case.name for case in cases_in(folder, ())] == ["tiny"]


def test_a_measurement_has_a_row_for_each_way_and_depth(folder: Path) -> None:
    case = Case(("tiny",), {5: 0.5})
    rows = list(measure(folder, cases=[case], embedder=None, rounds=1, seed=1))
    assert {row.case for row in rows} == {"tiny", "tiny: keyword overlap", "tiny: index"}
    found = {row.metric: row for row in rows if row.case == "tiny: index"}
    assert set(found) == {"recall@1", "recall@5", "recall@10", "exact@5", "exact@10", "median", "p95", "CPU"}
    assert found["recall@5"].value == 1
    assert found["recall@5"].ok is True
    assert not any(row.case.endswith("overlap") and row.target is not None for row in rows)


@pytest.mark.slow  # indexes thousands of functions and asks as many questions
@pytest.mark.skipif(not DATA.is_dir(), reason=f"the data is not there: {DATA.parent.parent.name}/data/bfcl")
def test_the_targets_are_met_on_the_function_calling_leaderboard() -> None:
    assert cases_in(DATA, ())[: len(CASES)] == CASES
    rows = list(measure(DATA, cases=CASES[:2], embedder=None, rounds=1, seed=1))
    judged = [row for row in rows if row.target is not None]
    assert len(judged) == 4
    assert [missed(row) for row in judged if not row.ok] == []


def missed(row: Row) -> str:
    return f"{row.case} {row.metric}: {row.value:.3f}, wanted {row.target}"
