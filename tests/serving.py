"""What tests that start the dashboard share."""

import socket
import subprocess
import urllib.request
from pathlib import Path
from time import monotonic

import pytest


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until_healthy(url: str, process: subprocess.Popen, log: Path) -> None:
    end = monotonic() + 60
    while monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1) as answer:
                if answer.read() == b"ok":
                    return
        except OSError:
            continue
    pytest.fail(f"the app did not start:\n{log.read_text()[-2000:]}")
