"""Wherever a file was cut, an export goes on to the very same file; a file that was changed anyhow is refused."""

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eventlog.backup.exporting import export_events
from eventlog.backup.importing import import_events
from eventlog.log import EventLog
from eventlog.open import open_memory
from stoa.errors import BadInput
from tests.eventlog.keeping.scenes import everything


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def log(portal: BlockingPortal) -> Iterator[EventLog]:
    with portal.wrap_async_context_manager(open_memory()) as log:
        portal.call(everything, log)
        yield log


@pytest.fixture(scope="module")
def target(portal: BlockingPortal) -> Iterator[EventLog]:
    with portal.wrap_async_context_manager(open_memory()) as log:
        yield log


@pytest.fixture(scope="module")
def whole(portal: BlockingPortal, log: EventLog, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("whole") / "events.jsonl"
    portal.call(export_events, log, file)
    return file.read_bytes()


@settings(max_examples=100)
@given(data=st.data())
def test_an_export_that_was_cut_anywhere_goes_on(
    portal: BlockingPortal, log: EventLog, whole: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(whole)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        file.write_bytes(whole[:at])
        done = portal.call(export_events, log, file)
        assert file.read_bytes() == whole
        assert done.resumed_at == max(0, min(whole[:at].count(b"\n") - 1, done.events))


def damage(data: st.DataObject, whole: bytes) -> bytes:
    lines = whole.splitlines(keepends=True)
    line = data.draw(st.integers(0, len(lines) - 1), label="line")
    other = data.draw(st.integers(0, len(lines) - 1), label="other line")
    match data.draw(st.sampled_from(["bit", "drop", "repeat", "swap", "cut", "append"])):
        case "bit":
            at = data.draw(st.integers(0, len(whole) - 1))
            return whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1 :]
        case "drop":
            del lines[line]
        case "repeat":
            lines.insert(other, lines[line])
        case "swap":
            lines[line], lines[other] = lines[other], lines[line]
        case "cut":
            return whole[: data.draw(st.integers(0, len(whole) - 1))]
        case _:
            return whole + data.draw(st.binary(min_size=1, max_size=20))
    return b"".join(lines)


@settings(max_examples=300)
@given(data=st.data())
def test_a_file_that_was_changed_anyhow_is_refused(
    portal: BlockingPortal, target: EventLog, whole: bytes, data: st.DataObject
) -> None:
    damaged = damage(data, whole)
    assume(damaged != whole)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        file.write_bytes(damaged)
        with pytest.raises(BadInput, match=r"[Ll]ine \d+"):
            portal.call(functools.partial(import_events, target, file))
    assert portal.call(target.head).position == 0
