"""The folder of tokens: one file for each address, for its owner only, read whole or not at all."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from pool.login import tokens
from pool.login.tokens import Grant, TokenFolder, canonical
from stoa.errors import BadInput

URL = "https://h.example/mcp"


def grant(**changed: object) -> Grant:
    said = {"url": URL, "access_token": "hunter2", "token_endpoint": "https://h.example/token", "client_id": "c"}
    return Grant.model_validate({**said, **changed})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://H.example/mcp", URL),
        ("https://h.example:443/mcp#part", URL),
        ("https://ann:pw@h.example/mcp", URL),
        ("http://h", "http://h:80/"),
    ],
)
def test_spellings_of_an_address_are_one(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize("other", ["http://h.example/mcp", "https://h.example:444/mcp", URL + "/", URL + "?a=b"])
def test_other_addresses_are_others(other: str, tmp_path: Path) -> None:
    folder = TokenFolder(tmp_path / "t")
    folder.write(grant())
    assert folder.read(URL) == grant()
    assert folder.read(other) is None


def test_what_was_kept_is_replaced_and_forgotten(tmp_path: Path) -> None:
    folder = TokenFolder(tmp_path / "t")
    folder.forget(URL)
    folder.write(grant())
    folder.write(grant(access_token="hunter3", refresh_token="r", expires_at=1.5))
    assert folder.read(URL) == grant(access_token="hunter3", refresh_token="r", expires_at=1.5)
    assert [path.suffix for path in folder.folder.iterdir()] == [".json"]
    folder.forget(URL)
    assert folder.read(URL) is None


def test_a_folder_that_others_can_read_is_closed(tmp_path: Path) -> None:
    folder = TokenFolder(tmp_path / "t")
    folder.folder.mkdir(mode=0o755)
    folder.write(grant())
    assert folder.folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"access_token": "hunter2"}', "x" * 2**19, "\0"])
def test_a_damaged_file_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    folder = TokenFolder(tmp_path / "t")
    folder.write(grant())
    folder.path(URL).write_text(text)
    with pytest.raises(BadInput, match="damaged") as caught:
        folder.read(URL)
    assert str(folder.path(URL)) in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_of_another_address_is_not_used(tmp_path: Path) -> None:
    folder = TokenFolder(tmp_path / "t")
    folder.write(grant())
    os.rename(folder.path(URL), folder.path("https://evil.example/mcp"))
    with pytest.raises(BadInput, match="damaged"):
        folder.read("https://evil.example/mcp")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="STOA_HOME"):
        TokenFolder(tmp_path / "file" / "t").write(grant())


async def test_one_at_a_time_is_in_the_lock(tmp_path: Path) -> None:
    folder = TokenFolder(tmp_path / "t")
    inside: list[int] = []

    async def enter() -> None:
        async with folder.locked(URL):
            inside.append(1)
            assert len(inside) == 1
            await anyio.lowlevel.checkpoint()
            inside.pop()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(enter)


@contextmanager
def killing(process: Process) -> Generator[None]:
    """Whatever happens, it ends."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()


async def test_a_lock_is_free_again_when_its_holder_was_killed(tmp_path: Path) -> None:
    folder = TokenFolder(tmp_path / "t")
    code = (
        "import sys, anyio\nfrom pathlib import Path\nfrom pool.login.tokens import TokenFolder\n"
        "async def main():\n"
        "    async with TokenFolder(Path(sys.argv[1])).locked(sys.argv[2]):\n"
        "        sys.stdout.write('in')\n"
        "        sys.stdout.flush()\n"
        "        await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    command = [sys.executable, "-c", code, str(folder.folder), URL]
    async with await anyio.open_process(command, stderr=None) as holder:
        assert holder.stdout is not None
        entered = anyio.Event()

        async def enter() -> None:
            async with folder.locked(URL):
                entered.set()

        with anyio.fail_after(20), killing(holder):
            assert await holder.stdout.receive() == b"in"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(enter)
                with anyio.move_on_after(3 * tokens.POLL_SECONDS):
                    await entered.wait()
                assert not entered.is_set()
                holder.kill()
                await entered.wait()
