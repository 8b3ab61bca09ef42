"""`--model-class`: a model of transformers instead of a preset."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data.strict_json import read_object

if TYPE_CHECKING:
    from model.training.transformers_model import TransformersModel

PREFIX = "transformers:"

ModelClass = Annotated[
    str | None,
    typer.Option(
        help="'transformers:CONFIG.json' trains a MoE model of transformers, built from that "
        "config, instead of a preset."
    ),
]


def config_path(model_class: str, given: Mapping[str, object]) -> Path:
    """`given`: the options that are of our own models, by name, where they were used."""
    if not model_class.startswith(PREFIX):
        raise ValueError(f"--model-class is {model_class!r}; give transformers:CONFIG.json")
    if refused := [f"--{name}" for name, value in given.items() if value]:
        raise ValueError(
            f"{', '.join(refused)} and --model-class do not go together: a model of transformers "
            "is as its config says, trained in one stage, whole on every process"
        )
    path = Path(model_class.removeprefix(PREFIX))
    if not path.is_file():
        raise ValueError(f"{path} is not a file; give the config.json of a model of transformers")
    return path


def new_transformers_model(path: Path, *, device: str) -> "TransformersModel":
    from transformers.utils.logging import disable_progress_bar

    from model.training.transformers_config import read_config, refused
    from model.training.transformers_model import TransformersModel

    disable_progress_bar()  # the command has one of its own
    values = read_object(path, remedy="give the config.json of a model of transformers")
    config = read_config(values, path)
    with refused(path):
        return TransformersModel(config, device=device)
