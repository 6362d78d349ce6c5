"""A job that is killed anywhere and run again leaves what it would have left at once."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize(
    ("job", "points"),
    [
        ("export", 8),
        pytest.param("import", 12, marks=pytest.mark.slow),
        ("erase", 8),
        ("erase_subject", 14),
        ("truncate", 4),
    ],
)
def test_a_killed_job_is_run_again_to_the_same_end(tmp_path: Path, job: str, points: int) -> None:
    command = [sys.executable, "-m", "tests.eventlog.keeping.dying", str(tmp_path), job]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert [each.pop("point") for each in found] == list(range(len(found)))
    assert len(found) - 1 >= points
    assert found[0]["problems"] == []
    assert [each for each in found if each != found[0]] == []
