"""What a user names to be read."""

import os
from pathlib import Path


def require_file(path: Path, *, what: str = "file") -> None:
    """ValueError: there is none, or what is there cannot be read again and again."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a {what}")
    if path.is_file():
        return
    if os.path.exists(path):
        raise ValueError(f"{path} is a pipe or a device; save what it gives as a {what}")
    raise ValueError(f"there is no {what} {path}")
