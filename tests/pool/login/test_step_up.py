"""A server that wants more rights for one request than the login has: the next login asks for all of them."""

from pathlib import Path

import anyio
import httpx2
from starlette.types import ASGIApp, Receive, Scope, Send

from pool.login.auth import Logins
from pool.login.flow import log_in
from pool.login.tokens import TokenFolder
from pool.spec import HttpSpec
from tests.fakes.authority import Authority
from tests.pool.stage import load, served

CHALLENGE = b'Bearer scope="write", error="insufficient_scope"'


class WantsMore:
    """Lets everybody read; whoever writes needs a token that came with the scope for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.authority: Authority | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.authority is not None
        if scope["method"] != "PUT" or "write" in self.authority.scopes[-1].split():
            await self._app(scope, receive, send)
            return
        headers = [(b"www-authenticate", CHALLENGE)]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def browse(url: str) -> None:
    async with httpx2.AsyncClient(follow_redirects=True) as browser:
        await browser.get(url)


async def test_the_next_login_asks_for_what_was_lacking_and_running_pools_use_it(tmp_path: Path) -> None:
    door = WantsMore(load("plain").build().streamable_http_app())
    door.authority = authority = Authority(door)
    async with served(authority) as address:
        spec = HttpSpec(f"http://{address}/mcp")
        tokens = TokenFolder(tmp_path / "tokens")
        with anyio.fail_after(30):
            tokens.write(await log_in(spec, show=browse))
        assert authority.scopes == ["tools"]
        auth = Logins(tokens.folder).auth(spec)
        async with httpx2.AsyncClient(auth=auth) as client:
            assert (await client.get(spec.url)).status_code != 403
            assert (await client.put(spec.url)).status_code == 403
            before = tokens.read(spec.url)
            assert before is not None
            assert (before.scope, before.wanted) == ("tools", "tools write")
            with anyio.fail_after(30):
                tokens.write(await log_in(spec, show=browse, before=before))
            assert authority.scopes == ["tools", "tools write"]
            assert (await client.put(spec.url)).status_code != 403
