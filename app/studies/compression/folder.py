"""Where a smaller model goes: a new folder, there as a whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.studies.reader import Tracer, load_reader

if TYPE_CHECKING:
    from model.transformer import Transformer


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` at the end of the block, or nothing at all."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder; name another one")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        partial.chmod(0o755)
        yield partial
        os.replace(partial, out)
    except BaseException:
        shutil.rmtree(partial)
        raise


def write_model(model: "Transformer", source: Path, folder: Path) -> Tracer:
    """The model with the tokenizer of `source`, and read back: what is measured is the file."""
    from model.checkpoint import save_model

    save_model(model, folder)
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    return load_reader(folder)
