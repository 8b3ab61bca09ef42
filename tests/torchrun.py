"""Several processes of one test, started as a user starts them."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUTESCOPE = str(Path(sysconfig.get_path("scripts")) / "routescope")
SECONDS = 200  # a test may take


def start(ranks: int, *command: str) -> subprocess.Popen[str]:
    """`command`: a script or `-m` and a module, with what follows it."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.Popen(
        [*launcher, "--nproc-per-node", str(ranks), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def outcome(launcher: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit code, output, errors); ends all processes where they take too long."""
    try:
        output, errors = launcher.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        launcher.terminate()  # which ends its processes
        output, errors = launcher.communicate()
        raise AssertionError(f"not done in {SECONDS} s: {output}{errors}") from None
    return launcher.returncode, output, errors


def run(ranks: int, *command: str) -> str:
    """The output of a command that ends well."""
    code, output, errors = outcome(start(ranks, *command))
    assert code == 0, errors
    return output
