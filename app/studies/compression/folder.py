"""A smaller model, written and read back."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from app.studies.reader import Tracer, load_reader

if TYPE_CHECKING:
    from model.transformer import Transformer


def write_model(model: "Transformer", source: Path, folder: Path) -> Tracer:
    """The model with the tokenizer of `source`, and read back: what is measured is the file."""
    from model.checkpoint import save_model

    save_model(model, folder)
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    return load_reader(folder)
