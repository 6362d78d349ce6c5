"""Children that behave badly: what the caller is told, and that nothing hangs."""

import json
import os
import shlex
import sys

import anyio
import anyio.lowlevel
import pytest
from pydantic import JsonValue

from pool.spec import StdioSpec
from stoa.errors import BadInput, Fault, OutcomeUnknown, Unavailable
from stoa.principal import LOCAL
from stoa.tools import ToolCall, ToolRef
from stoa.wire import MAX_MESSAGE_BYTES
from tests.pool.stage import call, open_pool, plain, quick, raw


async def test_a_server_on_the_plain_sdk_is_spoken_to_in_the_modern_era() -> None:
    async with open_pool(quick("one", plain())) as pool:
        served = await pool.call(ToolCall(ToolRef("one", "whoami")), principal=LOCAL)
        assert isinstance(served.result.structured, dict)
        assert served.result.structured["pid"] != os.getpid()
        (line,) = await pool.status()
        assert (line.era, line.version) == ("modern", "1.2.3")
        assert (await pool.read_resource("one", "plain://greeting", principal=LOCAL))[0].text == "hello"
        assert (await call(pool, "one.fail")).is_error


async def test_a_command_that_does_not_exist_is_named() -> None:
    async with open_pool(quick("one", StdioSpec("no-such-program-here"))) as pool:
        with pytest.raises(BadInput, match="'no-such-program-here'") as caught:
            await call(pool, "one.echo")
        assert "mcpServers.one.command" in caught.value.hint


async def test_a_folder_that_does_not_exist_is_named() -> None:
    async with open_pool(quick("one", StdioSpec(sys.executable, cwd="/no/such/folder"))) as pool:
        with pytest.raises(BadInput, match="'/no/such/folder'"):
            await call(pool, "one.echo")


async def test_a_command_that_may_not_be_run_is_named(tmp_path: os.PathLike[str]) -> None:
    script = os.path.join(tmp_path, "script")
    with open(script, "w") as file:  # noqa: ASYNC230 - a few bytes in a test
        file.write("#!/no/such/interpreter\n")
    os.chmod(script, 0o700)
    async with open_pool(quick("one", StdioSpec(script))) as pool:
        with pytest.raises(Unavailable, match="No such file or directory"):
            await call(pool, "one.echo")


@pytest.mark.parametrize(
    ("habit", "said", "code"),
    [("die-at-start", "cannot find my configuration", 4), ("die-at-initialize", "no luck today", 7)],
)
async def test_a_server_that_dies_at_start_is_quoted(habit: str, said: str, code: int) -> None:
    async with open_pool(quick("one", raw(habit))) as pool:
        with pytest.raises(Unavailable, match="ended before it answered") as caught:
            await call(pool, "one.echo")
        assert said in str(caught.value)
        assert f"Its exit code was {code}." in str(caught.value)
        assert "It ended" not in str(caught.value)
        assert "raw.py" in caught.value.hint


async def test_the_command_to_try_by_hand_can_be_pasted_and_keeps_its_secrets() -> None:
    code = "import sys; sys.exit('it is over')"
    group = quick("one", StdioSpec(sys.executable, ("-c", code, "--api-key", "hunter2-hunter2")))
    async with open_pool(group) as pool:
        with pytest.raises(Unavailable, match="it is over") as caught:
            await call(pool, "one.echo")
    shown = caught.value.hint.removeprefix("Try its command by hand: ")
    assert shlex.split(shown) == [sys.executable, "-c", code, "--api-key", "***"]


@pytest.mark.parametrize("habit", ["never-answer", "no-list"])
async def test_a_server_that_never_answers_is_given_up(habit: str) -> None:
    async with open_pool(quick("one", raw(habit), start_timeout_seconds=0.5)) as pool:
        with pytest.raises(Unavailable, match=r"did not answer within 0\.5 seconds"):
            await call(pool, "one.echo")


