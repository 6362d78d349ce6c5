"""An environment of its own for a rival that cannot live in ours: made once, from hashed requirements."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["environment"]

ROOT = Path(__file__).parents[1]


def environment(name: str, *, folder: Path = ROOT / ".venv-bench", requirements: Path = ROOT / "requirements") -> Path:
    """The folder of programs of the environment for `requirements/bench-NAME.txt`; made anew when that has changed.

    Raises `CalledProcessError` where pip cannot install it; pip has said why by then.
    """
    wanted = requirements / f"bench-{name}.txt"
    home = folder / name
    programs, stamp = home / ("Scripts" if sys.platform == "win32" else "bin"), home / "stamp"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text("ascii") == digest:
        return programs
    print(f"installing {name} into {home} ...", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    subprocess.run([str(programs / "python"), *install, "--only-binary", ":all:", "-r", str(wanted)], check=True)
    stamp.write_text(digest, "ascii")
    return programs
