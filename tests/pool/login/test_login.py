"""Logging in at a real authorization server, and what requests carry afterwards."""

import stat
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2
import pytest

from pool.login.auth import Logins
from pool.login.flow import log_in, log_in_as_machine, revoke
from pool.login.tokens import Grant, TokenFolder
from pool.spec import HttpSpec, LoginSpec, SseSpec
from stoa.clock import ManualClock
from stoa.errors import BadInput, Denied, Unavailable
from tests.fakes.authority import Authority
from tests.pool.stage import call, load, open_pool, quick, served

PATIENCE_SECONDS = 30


@dataclass
class Scene:
    authority: Authority
    url: str
    tokens: TokenFolder

    def spec(self, **login: object) -> HttpSpec:
        return HttpSpec(self.url, login=LoginSpec(**login))  # type: ignore[arg-type] - the dataclass's own fields

    async def grant(self, spec: HttpSpec | None = None) -> Grant:
        """A person who opens the address and agrees."""
        with anyio.fail_after(PATIENCE_SECONDS):
            grant = await log_in(spec or self.spec(), show=browse)
        self.tokens.write(grant)
        return grant

    async def status(self, logins: Logins) -> int:
        """Of one request to the server, as a connection would make it."""
        auth = logins.auth(self.spec())
        async with httpx2.AsyncClient(auth=auth) as client:
            return (await client.get(self.url)).status_code

    def logins(self, clock: ManualClock | None = None) -> Logins:
        return Logins(self.tokens.folder, clock=clock)


PASSED = 400
"""What the server behind says to a request that is none: it was let through."""


async def browse(url: str) -> None:
    """A browser that follows where it is sent."""
    async with httpx2.AsyncClient(follow_redirects=True) as browser:
        await browser.get(url)


@asynccontextmanager
async def scene(tmp_path: Path, **habits: object) -> AsyncGenerator[Scene]:
    authority = Authority(load("plain").build().streamable_http_app(), **habits)  # type: ignore[arg-type] - its own fields
    async with served(authority) as address:
        yield Scene(authority, f"http://{address}/mcp", TokenFolder(tmp_path / "tokens"))


