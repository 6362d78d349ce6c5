"""How often the right tool is among the first that a search finds, and what a search costs.

`python -m benchmarks.bench_tool_search --data DIR [--case SET+SET]… [--json] [--rounds N] [--no-embeddings]`

DIR holds files of the Berkeley Function Calling Leaderboard: `BFCL_v4_<set>.json` with questions and the functions
offered for each, `answers_BFCL_v4_<set>.json` with the calls that are right. All functions of the files of a case are
one catalogue, each once by name and schema; each question is one query, as it stands. The right tool is any function of
the name that the answer calls: sets hold up to twenty versions of one function that differ in wording alone. The rows
`exact` ask for the very version that the question came with.

Beside the index stand the plain keyword overlap (words of the query that name and description hold, the usual default)
and, where a sentence model is installed, that model alone and both fused.
"""

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path
from statistics import median, quantiles
from typing import cast

from pydantic import JsonValue

from benchmarks.report import Report, Row
from embedding.find import find_embedder
from pool.finding.findable import Findable, findable
from pool.finding.index import ToolIndex
from pool.finding.vectors import matrix
from stoa.embedder import Embedder

__all__ = ["CASES", "Case", "Question", "load", "measure"]

PREFIX = "BFCL_v4_"
RIVAL = "keyword overlap"
OURS = "index"
DEPTHS = (1, 5, 10)
WARM_UP = 20

Search = Callable[[str, int], Sequence[int]]
"""A query and how many are wanted; positions, best first."""


@dataclass(frozen=True, slots=True)
class Case:
    """Files that make up one catalogue. `targets`: the least recall wanted at so many results."""

    sets: tuple[str, ...]
    targets: Mapping[int, float]

    @property
    def name(self) -> str:
        return " + ".join(self.sets)


CASES = (
    Case(("simple_python", "multiple"), {5: 0.93, 10: 0.96}),
    Case(("live_multiple",), {5: 0.79, 10: 0.86}),
    Case(("simple_python", "multiple", "live_multiple"), {}),
)


@dataclass(frozen=True, slots=True)
class Question:
    """`wanted`: for each tool that the answer calls, the positions of all that bear its name; `exact`: of the very
    versions that the question came with.
    """

    text: str
    wanted: tuple[frozenset[int], ...]
    exact: tuple[frozenset[int], ...]


def load(folder: Path, sets: Sequence[str]) -> tuple[tuple[Findable, ...], tuple[Question, ...]]:
    """The catalogue and the questions of these files."""
    tools: dict[str, Findable] = {}
    asked: list[tuple[str, list[str], set[str]]] = []
    for name in sets:
        answers = {str(line["id"]): line["ground_truth"] for line in _lines(folder / f"answers_{PREFIX}{name}.json")}
        for line in _lines(folder / f"{PREFIX}{name}.json"):
            offered: list[str] = []
            for function in cast("list[dict[str, JsonValue]]", line["function"]):
                key = json.dumps([function["name"], function["parameters"]], sort_keys=True)
                schema = cast("dict[str, JsonValue]", function["parameters"])
                tools.setdefault(key, findable(str(function["name"]), str(function["description"]), schema))
                offered.append(key)
            calls = cast("list[dict[str, JsonValue]]", answers[str(line["id"])])
            asked.append((_text(line["question"]), offered, {called for call in calls for called in call}))
    place = {key: position for position, key in enumerate(tools)}
    named: dict[str, set[int]] = {}
    for key, tool in tools.items():
        named.setdefault(tool.name, set()).add(place[key])
    questions = [
        Question(
            text,
            tuple(frozenset(named[called]) for called in sorted(wanted)),
            tuple(frozenset(place[key] for key in offered if tools[key].name == called) for called in sorted(wanted)),
        )
        for text, offered, wanted in asked
    ]
    return tuple(tools.values()), tuple(questions)


def measure(
    folder: Path, *, cases: Sequence[Case] = CASES, embedder: Embedder | None, rounds: int, seed: int
) -> Iterator[Row]:
    """Rows for each case and each way to search; all ways take turns, question by question."""
    rng = random.Random(seed)
    for case in cases:
        tools, questions = load(folder, case.sets)
        yield Row(case.name, "tools", "count", len(tools))
        yield Row(case.name, "questions", "count", len(questions))
        started = time.process_time()
        index = ToolIndex(tools)
        yield Row(case.name, "build CPU", "ms", (time.process_time() - started) * 1e3)
        started = time.process_time()
        index.updated([*tools[1:], Findable("new_tool")])
        yield Row(case.name, "update CPU (one tool changed)", "ms", (time.process_time() - started) * 1e3)
        ways = {RIVAL: overlap(tools), OURS: _positions(index)}
        if embedder is not None:
            both = ToolIndex(tools, embedder=embedder)
            started = time.process_time()
            while both.embed_missing():
                pass
            yield Row(case.name, "embedding CPU", "ms/tool", (time.process_time() - started) * 1e3 / len(tools))
            ways |= {embedder.name: by_meaning(tools, embedder), f"{OURS} + {embedder.name}": _positions(both)}
        yield from _compared(case, questions, ways, rounds=rounds, rng=rng)


def overlap(tools: Sequence[Findable]) -> Search:
    """By the number of different words that query and tool share: no stems, no weights, no splitting of camelCase."""
    held = [frozenset(_plain(f"{tool.name} {tool.description}")) for tool in tools]

    def search(query: str, limit: int) -> Sequence[int]:
        wanted = frozenset(_plain(query))
        scored = [(len(wanted & words), position) for position, words in enumerate(held)]
        return [position for score, position in sorted(scored, key=lambda pair: -pair[0])[:limit] if score]

    return search


