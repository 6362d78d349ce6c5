"""What the tools work with, imported and made by the first call that needs it: a server lists its tools without waiting
for a database driver."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from servers.content.settings import ContentSettings
from servers.content.values import Found, Page

if TYPE_CHECKING:
    from servers.content.ingest import Ingester
    from servers.content.store import Store

__all__ = ["Library"]


class Library:
    """The documents in one file. `read_path` gives the bytes of a file that callers may name, and its real path."""

    def __init__(self, path: Path, settings: ContentSettings, *, read_path: Callable[[str], tuple[bytes, str]]) -> None:
        self.path = path
        self._settings = settings
        self._read_path = read_path
        self._rooms: tuple[Store, Ingester] | None = None
        self._opening = anyio.Lock()
        self.opened = anyio.Event()
        """Set once somebody has needed the documents."""

    def __repr__(self) -> str:
        return f"<Library in {str(self.path)!r}{'' if self._rooms else ', not opened yet'}>"

    async def store(self) -> "Store":
        return (await self._open())[0]

    async def ingester(self) -> "Ingester":
        return (await self._open())[1]

    async def search(
        self,
        tenant: str,
        question: str,
        *,
        limit: int,
        document_id: str | None,
        listed: Sequence[Found] | None,
        brief: bool,
    ) -> Page:
        """See `servers.content.search`. Raises `NotFound` for an unknown document."""
        store = await self.store()
        from servers.content.database import ask
        from servers.content.search import search

        within = None if document_id is None else (await store.get(tenant, document_id)).pk
        return await store.database.read(
            lambda session: search(
                ask(session), tenant, question, limit=limit, document=within, listed=listed, brief=brief
            )
        )

    async def close(self) -> None:
        if self._rooms is not None:
            await self._rooms[0].database.close()

    async def _open(self) -> tuple["Store", "Ingester"]:
        async with self._opening:
            if self._rooms is None:
                await anyio.to_thread.run_sync(_import)  # about 0.3 s of CPU, once
                from servers.content.database import Database
                from servers.content.ingest import Ingester
                from servers.content.store import Store

                settings = self._settings
                store = Store(
                    Database(self.path, busy_seconds=settings.busy_seconds, max_bytes=settings.max_database_bytes)
                )
                self._rooms = (
                    store,
                    Ingester(store, max_bytes=settings.max_document_bytes, read_path=self._read_path),
                )
                self.opened.set()
            return self._rooms


def _import() -> None:
    import servers.content.ingest  # pyright: ignore[reportUnusedImport]  # read by the imports that follow
    import servers.content.search  # pyright: ignore[reportUnusedImport]  # noqa: F401