async def test_one_dead_server_does_not_stall_the_list_of_the_others() -> None:
    groups = [
        quick("good", raw()),
        quick("mute", raw("never-answer"), start_timeout_seconds=1),
        quick("dead", raw("die-at-start")),
        quick("missing", StdioSpec("no-such-program-here")),
    ]
    async with open_pool(*groups) as pool:
        started = anyio.current_time()
        catalogue = await pool.tools()
        assert anyio.current_time() - started < 10
        assert {tool.ref.server for tool in catalogue.tools} == {"good"}
        reasons = dict(catalogue.unreachable)
        assert list(reasons) == ["mute", "dead", "missing"]
        assert "within 1 seconds" in reasons["mute"]
        assert "cannot find my configuration" in reasons["dead"]
        assert "no-such-program-here" in reasons["missing"]
        states = {line.server: line.state for line in await pool.status()}
        assert states == {"good": "healthy", "mute": "stopped", "dead": "stopped", "missing": "stopped"}


async def test_a_server_that_was_down_is_tried_again_when_it_is_needed(tmp_path: os.PathLike[str]) -> None:
    flag = os.path.join(tmp_path, "flag")
    program = f"import os, sys; os.path.exists({flag!r}) or sys.exit(1); exec(open({raw().args[2]!r}).read())"
    async with open_pool(quick("one", StdioSpec(sys.executable, ("-S", "-E", "-c", program)))) as pool:
        with pytest.raises(Unavailable):
            await call(pool, "one.pid")
        with open(flag, "w"):  # noqa: ASYNC230 - an empty file
            pass
        with anyio.fail_after(10):
            while True:
                try:
                    assert (await call(pool, "one.echo", {"text": "up"})).text == "up"
                    break
                except Unavailable as error:
                    await anyio.sleep(error.retry_after or 0.01)


async def test_garbage_on_stdout_is_read_over() -> None:
    async with open_pool(quick("one", raw("noise-at-start"))) as pool:
        assert (await call(pool, "one.garbage", {"text": "sense"})).text == "sense"


async def test_a_late_answer_after_garbage_tells_of_the_garbage() -> None:
    async with open_pool(quick("one", raw())) as pool:
        await call(pool, "one.garbage")
        with pytest.raises(Unavailable, match="not MCP messages, the first: 'this is not JSON'"):
            await call(pool, "one.never", timeout_seconds=0.1)


async def test_a_program_that_is_no_mcp_server_is_given_up_at_once() -> None:
    async with open_pool(quick("one", raw("noise-forever"))) as pool:
        with pytest.raises(Unavailable, match="not an MCP server") as caught:
            await call(pool, "one.echo")
        assert "the first: 'y'" in caught.value.message


async def test_a_server_that_turns_to_noise_is_cut_off_and_started_again() -> None:
    async with open_pool(quick("one", raw())) as pool:
        with pytest.raises(Unavailable, match="not an MCP server"):
            await call(pool, "one.garbled")
        assert (await call(pool, "one.echo", {"text": "again"})).text == "again"


async def test_an_answer_over_the_limit_is_cut_off_with_a_clear_error() -> None:
    async with open_pool(quick("one", raw())) as pool:
        with pytest.raises(Unavailable, match="more than 16 MiB"):
            await call(pool, "one.huge", {"bytes": MAX_MESSAGE_BYTES})
        assert (await call(pool, "one.echo", {"text": "again"})).text == "again"


async def test_an_answer_just_below_the_limit_arrives() -> None:
    async with open_pool(quick("one", raw())) as pool:
        result = await call(pool, "one.huge", {"bytes": MAX_MESSAGE_BYTES - 1000})
        assert len(result.text) == MAX_MESSAGE_BYTES - 1000


