"""A process that serves this one: not multiprocessing's own, which first runs the main program
again."""

import subprocess
import sys
from typing import Any


def served_by(
    module: str, descriptor: int, *arguments: object, **options: Any
) -> subprocess.Popen[bytes]:
    """Calls `serve` of the module with the descriptor, which stays open in it, and the arguments,
    as they are written in Python. `options`: of Popen."""
    called = f"from {module} import serve; serve{(descriptor, *arguments)}"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"import sys; sys.path[:] = {sys.path!r}; {called}"],
        stdin=subprocess.DEVNULL,
        pass_fds=[descriptor],
        **options,
    )
