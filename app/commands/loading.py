"""The options that say which model a command loads, and how."""

import re
from pathlib import Path
from typing import Annotated

import typer

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
    if model.exists() or not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return model
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    try:
        return Path(
            snapshot_download(
                name, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
            )
        )
    except Exception as error:  # of the network, the hub or the disk
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0][:200] if lines else type(error).__name__
        raise ValueError(
            f"there is no folder {name}, and it cannot be had from the Hugging Face hub: {reason}"
        ) from error