async def test_a_request_over_the_limit_is_not_sent() -> None:
    async with open_pool(quick("one", raw())) as pool:
        await pool.tools()
        with pytest.raises(BadInput, match="the limit is 16777216"):
            await call(pool, "one.echo", {"text": "x" * MAX_MESSAGE_BYTES})
        assert "1/1 ready" in repr(pool)


async def test_a_flood_on_stderr_blocks_nobody_and_its_end_is_kept() -> None:
    async with open_pool(quick("one", raw())) as pool:
        await call(pool, "one.stderr", {"text": "n" * 1000, "times": 5000})
        await call(pool, "one.stderr", {"text": "the last thing"})
        with pytest.raises(OutcomeUnknown) as caught:
            await call(pool, "one.write_crash")
        assert "the last thing" in caught.value.message
        assert "about to crash" in caught.value.message
        assert len(caught.value.message) < 4000


async def test_secrets_that_a_server_prints_are_masked() -> None:
    spec = raw("die-at-start", "print-secret", "hunter2-in-arguments", env={"API_KEY": "hunter2-in-env"})
    spec = StdioSpec(spec.command, spec.args, env=spec.env, secrets=("hunter2-in-env", "hunter2-in-arguments"))
    async with open_pool(quick("one", spec)) as pool:
        with pytest.raises(Unavailable, match=r"my key is \*\*\*") as caught:
            await call(pool, "one.echo")
        told = str(caught.value) + repr(spec) + str((await pool.status())[0]) + repr(pool)
        assert "hunter2" not in told


async def test_nothing_a_child_writes_reaches_our_own_output(capfd: pytest.CaptureFixture[str]) -> None:
    async with open_pool(quick("one", raw("noise-at-start"))) as pool:
        await call(pool, "one.stderr", {"text": "to nobody"})
    assert capfd.readouterr() == ("", "")


async def test_a_child_gets_only_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEBODY_ELSES_TOKEN", "secret")
    async with open_pool(quick("one", raw(env={"MINE": "yes"}), trusted=False)) as pool:
        found = json.loads((await call(pool, "one.environment")).text)
    assert found["MINE"] == "yes"
    assert found["PATH"] == os.environ["PATH"]
    assert "SOMEBODY_ELSES_TOKEN" not in found
    assert "STOA_INTERNAL_KEY" not in found


async def test_children_of_ours_get_a_key_of_their_own() -> None:
    keys: list[str] = []
    for _ in range(2):
        async with open_pool(quick("one", raw()), key=b"k" * 32) as pool:
            keys.append(json.loads((await call(pool, "one.environment")).text)["STOA_INTERNAL_KEY"])
    assert len(set(keys)) == 2
    assert all(len(key) >= 32 for key in keys)


async def test_a_changed_tool_list_is_noticed() -> None:
    async with open_pool(quick("one", raw())) as pool:
        before = {tool.ref.tool for tool in (await pool.tools()).tools}
        await call(pool, "one.grow")
        with anyio.fail_after(5):
            while (await pool.tools()).find(ToolRef("one", "grown")) is None:
                await anyio.lowlevel.checkpoint()
        assert "grown" not in before


async def test_all_pages_of_a_list_are_read() -> None:
    async with open_pool(quick("paged", raw("pages")), quick("whole", raw())) as pool:
        tools = (await pool.tools()).tools
        paged, whole = ([tool.ref.tool for tool in tools if tool.ref.server == name] for name in ("paged", "whole"))
        assert paged == whole
        assert len(paged) > 9


async def test_a_list_without_end_is_given_up() -> None:
    async with open_pool(quick("one", raw("endless"))) as pool:
        ((_, reason),) = (await pool.tools()).unreachable
        assert "does not end" in reason


@pytest.mark.parametrize(
    ("code", "error"), [(-32602, BadInput), (-32603, Fault), (-32000, Fault), (-32001, Fault), (-32600, BadInput)]
)
async def test_an_error_of_the_protocol_is_an_answer_and_costs_no_connection(code: int, error: type[Exception]) -> None:
    async with open_pool(quick("one", raw())) as pool:
        pid = (await call(pool, "one.pid")).text
        with pytest.raises(error, match="refused"):
            await call(pool, "one.refuse", {"code": code})
        assert (await call(pool, "one.pid")).text == pid