def by_meaning(tools: Sequence[Findable], embedder: Embedder) -> Search:
    """By vectors of name and description alone."""
    rows = matrix(embedder.embed([f"{tool.name}: {tool.description}" for tool in tools]))

    def search(query: str, limit: int) -> Sequence[int]:
        (vector,) = embedder.embed([query])
        scores = rows.similarities(vector)
        return sorted(range(len(scores)), key=lambda position: -scores[position])[:limit]

    return search


def recall(questions: Sequence[Question], found: Sequence[Sequence[int]], depth: int, *, exact: bool = False) -> float:
    """The share of wanted tools that are among the first `depth`, averaged over the questions."""
    shares: list[float] = []
    for question, positions in zip(questions, found, strict=True):
        first, wanted = frozenset(positions[:depth]), question.exact if exact else question.wanted
        shares.append(sum(bool(each & first) for each in wanted) / len(wanted))
    return sum(shares) / len(shares)


def _compared(
    case: Case, questions: Sequence[Question], ways: Mapping[str, Search], *, rounds: int, rng: random.Random
) -> Iterator[Row]:
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    cpu = dict.fromkeys(ways, 0.0)
    found: dict[str, list[Sequence[int]]] = {way: [] for way in ways}
    for question in questions[:WARM_UP]:
        for search in ways.values():
            search(question.text, max(DEPTHS))
    for turn in range(rounds):
        for question in questions:
            for way in rng.sample(list(ways), len(ways)):
                processor, started = time.process_time(), time.perf_counter()
                positions = ways[way](question.text, max(DEPTHS))
                seconds[way].append(time.perf_counter() - started)
                cpu[way] += time.process_time() - processor
                if turn == 0:
                    found[way].append(positions)
    for way in ways:
        label = f"{case.name}: {way}"
        for depth in DEPTHS:
            value, least = recall(questions, found[way], depth), case.targets.get(depth) if way == OURS else None
            if way == RIVAL:
                yield Row(label, f"recall@{depth}", "share", value)
            elif least is not None:  # a target is for the recall itself, and a ratio would stand in its place
                yield Row(label, f"recall@{depth}", "share", value, rival=RIVAL, target=least, more_is_better=True)
            else:
                plain = recall(questions, found[RIVAL], depth)
                yield Row(label, f"recall@{depth}", "share", value, rival=RIVAL, ratio=value / plain if plain else None)
        for depth in DEPTHS[1:]:
            yield Row(label, f"exact@{depth}", "share", recall(questions, found[way], depth, exact=True))
        yield Row(label, "median", "ms", median(seconds[way]) * 1e3)
        yield Row(label, "p95", "ms", quantiles(seconds[way], n=20, method="inclusive")[-1] * 1e3)
        yield Row(label, "CPU", "ms/query", cpu[way] / (rounds * len(questions)) * 1e3)


def _positions(index: ToolIndex) -> Search:
    return lambda query, limit: [found.position for found in index.search(query, limit)]


def _plain(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _text(turns: JsonValue) -> str:
    """What the user says, all turns."""
    said = cast("list[list[dict[str, str]]]", turns)
    return "\n".join(message["content"] for turn in said for message in turn if message["role"] == "user")


def _lines(path: Path) -> Iterator[dict[str, JsonValue]]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with the BFCL files")
    parser.add_argument(
        "--case",
        action="append",
        metavar="SET[+SET…]",
        help="only this catalogue, e.g. simple_python+multiple; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=1, help="times that each question is asked")
    parser.add_argument("--seed", type=int, default=1, help="order in which the ways to search take turns")
    parser.add_argument("--no-embeddings", action="store_true", help="leave the sentence model out")
    given = parser.parse_args()
    cases = cases_in(given.data, given.case or ())
    if not cases:
        parser.error(f"{given.data} holds no BFCL_v4_<set>.json with its answers_BFCL_v4_<set>.json.")
    embedder = None if given.no_embeddings else find_embedder(environ)
    rows = tuple(measure(given.data, cases=cases, embedder=embedder, rounds=given.rounds, seed=given.seed))
    off = () if embedder is not None else ("embeddings: not run, as no sentence model is installed",)
    off = ("embeddings: not run, as --no-embeddings says",) if given.no_embeddings else off
    packages = ("snowballstemmer",) if embedder is None else ("snowballstemmer", "numpy", "tokenizers", "safetensors")
    report = Report("bench_tool_search", rows, seed=given.seed, switched_off=off, packages=packages)
    if given.json:
        print(json.dumps(report.document(), indent=2, ensure_ascii=False))
    else:
        print(report.table())
        print("\n".join(off), file=sys.stderr)


def cases_in(folder: Path, wanted: Sequence[str]) -> tuple[Case, ...]:
    """The cases asked for, else those of `CASES` whose files are there and each further set by itself."""
    there = {path.stem.removeprefix(PREFIX) for path in folder.glob(f"{PREFIX}*.json")}
    there = {name for name in there if (folder / f"answers_{PREFIX}{name}.json").is_file()}
    known = {case.name: case for case in CASES}
    if wanted:
        named = [tuple(each.split("+")) for each in wanted]
        chosen = [known.get(" + ".join(sets), Case(sets, {})) for sets in named]
    else:
        further = sorted(there - {name for case in CASES for name in case.sets})
        chosen = [*CASES, *(Case((name,), {}) for name in further)]
    return tuple(case for case in chosen if there.issuperset(case.sets))


if __name__ == "__main__":
    main()