async def test_a_login_gives_tokens_for_the_server(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        assert await stage.status(stage.logins()) == 401
        grant = await stage.grant()
        assert grant.url == grant.resource == stage.url
        assert (grant.scope, grant.issuer) == ("tools", stage.url.removesuffix("/mcp"))
        assert await stage.status(stage.logins()) == PASSED
        asked = dict(stage.authority.asked)
        assert asked["/authorize"]["code_challenge_method"] == "S256"
        assert asked["/authorize"]["redirect_uri"].startswith("http://127.0.0.1:")


async def test_a_pool_uses_the_login(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        group = quick("guarded", stage.spec())
        async with open_pool(group, auth=stage.logins().auth) as pool:
            with pytest.raises(Denied, match="guarded") as caught:
                await call(pool, "guarded.echo", {"text": "hello"})
            assert "stoa login guarded" in caught.value.hint
        await stage.grant()
        async with open_pool(group, auth=stage.logins().auth) as pool:
            assert (await call(pool, "guarded.echo", {"text": "hello"})).text == "hello"
            stage.authority.expire()
            assert (await call(pool, "guarded.echo", {"text": "again"})).text == "again"


async def test_no_secret_is_in_any_repr_and_the_file_is_its_owners(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        grant = await stage.grant()
        logins = stage.logins()
        auth = logins.auth(stage.spec())
        assert "hunter2" not in f"{grant!r} {grant} {logins!r} {auth!r} {stage.tokens!r}"
        (path,) = stage.tokens.folder.glob("*.json")
        assert path.name.startswith("127.0.0.1-")
        assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


async def test_a_token_that_ends_is_renewed_before_it_is_used(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        grant = await stage.grant()
        assert grant.expires_at is not None
        clock = ManualClock()
        clock.seconds = grant.expires_at - clock.at.timestamp() - 10
        logins = stage.logins(clock)
        assert await stage.status(logins) == PASSED
        fresh = stage.tokens.read(stage.url)
        assert fresh is not None
        assert fresh.access_token != grant.access_token
        assert fresh.refresh_token != grant.refresh_token
        assert fresh.scope == "tools"
        assert dict(stage.authority.asked)["/token"]["resource"] == stage.url


async def test_a_token_that_the_server_takes_no_more_is_renewed_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        await stage.grant()
        logins = stage.logins()
        assert await stage.status(logins) == PASSED
        stage.authority.expire()
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append(await stage.status(logins))

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(ask)
        assert statuses == [PASSED] * 8
        assert stage.authority.count("refresh_token") == 1


async def test_a_refresh_token_that_has_ended_needs_a_new_login(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        await stage.grant()
        logins = stage.logins()
        stage.authority.forget()
        assert await stage.status(logins) == 401
        assert await stage.status(logins) == 401
        assert stage.authority.count("refresh_token") == 1, "a server that refused is not asked again at once"
        await stage.grant()  # perhaps by another process
        assert await stage.status(logins) == PASSED


async def test_a_refresh_token_that_stays_is_kept(tmp_path: Path) -> None:
    async with scene(tmp_path, rotates=False) as stage:
        grant = await stage.grant()
        stage.authority.expire()
        assert await stage.status(stage.logins()) == PASSED
        fresh = stage.tokens.read(stage.url)
        assert fresh is not None
        assert fresh.refresh_token == grant.refresh_token


REQUEST = """
import sys
from pathlib import Path
import anyio, httpx2
from pool.login.auth import Logins
from pool.spec import HttpSpec

async def main():
    spec = HttpSpec(sys.argv[1])
    auth = Logins(Path(sys.argv[2])).auth(spec)
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    sys.stdin.readline()
    async with httpx2.AsyncClient(auth=auth, trust_env=False) as client:
        sys.stdout.write(f"{(await client.get(spec.url)).status_code}\\n")

anyio.run(main)
"""


async def test_processes_that_renew_at_the_same_time_share_one_refresh(tmp_path: Path) -> None:
    """The authorization server ends the whole grant when a refresh token is used twice."""
    async with scene(tmp_path, together=3) as stage:
        await stage.grant()
        stage.authority.expire()
        command = [sys.executable, "-c", REQUEST, stage.url, str(stage.tokens.folder)]
        with anyio.fail_after(PATIENCE_SECONDS):
            processes = [await anyio.open_process(command, stderr=sys.stderr) for _ in range(3)]
            said: list[bytes] = []
            try:
                for process in processes:
                    assert process.stdout is not None
                    assert await process.stdout.receive() == b"ready\n"
                for process in processes:
                    assert process.stdin is not None
                    await process.stdin.send(b"go\n")
                for process in processes:
                    assert process.stdout is not None
                    said.append(await process.stdout.receive())
                    await process.wait()
            finally:
                for process in processes:
                    if process.returncode is None:
                        process.kill()
                    await process.aclose()
        assert said == [f"{PASSED}\n".encode()] * 3
        assert stage.authority.count("refresh_token") == 1


async def test_an_authorization_server_that_is_away_is_told_as_not_sent(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        grant = await stage.grant()
        stage.tokens.write(grant.model_copy(update={"token_endpoint": "http://127.0.0.1:9/token", "expires_at": 1.0}))
        with pytest.raises(httpx2.ConnectError, match="could not be renewed") as caught:
            await stage.status(stage.logins())
        assert "hunter2" not in str(caught.value)


async def test_a_token_that_still_holds_is_used_when_it_cannot_be_renewed(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        grant = await stage.grant()
        clock = ManualClock()
        soon = clock.now().timestamp() + 5
        stage.tokens.write(grant.model_copy(update={"token_endpoint": "http://127.0.0.1:9/token", "expires_at": soon}))
        assert await stage.status(stage.logins(clock)) == PASSED


async def test_a_person_who_says_no_is_believed(tmp_path: Path) -> None:
    async with scene(tmp_path, denies=True) as stage:
        with pytest.raises(Denied, match="access_denied: not today"):
            await stage.grant()
        assert stage.tokens.read(stage.url) is None


async def test_an_answer_with_another_state_is_no_answer(tmp_path: Path) -> None:
    async with scene(tmp_path, wrong_state=True) as stage:
        with pytest.raises(Unavailable, match="Nobody has finished the login"):
            await log_in(stage.spec(), show=browse, wait_seconds=1)
        assert stage.authority.count("authorization_code") == 0


async def test_an_issuer_that_is_not_the_one_announced_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with scene(tmp_path, wrong_issuer=True) as stage:
        with pytest.raises(Denied, match="issuer mismatch"):
            await stage.grant()
    assert capfd.readouterr().err == "", "it is told once, by the error"


async def test_a_login_on_this_machine_is_not_led_elsewhere_without_tls(tmp_path: Path) -> None:
    async with scene(tmp_path, token_endpoint="http://example.com/token") as stage:
        with pytest.raises(Unavailable, match=r"example\.com/token is no address that a login may go to"):
            await stage.grant()


async def test_a_server_that_is_open_asks_for_no_login(tmp_path: Path) -> None:
    async with scene(tmp_path, open_to_all=True) as stage:
        with pytest.raises((BadInput, Unavailable)):
            await stage.grant()


async def test_a_server_that_is_away_is_named() -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9/mcp did not get through"):
        await log_in(HttpSpec("http://127.0.0.1:9/mcp"), show=browse)


async def test_scopes_of_ones_own_are_asked_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        grant = await stage.grant(stage.spec(scope="read write"))
        assert (stage.authority.scopes, grant.scope) == (["read write"], "read write")


async def test_a_client_that_is_registered_is_used(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        issuer = stage.url.removesuffix("/mcp")
        grant = await stage.grant(stage.spec(client_id="ours", issuer=issuer))
        assert grant.client_id == "ours"
        assert dict(stage.authority.asked)["/authorize"]["client_id"] == "ours"


async def test_a_client_of_another_issuer_is_not_used(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        with pytest.raises(Denied, match=r"belongs to https://issuer\.example"):
            await stage.grant(stage.spec(client_id="ours", client_secret="hunter2", issuer="https://issuer.example"))
        assert "hunter2" not in str(stage.authority.asked)


async def test_a_machine_logs_in_by_itself_and_again_when_its_token_ends(tmp_path: Path) -> None:
    async with scene(tmp_path, machine=("robot", "hunter2-secret")) as stage:
        issuer = stage.url.removesuffix("/mcp")
        spec = stage.spec(client_id="robot", client_secret="hunter2-secret", issuer=issuer, is_machine=True)
        auth = stage.logins().auth(spec)
        async with httpx2.AsyncClient(auth=auth) as client:
            assert (await client.get(stage.url)).status_code == PASSED
            stage.authority.expire()
            assert (await client.get(stage.url)).status_code == PASSED
        assert stage.authority.count("client_credentials") == 2
        assert "hunter2" not in f"{spec!r} {auth!r}"
        with pytest.raises(Denied) as caught:
            await log_in_as_machine(stage.spec(client_id="robot", client_secret="x", issuer=issuer, is_machine=True))
        assert "invalid_client" in str(caught.value)


async def test_a_token_goes_to_its_own_server_only(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage, scene(tmp_path) as other:
        await stage.grant()
        auth = stage.logins().auth(stage.spec())
        async with httpx2.AsyncClient(auth=auth) as client:
            await client.get(other.url)
            response = await client.get(other.url)
        assert "authorization" not in response.request.headers


async def test_a_token_in_the_headers_goes_before_a_login(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        await stage.grant()
        assert stage.logins().auth(HttpSpec(stage.url, {"authorization": "Bearer x"})) is None
        assert stage.logins().auth(SseSpec(stage.url)) is not None


async def test_revoking_ends_the_login_at_the_authorization_server(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        grant = await stage.grant()
        assert await revoke(grant)
        assert stage.authority.refreshable == {}


async def test_a_refresh_is_finished_also_when_its_caller_has_gone(tmp_path: Path) -> None:
    """The old refresh token is spent by then; the new one must be on the disk."""
    async with scene(tmp_path) as stage:
        await stage.grant()
        stage.authority.expire()
        logins = stage.logins()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.status, logins)
            while not stage.authority.count("refresh_token"):  # noqa: ASYNC110 - the server tells nobody
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        assert await stage.status(stage.logins()) == PASSED
        assert stage.authority.count("refresh_token") == 1
