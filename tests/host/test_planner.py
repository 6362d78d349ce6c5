"""What the planner calls on its own, and what it leaves to the person."""

import pytest

from host.planner import MAX_SEARCHES, Plan, is_question, is_search, plan
from pool.catalogue import ToolInfo
from tests.host.tools import CREATE, DELETE, FIND_PAGES, GET, LIST, SEARCH, hits, tool

ALL = (SEARCH, FIND_PAGES, GET, LIST, DELETE, CREATE)
BOTH = frozenset({"library", "wiki"})


def called(found: Plan) -> list[str]:
    return [str(call.ref) for call in found.searches + found.lookups]


def proposed(found: Plan) -> list[str]:
    return [proposal.command for proposal in found.proposals]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("How do I lock a file?", True),
        ("which library draws tables", True),
        ("Please can you tell which book is oldest?", False),
        ("Any idea about locks?", True),
        ("Delete the book", False),
        ("Could you delete the book 'x'?", False),
        ("", False),
    ],
)
def test_a_question_wants_to_know_and_a_command_wants_something_done(task: str, expected: bool) -> None:
    assert is_question(task) is expected


def test_a_question_goes_to_every_trusted_search_and_nowhere_else() -> None:
    found = plan("How do I lock a file?", ALL, trusted=BOTH)
    assert sorted(called(found)) == ["library.search_books", "wiki.find_pages"]
    assert found.proposals == ()


def test_the_free_text_argument_is_filled_whatever_its_name() -> None:
    found = plan("How do I lock a file?", ALL, trusted=BOTH)
    assert {str(call.ref): dict(call.arguments) for call in found.searches} == {
        "library.search_books": {"query": "How do I lock a file?"},
        "wiki.find_pages": {"question": "How do I lock a file?"},
    }


def test_a_search_of_a_server_that_is_not_trusted_is_only_proposed() -> None:
    found = plan("How do I lock a file?", ALL, trusted={"library"})
    assert called(found) == ["library.search_books"]
    assert proposed(found) == ["stoa call wiki.find_pages question='How do I lock a file?'"]
    assert "not marked as trusted" in found.proposals[0].why


def test_a_search_that_is_not_read_only_is_never_called() -> None:
    writing = tool(
        "library.search_books",
        arguments={"query": {"type": "string"}},
        required=("query",),
        output=hits("text"),
        read_only=False,
    )
    assert called(plan("How do I lock a file?", [writing], trusted=BOTH)) == []


@pytest.mark.parametrize(
    "other",
    [
        tool("x.search", arguments={"query": {"type": "string"}}, required=("query",)),
        tool("x.search", arguments={"query": {"type": "string"}}, required=("query",), output=hits("size")),
        tool("x.search", arguments={"id": {"type": "string"}}, required=("id",), output=hits("text")),
        tool("x.search", arguments={"query": {"type": "integer"}}, required=("query",), output=hits("text")),
        tool(
            "x.search",
            arguments={"query": {"type": "string"}, "space": {"type": "string"}},
            required=("query", "space"),
            output=hits("text"),
        ),
        tool(
            "x.search",
            arguments={"query": {"type": "string", "enum": ["a", "b"]}},
            required=("query",),
            output=hits("text"),
        ),
    ],
    ids=["no output schema", "no passage", "an id", "a number", "two needed", "closed set"],
)
def test_what_only_looks_like_a_search_is_none(other: ToolInfo) -> None:
    assert not is_search(other)


