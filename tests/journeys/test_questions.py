"""Natural questions about the packages of this environment, asked of the content server.

The questions were written before there was any ranking (`tests/data/questions.json`). `tuned` was looked at while the
ranking was worked on; `held_out` was only measured.
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from host.corpus import installed
from host.ingest import from_installed
from host.run import run
from kit.author import Server
from pool.pool import Pool
from pool.spec import GroupSpec, InProcessSpec
from servers.content.server import create
from stoa.principal import LOCAL
from stoa.settings import Settings

QUESTIONS: Mapping[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "questions.json").read_text("utf-8"))
SHOWN = 3


@dataclass(frozen=True)
class Library:
    """A server that holds all descriptions, a client of it, and which distribution each document describes."""

    server: Server
    client: Client
    names: Mapping[str, str]

    async def ask(self, question: str) -> list[tuple[str, float, bool]]:
        """Names, best first, with their scores and whether they are evidence."""
        result = await self.client.call_tool("search_documents", {"query": question, "limit": 10})
        assert not result.is_error, result.content
        found: Any = result.structured_content
        hits: list[dict[str, Any]] = found["hits"]
        return [(self.names[hit["document_id"]], hit["score"], hit["is_evidence"]) for hit in hits]


@pytest.fixture
async def library(home: Path) -> AsyncIterator[Library]:
    server = create(Settings.model_validate({"home": home}))
    async with Client(server.lowlevel) as client:
        documents = installed()
        names: dict[str, str] = {}
        for document, item in zip(documents, from_installed(documents), strict=True):
            result = await client.call_tool("ingest_document", dict(item.load()))
            assert not result.is_error, result.content
            names[(result.structured_content or {})["id"]] = document.name
        yield Library(server, client, names)


def known(question: Mapping[str, Any], library: Library) -> bool:
    """Whether one of the right packages is installed here: an environment may lack some."""
    return not set(question["right"]).isdisjoint(library.names.values())


@pytest.mark.parametrize(("part", "first", "among_first"), [("tuned", 14, 17), ("held_out", 14, 17)])
async def test_questions_find_the_package_that_answers_them_and_nothing_where_none_does(
    library: Library, part: str, first: int, among_first: int
) -> None:
    asked = [question for question in QUESTIONS[part]["answerable"] if known(question, library)]
    told: list[str] = []
    firsts = shown = 0
    for question in asked:
        evidence = [name for name, _, is_evidence in await library.ask(question["question"]) if is_evidence]
        places = [place for place, name in enumerate(evidence, 1) if name in question["right"]]
        firsts += places[:1] == [1]
        shown += bool(places) and places[0] <= SHOWN
        if places[:1] != [1]:
            told.append(f"{question['question']} wants {question['right']}, got {evidence[:SHOWN]}")
    guesses = [
        f"{question} got {hits[0]}"
        for question in QUESTIONS[part]["unanswerable"]
        if (hits := await library.ask(question)) and any(is_evidence for _, _, is_evidence in hits)
    ]
    missing = len(QUESTIONS[part]["answerable"]) - len(asked)
    assert missing <= 2, "too few of the packages are installed here to judge anything"
    assert firsts >= first - missing, told
    assert shown >= among_first - missing, told
    assert guesses == []


async def test_runs_without_a_model_cite_the_right_package_or_say_that_nothing_was_found(library: Library) -> None:
    """The same questions asked as `stoa run` asks them, counted by what the answer cites."""
    content = GroupSpec("content", (InProcessSpec(library.server.lowlevel),), trusted=True)
    cited: dict[str, list[str]] = {}
    async with Pool((content,), internal_key=None) as pool:

        async def ask(question: str) -> list[str]:
            answer = await run(
                question, pool=pool, principal=LOCAL, servers=(), trusted={"content"}, on_step=lambda _: None
            )
            assert answer.found == bool(answer.citations)
            return [library.names[citation.document_id] for citation in answer.citations]

        answerable = [question for question in QUESTIONS["tuned"]["answerable"] if known(question, library)]
        for question in answerable:
            cited[question["question"]] = await ask(question["question"])
        nothing = [await ask(question) for question in QUESTIONS["tuned"]["unanswerable"]]
    right = {question["question"]: set(question["right"]) for question in answerable}
    firsts = sum(bool(right[question] & set(names[:1])) for question, names in cited.items())
    shown = sum(bool(right[question] & set(names[:SHOWN])) for question, names in cited.items())
    missing = len(QUESTIONS["tuned"]["answerable"]) - len(answerable)
    assert firsts >= 14 - missing, cited
    assert shown >= 17 - missing, cited
    assert nothing == [[] for _ in nothing]
