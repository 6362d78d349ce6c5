"""Questions find passages: where they are, what matched, how much of the question, and nobody else's."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servers.content.database import ask
from servers.content.search import BRIEF_CHARACTERS, search
from servers.content.store import Store
from servers.content.values import Found, Page
from tests.servers.content.drafts import draft

HERE, THERE = "here", "there"
FILLER = "Nothing of interest stands in this sentence, it only fills the page.\n\n"


async def find(
    store: Store,
    question: str,
    *,
    tenant: str = HERE,
    limit: int = 10,
    document: int | None = None,
    listed: Sequence[Found] | None = None,
    brief: bool = True,
) -> Page:
    return await store.database.read(
        lambda session: search(
            ask(session), tenant, question, limit=limit, document=document, listed=listed, brief=brief
        )
    )


@pytest.fixture
async def library(store: Store) -> Store:
    for name, text in {
        "keys": "# Keys\n\nRotate the API key every month. Keys that leak are revoked.",
        "hours": "# Opening hours\n\nWe open at nine; the key hangs at the door.",
        "tea": "# Tea\n\nBoil the water first, then count to ten.",
        "cafe": "# Café\n\nDas Café öffnet um neun. 世界 🙂 The naïve key.",
    }.items():
        await store.put(HERE, draft(text, name=name, title=name))
    await store.put(THERE, draft("# Keys\n\nTheir API key is secret.", name="keys", title="keys"))
    return store


async def test_the_document_that_answers_comes_first(library: Store) -> None:
    page = await find(library, "How do I rotate an API key?")
    assert page.hits[0].title == "keys"
    assert page.hits[0].score > page.hits[1].score
    assert page.hits[0].coverage == 1.0
    assert page.total == 3


async def test_places_are_characters_of_the_markdown_and_highlights_are_the_matched_words(library: Store) -> None:
    page = await find(library, "Who opens the CAFE, naive keys?")
    hit = page.hits[0]
    document, markdown = await library.read(HERE, hit.document_id)
    assert document.title == "cafe"
    assert markdown[hit.place.start : hit.place.end] == hit.passage
    marked = [markdown[mark.start : mark.end] for mark in hit.highlights]
    assert marked == ["Café", "Café", "naïve", "key"]


async def test_only_words_that_matter_are_looked_for(library: Store) -> None:
    assert (await find(library, "How do I do this with the?")).total > 0  # nothing else was asked
    page = await find(library, "How do I knit the?")
    assert page.hits == ()
    assert page.total == 0


async def test_a_word_that_nobody_knows_lowers_coverage(library: Store) -> None:
    whole = (await find(library, "rotate API key")).hits[0]
    partly = (await find(library, "rotate API key zeppelin")).hits[0]
    assert partly.coverage < whole.coverage
    assert partly.score < whole.score


async def test_tenants_never_find_each_others_passages(library: Store) -> None:
    ours = await find(library, "API key secret")
    theirs = await find(library, "API key secret", tenant=THERE)
    assert "secret" not in " ".join(hit.passage for hit in ours.hits)
    assert [hit.passage for hit in theirs.hits] == ["# Keys\n\nTheir API key is secret."]
    assert (await find(library, "secret")).total == 0
    assert (await find(library, "API key", tenant="elsewhere")).hits == ()
    pk = (await library.list(THERE, before=None, limit=1))[0].pk
    assert (await find(library, "API key", document=pk)).hits == ()
    assert (await find(library, "API key", listed=[Found(pk)])).hits == ()


async def test_the_scores_of_a_tenant_do_not_depend_on_other_tenants(library: Store) -> None:
    before = await find(library, "API key")
    for number in range(5):
        await library.put(THERE, draft(f"# Note {number}\n\nAPI key API key"))
    assert await find(library, "API key") == before


@pytest.mark.parametrize(
    "question",
    [
        '"', '"key', "key*", "NEAR(key api)", "key AND", "OR", "NOT key", "title:key", "tenant:1", "(key", "key)",
        "^key", "{title} : key", "a-b", "key\x00", "-key", "+key", "'; DROP TABLE chunk; --", "key\\", "%",
        "ключ", "🙂", "\u0301", "ⅷ", "\U0001e900\U0001e901", "key \U00031350",
    ],
)  # fmt: skip
async def test_nothing_in_a_question_is_syntax(library: Store, question: str) -> None:
    page = await find(library, question)
    assert all(hit.highlights for hit in page.hits)
    if "key" in question.lower():
        assert {hit.title for hit in page.hits} >= {"keys", "hours"}


@given(question=st.text(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_question_is_an_error(library: Store, question: str) -> None:
    page = await find(library, question.encode("utf-8", "replace").decode())
    for hit in page.hits:
        _, markdown = await library.read(HERE, hit.document_id)
        assert markdown[hit.place.start : hit.place.end] == hit.passage


async def test_pages_follow_each_other_whatever_is_stored_in_between(store: Store) -> None:
    for number in range(25):
        await store.put(HERE, draft(f"# Note {number}\n\nThe key number {number}. {FILLER * (number % 5)}"))
    whole = [hit.document_id for hit in (await find(store, "key", limit=50)).hits]
    page = await find(store, "key", limit=10)
    seen = [hit.document_id for hit in page.hits]
    deleted = whole[12]
    await store.delete(HERE, deleted)
    newcomer = (await store.put(HERE, draft("# key\n\nkey key key"))).document
    while page.rest:
        page = await find(store, "key", limit=10, listed=page.rest)
        seen += [hit.document_id for hit in page.hits]
    assert seen == [id for id in whole if id != deleted]
    assert newcomer.id not in seen


async def test_pages_show_the_same_scores_as_one_long_list(store: Store) -> None:
    for number in range(12):
        await store.put(HERE, draft(f"# Note {number}\n\nThe key number {number}. {FILLER * number}"))
    whole = await find(store, "number of the key", limit=50)
    first = await find(store, "number of the key", limit=5)
    second = await find(store, "number of the key", limit=50, listed=first.rest)
    assert first.hits + second.hits == whole.hits
    assert list(whole.hits) == sorted(whole.hits, key=lambda hit: -hit.score)


async def test_within_one_document_its_passages_are_the_hits(store: Store) -> None:
    parts = [f"# Part {number}\n\n{FILLER * 4}The lever of part {number} is red." for number in range(8)]
    document = (await store.put(HERE, draft("\n\n".join(parts)))).document
    await store.put(HERE, draft("# Other\n\nA lever."))
    page = await find(store, "red lever", document=document.pk, limit=3)
    rest = await find(store, "red lever", document=document.pk, limit=50, listed=page.rest)
    places = [hit.place for hit in page.hits + rest.hits]
    assert {hit.document_id for hit in page.hits + rest.hits} == {document.id}
    assert len(places) == len(set(places)) == page.total == 8


async def test_a_brief_passage_is_cut_around_its_matches(store: Store) -> None:
    text = "# Long\n\n" + "word " * 120 + "The brass lever is here. " + "other " * 40
    await store.put(HERE, draft(text))
    brief = (await find(store, "brass lever")).hits[0]
    full = (await find(store, "brass lever", brief=False)).hits[0]
    assert "brass lever" in brief.passage
    assert len(brief.passage) <= BRIEF_CHARACTERS < len(full.passage)
    assert brief.highlights == full.highlights
    assert text[brief.place.start : brief.place.end] == brief.passage
    assert brief.passage.split()[0] in {"word", "The"}


async def test_a_title_is_found_although_the_text_does_not_say_it(store: Store) -> None:
    await store.put(HERE, draft("It keeps lists in order.", name="sortedthings", title="sortedthings"))
    page = await find(store, "sortedthings")
    assert [hit.title for hit in page.hits] == ["sortedthings"]
    assert page.hits[0].highlights == ()