async def test_an_answer_of_the_wrong_shape_is_the_servers_fault() -> None:
    async with open_pool(quick("one", raw())) as pool:
        with pytest.raises(Fault, match="not valid MCP 2025-11-25"):
            await call(pool, "one.wrong_shape")


async def test_half_a_character_in_an_answer_costs_that_character_only() -> None:
    async with open_pool(quick("one", raw())) as pool:
        with anyio.fail_after(10):
            assert (await call(pool, "one.half")).text == "a\ufffdb\U0001f600\\ud83d"


@pytest.mark.parametrize("arguments", [{"text": "a\ud83d"}, {"a\ud83d": 1}, {"text": ["a", {"b": "\ud83d"}]}])
async def test_half_a_character_in_the_arguments_costs_that_call_only(arguments: dict[str, JsonValue]) -> None:
    async with open_pool(quick("one", raw())) as pool:
        pid = (await call(pool, "one.pid")).text
        with pytest.raises(BadInput, match=r"one\.echo cannot be sent"):
            await call(pool, "one.echo", arguments)
        with pytest.raises(BadInput, match="cannot be sent"):
            await pool.read_resource("one", "x://\ud83d", principal=LOCAL)
        assert (await call(pool, "one.pid")).text == pid


@pytest.mark.parametrize("habits", [("malformed",), ("malformed", "modern")])
async def test_a_malformed_tool_does_not_hide_the_others(
    habits: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(quick("one", raw(*habits))) as pool:
        assert [tool.ref.tool for tool in (await pool.tools()).tools] == ["echo", "pid"]
        assert (await call(pool, "one.echo", {"text": "x"})).text == "x"
    assert "unschematic" in caplog.text


async def test_a_list_of_tools_that_cannot_be_read_is_told_in_one_line(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(quick("one", raw("bad-list"))) as pool:
        with pytest.raises(Fault, match="not valid MCP"):
            await call(pool, "one.echo")
    assert "Traceback" not in f"{capfd.readouterr()}{caplog.text}"


async def test_a_server_that_closes_its_stdout_is_lost() -> None:
    async with open_pool(quick("one", raw())) as pool:
        with pytest.raises(Unavailable, match="was lost"):
            await call(pool, "one.close_stdout")
        assert (await call(pool, "one.echo", {"text": "again"})).text == "again"


async def test_a_write_that_did_not_answer_in_time_has_an_unknown_outcome() -> None:
    async with open_pool(quick("one", raw())) as pool:
        await pool.tools()
        with pytest.raises(OutcomeUnknown, match=r"one\.write_never did not answer within 0\.1 seconds"):
            await call(pool, "one.write_never", timeout_seconds=0.1)


@pytest.mark.parametrize("how", ["deadline", "caller"])
@pytest.mark.parametrize("habits", [(), ("modern",)])
async def test_the_server_is_told_when_a_call_is_given_up(how: str, habits: tuple[str, ...]) -> None:
    async with open_pool(quick("one", raw(*habits))) as pool:
        await pool.tools()
        if how == "deadline":
            with pytest.raises(OutcomeUnknown):
                await call(pool, "one.write_slow", {"seconds": 30}, timeout_seconds=0.2)
        else:
            with anyio.move_on_after(0.2):
                await call(pool, "one.write_slow", {"seconds": 30})
        with anyio.fail_after(5):
            while True:  # the server writes "cancelled" on stderr, which errors quote
                with pytest.raises(Unavailable) as caught:
                    await call(pool, "one.never", timeout_seconds=0.05)
                if "cancelled\n" in f"{caught.value.message}\n":
                    break
