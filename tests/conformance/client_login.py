"""A person in front of a browser, who agrees to everything at once: what `stoa login` needs somebody for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx2

from pool.login.auth import Logins
from pool.login.flow import log_in
from pool.login.tokens import TokenFolder
from pool.spec import HttpSpec, LoginSpec

__all__ = ["Person"]

CLIENT_METADATA: Final = "https://conformance-test.local/client-metadata.json"
"""The address that is our client id where a server knows CIMD; the suite looks for this very one."""


class Person:
    """Logs in to a server as its scenario says (`context`), and keeps the tokens in `folder`."""

    def __init__(self, url: str, context: Mapping[str, Any], folder: Path) -> None:
        self._tokens = TokenFolder(folder)
        self.logins = Logins(folder)
        login = LoginSpec(
            client_id=context.get("client_id", ""),
            client_secret=context.get("client_secret", ""),
            metadata_url=CLIENT_METADATA,
        )
        self.spec = HttpSpec(url, login=login)

    async def log_in(self) -> None:
        """Raises what the login raises."""
        self._tokens.write(await log_in(self.spec, show=_agree, before=self._tokens.read(self.spec.url)))


async def _agree(url: str) -> None:
    """What a browser does: open the page, and follow the way back."""
    async with httpx2.AsyncClient() as browser:
        page = await browser.get(url)
        await browser.get(page.headers["location"])
