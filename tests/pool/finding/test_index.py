"""Tools are found by their words and, with an embedder, by what they mean."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pool.finding.findable import Findable
from pool.finding.index import MAX_TERMS, Found, ToolIndex

TRAINS = Findable("book_seat", "Books a seat.", {"when": "departure of the train"})
SEATS = Findable("list_seats", "Lists seats.")
MAIL = Findable("sendMail", "Send an email message.")
NOTE = Findable("send_note", "Send a message.")
DELETE = Findable("delete_note", "Delete a message.")
TOOLS = (TRAINS, SEATS, MAIL, NOTE, DELETE)


@dataclass
class Meanings:
    """An embedder that knows three things: journeys, letters, and all else."""

    name: str = "meanings"
    dimension: int = 3
    asked: list[str] = field(default_factory=list[str])

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.asked += texts
        return [self._vector(text.lower()) for text in texts]

    def _vector(self, text: str) -> Sequence[float]:
        if any(word in text for word in ("seat", "train", "voyage")):
            return (1.0, 0.0, 0.0)
        return (0.0, 1.0, 0.0) if "message" in text else (0.0, 0.0, 1.0)


def positions(found: Sequence[Found]) -> list[int]:
    return [each.position for each in found]


def test_the_tool_that_shares_the_rarer_word_comes_first() -> None:
    assert positions(ToolIndex(TOOLS).search("send email"))[:2] == [2, 3]


def test_a_tool_that_shares_no_word_is_not_found() -> None:
    assert ToolIndex(TOOLS).search("weather") == ()


def test_equal_tools_stay_in_their_order_and_no_more_than_the_limit_come() -> None:
    index = ToolIndex([Findable("same_words")] * 4)
    assert positions(index.search("same", limit=3)) == [0, 1, 2]
    assert index.search("same", limit=0) == ()


def test_nothing_to_search_is_no_error() -> None:
    assert ToolIndex([]).search("anything") == ()
    assert ToolIndex([Findable("")]).search("anything") == ()
    assert ToolIndex(TOOLS).search("") == ()
    assert ToolIndex(TOOLS).scores("…") == [0.0] * len(TOOLS)


def test_a_tool_is_found_by_what_is_said_of_a_parameter_and_by_the_parameters_name() -> None:
    index = ToolIndex(TOOLS)
    assert positions(index.search("departure")) == [0]
    assert positions(index.search("when does it leave?", limit=1)) == []
    assert positions(ToolIndex([SEATS, Findable("x", "", {"maxResults": ""})]).search("results")) == [1]


def test_the_name_is_worth_more_than_the_description() -> None:
    index = ToolIndex([Findable("door", "Keeps a lock."), Findable("lock", "Keeps a door.")])
    assert positions(index.search("lock")) == [1, 0]


def test_a_short_description_is_worth_more_than_a_long_one() -> None:
    index = ToolIndex([Findable("gate", "Keeps a lock" + " and a padding" * 50), Findable("door", "Keeps a lock.")])
    assert positions(index.search("lock")) == [1, 0]


def test_a_tool_named_by_a_small_word_is_found_by_it() -> None:
    assert positions(ToolIndex([SEATS, Findable("get")]).search("get")) == [1]


def test_the_beginning_of_a_word_stands_for_the_word_where_no_tool_has_it_as_it_is() -> None:
    index = ToolIndex([SEATS, Findable("list_calendars"), Findable("calendar")])
    assert positions(index.search("calen")) == [2, 1]
    assert index.search("cal") == ()


def test_a_query_is_read_up_to_a_limit() -> None:
    noise = " ".join(f"noise{number}" for number in range(MAX_TERMS))
    assert ToolIndex(TOOLS).search(f"{noise} email") == ()


def test_an_updated_index_is_the_same_as_a_new_one_and_reads_only_what_changed() -> None:
    before = ToolIndex(TOOLS)
    tools = (MAIL, Findable("send_note", "Send a letter."), TRAINS)
    after = before.updated(tools)
    for query in ("send email", "letter", "seat of a train"):
        assert after.search(query) == ToolIndex(tools).search(query)
    assert after._read[MAIL.key] is before._read[MAIL.key]  # pyright: ignore[reportPrivateUsage]  # what is reused
    assert positions(before.search("email"))[0] == 2


@given(
    st.lists(st.sampled_from(TOOLS)),
    st.lists(st.sampled_from(TOOLS)),
    st.text(alphabet="sendmail trianoby_", max_size=20),
)
def test_updates_never_leave_a_trace_of_what_was_there_before(
    before: list[Findable], after: list[Findable], query: str
) -> None:
    assert ToolIndex(before).updated(after).search(query) == ToolIndex(after).search(query)


def test_an_embedder_finds_what_shares_no_word_once_every_tool_has_a_vector() -> None:
    index = ToolIndex(TOOLS, embedder=Meanings())
    assert index.search("voyage") == ()
    assert index.embed_missing(at_most=2) == 3
    assert index.search("voyage") == ()
    assert index.embed_missing() == 0
    assert positions(index.search("voyage", limit=2)) == [0, 1]


def test_words_and_meaning_together_decide() -> None:
    index = ToolIndex(TOOLS, embedder=Meanings())
    index.embed_missing()
    assert positions(index.search("delete message", limit=1)) == [4]


def test_a_tool_is_embedded_once_also_when_others_change() -> None:
    embedder = Meanings()
    index = ToolIndex(TOOLS, embedder=embedder)
    index.embed_missing()
    asked = len(embedder.asked)
    after = index.updated((SEATS, TRAINS, MAIL))
    assert after.missing == 0
    assert positions(after.search("voyage", limit=2)) == [0, 1]
    assert embedder.asked[asked:] == ["voyage"]
    assert after.updated((*TOOLS, Findable("new"))).missing == 3


def test_a_description_tells_how_the_index_searches() -> None:
    index = ToolIndex(TOOLS, embedder=Meanings())
    assert repr(index) == "<ToolIndex 5 tools, 16 words, by words, 5 without a vector>"
    index.embed_missing()
    assert repr(index) == "<ToolIndex 5 tools, 16 words, by words and meanings>"
