"""Documents go in once, give way to newer versions, and are seen by their own tenant only."""

from datetime import timedelta

import pytest
from sqlmodel import Session

from servers.content.database import Database, ask
from servers.content.store import Keyed, Store
from stoa.clock import ManualClock
from stoa.errors import Conflict, NotFound
from tests.servers.content.drafts import draft

HERE, THERE = "here", "there"


async def index_rows(store: Store, tenant: str = HERE) -> tuple[int, int, int]:
    """Documents and passages of a tenant, and all rows of the index; the index checks itself, too."""

    def count(table: str) -> str:
        return f"SELECT count(*) FROM {table} WHERE tenant = :tenant"

    def work(session: Session) -> tuple[int, int, int]:
        rows = ask(session)
        documents, chunks = (rows(count(table), {"tenant": tenant})[0][0] for table in ("document", "chunk"))
        index = rows("SELECT count(*) FROM chunk_index", {})[0][0]
        rows("INSERT INTO chunk_index (chunk_index) VALUES ('integrity-check')", {})
        assert isinstance(documents, int)
        assert isinstance(chunks, int)
        assert isinstance(index, int)
        return documents, chunks, index

    return await store.database.write(work)


async def test_the_same_bytes_are_stored_once(store: Store) -> None:
    first = await store.put(HERE, draft("# One\n\nText."))
    again = await store.put(HERE, draft("# One\n\nText."))
    assert (first.created, again.created, again.changed) == (True, False, False)
    assert again.document == first.document
    assert await index_rows(store) == (1, 1, 1)


async def test_new_bytes_under_a_known_name_replace_the_older_ones(store: Store) -> None:
    first = await store.put(HERE, draft("old words", name="guide.md"))
    second = await store.put(HERE, draft("new words\n\n# More\n\n" + "and more " * 200, name="guide.md"))
    assert (second.created, second.changed) == (False, True)
    assert (second.document.id, second.document.version) == (first.document.id, 2)
    assert (await store.read(HERE, first.document.id))[1].startswith("new words")
    documents, chunks, index = await index_rows(store)
    assert documents == 1
    assert chunks == index == second.document.chunks > 1


async def test_bytes_that_are_known_keep_their_first_name(store: Store) -> None:
    first = await store.put(HERE, draft("words", name="a.md"))
    again = await store.put(HERE, draft("words", name="b.md"))
    assert again.document == first.document


async def test_a_name_whose_new_bytes_another_document_holds_loses_its_older_version(store: Store) -> None:
    kept = await store.put(HERE, draft("words", name="a.md"))
    older = await store.put(HERE, draft("other words", name="b.md"))
    put = await store.put(HERE, draft("words", name="b.md"))
    assert put.document == kept.document
    assert put.removed == older.document
    assert await index_rows(store) == (1, 1, 1)


async def test_a_title_given_later_changes_only_the_title(store: Store) -> None:
    first = await store.put(HERE, draft("words", title="Derived"))
    named = await store.put(HERE, draft("words", title="Chosen", given=frozenset({"title"})))
    again = await store.put(HERE, draft("words", title="Derived"))
    assert named.document.id == first.document.id
    assert (named.changed, again.changed) == (True, False)
    assert again.document.title == "Chosen"


async def test_tenants_do_not_see_each_other(store: Store) -> None:
    ours = (await store.put(HERE, draft("same words", name="a.md", title="Shared title"))).document
    theirs = (await store.put(THERE, draft("same words", name="a.md", title="Shared title"))).document
    assert ours.id != theirs.id
    for tenant, foreign in ((HERE, theirs), (THERE, ours)):
        with pytest.raises(NotFound):
            await store.get(tenant, foreign.id)
        with pytest.raises(NotFound):
            await store.read(tenant, foreign.id)
        with pytest.raises(NotFound):
            await store.delete(tenant, foreign.id)
    assert [each.id for each in await store.list(HERE, before=None, limit=10)] == [ours.id]
    assert await store.complete(HERE, "shared", limit=10) == [ours.id]
    assert await store.complete(HERE, theirs.id, limit=10) == []
    assert await store.find("elsewhere", ours.sha256) is None
    await store.delete(HERE, ours.id)
    assert await index_rows(store, THERE) == (1, 1, 1)


async def test_a_deleted_document_leaves_nothing_behind(store: Store) -> None:
    document = (await store.put(HERE, draft("words " * 900, name="a.md"))).document
    assert (await store.delete(HERE, document.id)) == document
    assert await index_rows(store) == (0, 0, 0)
    with pytest.raises(NotFound, match=document.id):
        await store.delete(HERE, document.id)
    again = await store.put(HERE, draft("words " * 900, name="a.md"))
    assert again.created
    assert again.document.pk > document.pk


async def test_a_key_gets_its_first_answer_and_belongs_to_one_request(store: Store) -> None:
    key = Keyed("upload-1", "fingerprint")
    first = await store.put(HERE, draft("words"), keyed=key)
    again = await store.put(HERE, draft("words"), keyed=key)
    assert again == first
    assert again.created
    assert await store.recall(HERE, key) == first
    assert await store.recall(THERE, key) is None
    with pytest.raises(Conflict, match="upload-1"):
        await store.put(HERE, draft("other words"), keyed=Keyed("upload-1", "another"))
    await store.delete(HERE, first.document.id)
    with pytest.raises(Conflict, match="deleted"):
        await store.put(HERE, draft("words"), keyed=key)


async def test_a_key_is_forgotten_after_a_day(store: Store) -> None:
    clock = ManualClock()
    later = Store(store.database, clock=clock)
    await later.put(HERE, draft("words"), keyed=Keyed("upload-1", "fingerprint"))
    clock.at += timedelta(days=1, seconds=1)
    put = await later.put(HERE, draft("other words"), keyed=Keyed("upload-1", "another"))
    assert put.created


async def test_lists_are_newest_first_and_go_on_where_they_stopped(store: Store) -> None:
    made = [(await store.put(HERE, draft(f"words {number}"))).document for number in range(5)]
    first = await store.list(HERE, before=None, limit=2)
    await store.put(HERE, draft("in between"))
    rest = await store.list(HERE, before=first[-1].pk, limit=10)
    assert [*first, *rest] == made[::-1]


async def test_completion_knows_ids_titles_and_names_and_takes_them_literally(store: Store) -> None:
    document = (await store.put(HERE, draft("words", name="notes/100%.md", title="Élan 100%"))).document
    for prefix in (document.id[:8].lower(), "élan 100%", "NOTES/100", ""):
        if prefix != "élan 100%":  # SQLite folds the case of ASCII letters only
            assert await store.complete(HERE, prefix, limit=10) == [document.id]
    assert await store.complete(HERE, "notes/1_0", limit=10) == []
    assert await store.complete(HERE, "%", limit=10) == []


async def test_moments_come_back_aware(store: Store) -> None:
    clock = ManualClock()
    document = (await Store(store.database, clock=clock).put(HERE, draft("words"))).document
    assert (await store.get(HERE, document.id)).created_at == clock.at


async def test_a_part_of_the_text_can_be_read(store: Store) -> None:
    document = (await store.put(HERE, draft("Grüße, 世界 and more"))).document
    assert (await store.read(HERE, document.id, offset=7, length=2))[1] == "世界"
    assert (await store.read(HERE, document.id, offset=500, length=2))[1] == ""


async def test_a_store_opened_again_has_everything(store: Store) -> None:
    document = (await store.put(HERE, draft("words"))).document
    await store.database.close()
    again = Store(Database(store.database.path))
    assert await again.get(HERE, document.id) == document
    await again.database.close()
