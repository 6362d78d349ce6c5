"""Everything that must hold between a document, its text, its passages and the index."""

from sqlmodel import Session

from servers.content.database import Database, ask


async def consistent(database: Database) -> int:
    """How many documents there are, after everything about them has been compared."""

    def work(session: Session) -> int:
        rows = ask(session)
        assert rows("PRAGMA integrity_check", {}) == [("ok",)]
        rows("INSERT INTO chunk_index (chunk_index) VALUES ('integrity-check')", {})
        assert rows("PRAGMA foreign_key_check", {}) == []
        broken = rows(
            """
            SELECT document.id FROM document LEFT JOIN document_text ON document_text.document = document.pk
            WHERE document_text.markdown IS NULL OR length(document_text.markdown) != document.characters
                OR document.chunks != (
                    SELECT count(*) FROM chunk JOIN chunk_index ON chunk_index.rowid = chunk.pk
                    WHERE chunk.document = document.pk
                        AND chunk_index.body = substr(markdown, chunk.start + 1, chunk."end" - chunk.start)
                )
            """,
            {},
        )
        assert broken == []
        assert rows("SELECT count(*) FROM chunk", {}) == rows("SELECT count(*) FROM chunk_index", {})
        found = rows("SELECT count(*) FROM document", {})[0][0]
        assert isinstance(found, int)
        return found

    return await database.write(work)
