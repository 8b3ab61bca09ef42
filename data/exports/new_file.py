"""A file that appears whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from data.outputs import partial_path, require_new_file


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """To fill, before it has its name. ValueError: there is one already, or it cannot be made."""
    require_new_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        with partial.open("wb") as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
