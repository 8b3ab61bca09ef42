"""config.json of a model: read without torch, and every value checked before anything is made."""

from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from data.strict_json import read_object
from model.config import ModelConfig

LARGEST_FILE = 2**22  # bytes
# A file asks for no more than these, whatever its weights: tables and layers are made from them.
LARGEST = {
    "num_layers": 1_024,
    "num_experts": 2**15,
    "num_shared_experts": 2**10,
    "context_length": 2**17,
}
LARGEST_OTHER = 2**20
LARGEST_NUMBER = 1e9  # of those with a fraction
ZERO_IS_FINE = {
    *("dense_ffn_dim", "first_dense_layers", "num_experts", "top_k"),
    *("num_shared_experts", "expert_dim"),
}
ABOVE_ZERO = {"rope_base", "norm_eps"}


def load_config(folder: Path) -> ModelConfig:
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"no model in {folder}: config.json is missing")
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} is {path.stat().st_size:,} bytes long: it is no model config")
    values = read_object(path, remedy="copy the model again")
    try:
        return checked_config(values)
    except ValueError as error:
        raise ValueError(f"{path} is not a RouteScope model config: {error}") from error


def checked_config(values: dict[str, Any]) -> ModelConfig:
    known = {field.name: field for field in fields(ModelConfig)}
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"unknown fields {unknown}")
    required = {name for name, field in known.items() if field.default is MISSING}
    if missing := sorted(required - set(values)):
        raise ValueError(f"missing fields {missing}")
    checked = dict(values)
    for name, value in values.items():
        if name == "expert_leaders":
            checked[name] = _leaders(value)
        else:
            kinds = get_args(known[name].type) or (known[name].type,)
            _check_value(name, value, kinds)
            checked[name] = float(value) if float in kinds and value is not None else value
    if checked["num_heads"] * checked["head_dim"] > LARGEST_OTHER:
        raise ValueError(f"num_heads times head_dim must be at most {LARGEST_OTHER}")
    return ModelConfig(**checked)


def _check_value(name: str, value: object, kinds: tuple[Any, ...]) -> None:
    if value is None and NoneType in kinds:
        return
    if int in kinds:
        least, most = int(name not in ZERO_IS_FINE), LARGEST.get(name, LARGEST_OTHER)
        if not _is_whole(value) or not least <= value <= most:  # type: ignore[operator]
            raise ValueError(f"{name} ({_short(value)}) must be an integer from {least} to {most}")
    elif float in kinds:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} ({_short(value)}) must be a number")
        if not 0 <= value <= LARGEST_NUMBER or (value == 0 and name in ABOVE_ZERO):
            start = "above 0" if name in ABOVE_ZERO else "from 0"
            raise ValueError(f"{name} ({_short(value)}) must be {start} to {LARGEST_NUMBER:g}")
    elif not isinstance(value, kinds):
        wanted = "true or false" if bool in kinds else "a string"
        raise ValueError(f"{name} ({_short(value)}) must be {wanted}")


def _leaders(value: object) -> tuple[tuple[int, ...], ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise ValueError("expert_leaders must be a list of lists")
    if not all(_is_whole(one) for row in value for one in row):
        raise ValueError("expert_leaders must hold integers")
    return tuple(map(tuple, value))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: object) -> str:
    return repr(value)[:40]
