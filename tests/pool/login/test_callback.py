"""Where the browser comes back to: only the right answer counts, and nothing that knocks can stop a login."""

import socket

import anyio
import httpx2
import pytest

from pool.login.callback import MAX_REQUEST_BYTES, Callback, Returned, listening
from pool.login.web import may_ask
from stoa.errors import BadInput, Denied

ASKED = "https://h.example/authorize?client_id=c&state=s1"


def expecting() -> Callback:
    callback = Callback(1)
    callback.expect(ASKED)
    return callback


async def test_the_right_answer_is_taken_once() -> None:
    callback = expecting()
    assert callback.take("/callback?code=c1&state=s1&iss=https%3A%2F%2Fh.example")[0] == 200
    assert callback.take("/callback?code=c2&state=s1")[0] == 400
    returned = await callback.wait()
    assert (returned.code, returned.state, returned.iss) == ("c1", "s1", "https://h.example")
    assert "c1" not in f"{returned!r} {callback!r}"


@pytest.mark.parametrize(
    "target",
    ["/callback?code=c&state=other", "/callback?code=c", "/callback?code=c&state=", "/?code=c&state=s1", "/callback",
     "//[", "/callback?" + "&".join(f"a{number}=b" for number in range(30)), "/callback?state=\xff"],
)  # fmt: skip
def test_anything_else_is_turned_away(target: str) -> None:
    callback = expecting()
    assert callback.take(target)[0] in (400, 404)
    assert callback.take("/callback?code=c&state=s1")[0] == 200


def test_nothing_counts_before_a_login_has_begun() -> None:
    assert Callback(1).take("/callback?code=c&state=")[0] == 400


async def test_a_refusal_is_told_with_its_reason() -> None:
    callback = expecting()
    assert callback.take("/callback?error=access_denied&error_description=no&state=s1&code=c")[0] == 200
    with pytest.raises(Denied, match="access_denied: no"):
        await callback.wait()


async def test_knocking_at_the_door_does_not_stop_a_login() -> None:
    with anyio.fail_after(20):
        async with listening(0) as callback:
            callback.expect(ASKED)
            port = int(callback.url.split(":")[2].partition("/")[0])
            for noise in (b"", b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\n\r\n", b"x" * (MAX_REQUEST_BYTES + 10)):
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    if noise:
                        await stream.send(noise)
            async with httpx2.AsyncClient() as browser:
                assert (await browser.post(f"{callback.url}?code=c&state=s1")).status_code == 405
                page = await browser.get(f"{callback.url}?code=c&state=s1&x=<script>")
            assert page.status_code == 200
            assert "<script>" not in page.text
            assert page.headers["cache-control"] == "no-store"
            assert isinstance(await callback.wait(), Returned)


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=str(port)):
            async with listening(port):
                pass


@pytest.mark.parametrize(
    ("server", "url", "may"),
    [
        ("https://h.example/mcp", "https://other.example/token", True),
        ("https://h.example/mcp", "http://h.example/token", False),
        ("https://h.example/mcp", "http://127.0.0.1/token", False),
        ("https://h.example/mcp", "https://localhost/token", False),
        ("https://h.example/mcp", "https://[::1]/token", False),
        ("https://h.example/mcp", "https://localhost./token", False),
        ("https://h.example/mcp", "https://0.0.0.0/token", False),
        ("https://h.example/mcp", "https://127.1/token", False),
        ("https://h.example/mcp", "https://2130706433/token", False),
        ("https://h.example/mcp", "https://[::ffff:127.0.0.1]/token", False),
        ("https://h.example/mcp", "https://169.254.169.254/latest", False),
        ("https://h.example/mcp", "https://[fe80::1%25eth0]/token", False),
        ("https://h.example/mcp", "https://10.0.0.1/token", False),
        ("https://10.0.0.2/mcp", "https://10.0.0.1/token", True),
        ("https://10.0.0.2/mcp", "https://169.254.169.254/token", False),
        ("https://h.example/mcp", "https://8.8.8.8/token", True),
        ("http://h.example/mcp", "http://h.example:8/token", True),
        ("http://h.example/mcp", "http://other.example/token", False),
        ("http://127.0.0.1/mcp", "http://localhost:9/token", True),
        ("http://127.0.0.1/mcp", "https://h.example/token", True),
        ("http://127.0.0.1/mcp", "http://h.example/token", False),
        ("http://127.0.0.1/mcp", "file:///etc/passwd", False),
        ("http://127.0.0.1/mcp", "javascript:alert(1)", False),
    ],
)
def test_a_login_goes_over_tls_or_stays_on_the_machine(server: str, url: str, may: bool) -> None:
    assert may_ask(url, server=server) is may
