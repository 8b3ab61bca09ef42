"""The options that say which model a command loads, and how."""

from pathlib import Path
from typing import Annotated

import typer

from app import hub

Model = Annotated[
    Path,
    typer.Option(
        help="Folder of a model, ours or of transformers; or ORGANIZATION/NAME on the Hugging Face "
        "hub, which is downloaded."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="For a model of transformers: cpu, cuda, cuda:1, or auto for all there are. By "
        "default a GPU if there is one."
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="For a model of transformers: float32, bfloat16 or float16. By default bfloat16 on a "
        "GPU, float32 elsewhere."
    ),
]


def model_folder(model: Path) -> Path:
    """Of a model named by folder or by hub id; what the hub has is downloaded first.

    ValueError: it is neither, or the hub cannot be reached.
    """
    name = model.as_posix()
    if model.exists() or not hub.is_name(name):
        return model
    try:
        return hub.download(name)
    except ValueError as error:
        raise ValueError(f"there is no folder {name}, and {error}") from error
