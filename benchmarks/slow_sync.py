"""A disk that takes its time: `fsync` and `fdatasync` of this process last so many milliseconds longer.

Virtual machines often have a disk that syncs in some 40 µs, out of a cache; a consumer SSD takes 0.5 to 5 ms. A few
lines of C before the system's own, on Linux, with the compiler that is there.
"""

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["begin_again_slowly", "sync_milliseconds"]

VARIABLE = "STOA_BENCH_SYNC_MS"
SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static void wait(void) { const char *ms = getenv("STOA_BENCH_SYNC_MS"); if (ms) usleep(atoi(ms) * 1000); }
int fsync(int fd) { wait(); return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { wait(); return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"""


def sync_milliseconds() -> int:
    """How much longer a sync lasts in this process."""
    return int(os.environ.get(VARIABLE, "0"))


def begin_again_slowly(milliseconds: int, folder: Path, module: str) -> None:
    """Start `module` anew in this process, with the same options and slow syncs."""
    library = folder / "slow_sync.so"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(command, input=SOURCE.encode(), check=True)
    environ = os.environ | {"LD_PRELOAD": str(library), VARIABLE: str(milliseconds)}
    os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], environ)