def test_a_search_is_known_by_its_shape_also_behind_references_and_optional_arguments() -> None:
    optional = tool(
        "x.look", arguments={"q": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, output=hits("excerpt")
    )
    assert is_search(SEARCH)
    assert is_search(optional)
    assert called(plan("Why?", [optional], trusted={"x"})) == ["x.look"]


def test_a_named_lookup_with_its_id_in_quotes_is_called_alone() -> None:
    found = plan('Show me the book "01ABC"', ALL, trusted=BOTH)
    assert [(str(call.ref), dict(call.arguments)) for call in found.lookups] == [("library.get_book", {"id": "01ABC"})]
    assert found.searches == ()


def test_a_lookup_without_its_id_is_proposed_with_what_is_missing() -> None:
    found = plan("Open the book", ALL, trusted=BOTH)
    assert proposed(found) == ["stoa call library.get_book id=…"]
    assert found.proposals[0].missing == ("id",)


def test_a_list_is_called_when_the_task_says_no_more_than_that() -> None:
    assert called(plan("List all books", ALL, trusted=BOTH)) == ["library.list_books"]


def test_a_list_of_something_else_is_a_search() -> None:
    assert "library.list_books" not in called(plan("List books about locking files", ALL, trusted=BOTH))


@pytest.mark.parametrize(
    "task", ["Delete the book '01ABC'", "Please remove the book '01ABC'", "Could you delete '01ABC'?"]
)
def test_what_changes_something_is_proposed_and_nothing_is_run(task: str) -> None:
    found = plan(task, ALL, trusted=BOTH)
    assert called(found) == []
    assert proposed(found) == ["stoa call library.delete_book id=01ABC"]
    assert found.proposals[0].why == "It changes something, so it is left to you."


def test_values_come_from_quotes_and_closed_sets_and_the_rest_is_missing() -> None:
    found = plan("Create a novel 'War and Peace' as a book", ALL, trusted=BOTH)
    assert proposed(found) == ["stoa call library.create_book title='War and Peace' kind=novel pages=…"]
    assert found.proposals[0].missing == ("pages",)


def test_a_quoted_value_cannot_break_out_of_the_proposed_command() -> None:
    found = plan("""Delete the book "x; rm -rf ~ '$(id)' " """, ALL, trusted=BOTH)
    import shlex

    assert shlex.split(found.proposals[0].command) == ["stoa", "call", "library.delete_book", "id=x; rm -rf ~ '$(id)' "]


def test_an_apostrophe_is_no_quote() -> None:
    found = plan("Open the library's book and the author's book", ALL, trusted=BOTH)
    assert found.lookups == ()


def test_no_more_searches_are_made_than_the_limit() -> None:
    many = [
        tool(f"s{n}.search", arguments={"query": {"type": "string"}}, required=("query",), output=hits("text"))
        for n in range(MAX_SEARCHES + 3)
    ]
    found = plan("What is there?", many, trusted={each.ref.server for each in many})
    assert len(found.searches) == MAX_SEARCHES


def test_no_tools_make_an_empty_plan() -> None:
    assert plan("What is there?", [], trusted=()) == Plan((), (), ())


def test_the_same_task_gives_the_same_plan() -> None:
    assert plan("How do I lock a file?", ALL, trusted=BOTH) == plan("How do I lock a file?", ALL, trusted=BOTH)


@pytest.mark.parametrize(
    ("task", "query"),
    [("How do I lock a file?", "How do I lock a"), ("lock " * 3, "lock lock lock"), ("x" * 30, "x" * 16)],
)
def test_a_query_is_no_longer_than_its_tool_takes_and_ends_with_a_word(task: str, query: str) -> None:
    short = tool(
        "s.search", arguments={"query": {"type": "string", "maxLength": 16}}, required=("query",), output=hits("text")
    )
    assert dict(plan(task, [short], trusted={"s"}).searches[0].arguments) == {"query": query}


def test_where_to_see_the_arguments_is_said_when_none_is_required() -> None:
    add = tool("s.add_note", arguments={"text": {"type": "string"}, "path": {"type": "string"}}, read_only=False)
    (proposal,) = plan("Add a note", [add], trusted={"s"}).proposals
    assert proposal.command == "stoa call s.add_note"
    assert proposal.why.endswith("What it takes: stoa tools add_note --server s")
