"""The Mixture-of-Experts families of the installed transformers; a new release brings its own."""

import importlib
import inspect
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import transformers
from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto

FOLDER = Path(transformers.__file__).parent / "models"
AUTO = {  # what AutoModelFor... knows, as names of classes by type of model; the best kind first
    "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "seq2seq": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    "image-text": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    "token-classification": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    "base": modeling_auto.MODEL_MAPPING_NAMES,
}
WITHOUT_EXPERTS = {"gemma4_assistant": "its config refuses the experts of the text model in it"}


@dataclass(frozen=True)
class Family:
    name: str  # of its folder
    model_class: type[Any]
    kind: str  # a key of AUTO

    @property
    def config_class(self) -> type[Any]:
        """Of several that a model takes, that of text."""
        choices = _configs(self.model_class)
        return next((choice for choice in choices if not choice.sub_configs), choices[0])


@cache
def families() -> list[Family]:
    """Those that record what their routers say, and those made around the text model of one."""
    recording = {name: _recording(name) for name in _naming("modeling", ["router_logits"])}
    types = {one.model_type for models in recording.values() for m in models for one in _configs(m)}
    around = _naming("configuration", [f'model_type="{model_type}"' for model_type in types])
    own = [name for name, models in recording.items() if models]
    return [_best(name) for name in dict.fromkeys(own + around) if name not in WITHOUT_EXPERTS]


def _naming(kind: str, texts: list[str]) -> list[str]:
    """Families with one of the texts in a file of that kind."""
    return [
        file.parent.name
        for file in sorted(FOLDER.glob(f"*/{kind}_*.py"))
        if any(text in file.read_text(encoding="utf-8") for text in texts)
    ]


def _recording(name: str) -> list[type[Any]]:
    return [
        model for model in _models(name) if "router_logits" in (model._can_record_outputs or {})
    ]


def _best(name: str) -> Family:
    for kind, names_by_type in AUTO.items():
        names = {
            one
            for names in names_by_type.values()
            for one in ([names] if isinstance(names, str) else names)
        }
        for model in _models(name):
            if model.__name__ in names:
                return Family(name, model, kind)
    raise AssertionError(f"{name}: AutoModel knows none of its classes")


def _models(name: str) -> list[type[Any]]:
    """In the order of the file: a model of text comes before what is made around it."""
    files = sorted((FOLDER / name).glob("modeling_*.py"))
    modules = [importlib.import_module(f"transformers.models.{name}.{file.stem}") for file in files]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, PreTrainedModel)
        and value.__module__ == module.__name__
    ]


def _configs(model: type[Any]) -> tuple[type[Any], ...]:
    declared = model.config_class
    return get_args(declared) if isinstance(declared, UnionType) else (declared,)
