"""A log that is not the one that was read is noticed, and why is said."""

import shutil
from dataclasses import replace
from pathlib import Path

from eventlog.keeping.checkpoint import fits
from eventlog.log import EventLog
from eventlog.open import open_log
from stoa.settings import Settings
from tests.eventlog.keeping.scenes import ORDER, change, fill, truncate


async def test_the_log_that_was_read_fits(log: EventLog) -> None:
    start = await log.checkpoint(0)
    assert await fits(log, start) is None
    await fill(log, ORDER)
    read = await log.checkpoint(3)
    await fill(log, ORDER)
    await truncate(log, ORDER, 5)
    assert await fits(log, start) is None
    assert await fits(log, read) is None


async def test_another_log_does_not_fit(log: EventLog) -> None:
    await fill(log, ORDER)
    read = await log.checkpoint(3)
    assert "another log" in str(await fits(log, replace(read, epoch="elsewhere")))
    assert "another log" in str(await fits(log, replace(read, position=0, epoch="elsewhere")))


async def test_a_log_that_ends_before_or_holds_something_else_does_not_fit(log: EventLog) -> None:
    await fill(log, ORDER)
    read = await log.checkpoint(5)
    assert "older copy" in str(await fits(log, replace(read, position=6)))
    assert "older copy" in str(await fits(log, replace(read, checksum=bytes(32))))
    assert "older copy" in str(await fits(log, replace(read, position=4)))
    await change(log, "DELETE FROM event WHERE position = 5")
    assert "missing" in str(await fits(log, read))


async def test_a_log_restored_from_an_older_copy_is_noticed_however_far_it_has_grown(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path / "log"})
    async with open_log(settings) as log:
        await fill(log, ORDER)
        copied = await log.checkpoint(5)
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    async with open_log(settings) as log:
        await fill(log, ORDER)
        read = await log.checkpoint(10)
    shutil.rmtree(tmp_path / "log")
    shutil.copytree(tmp_path / "copy", tmp_path / "log")
    async with open_log(settings) as log:
        assert await fits(log, copied) is None
        assert "ends at position 5" in str(await fits(log, read))
        await fill(log, ORDER, 5)
        assert "not the one that was read" in str(await fits(log, read))
        await fill(log, ORDER, 5)
        assert "not the one that was read" in str(await fits(log, read))
        assert await fits(log, copied) is None
