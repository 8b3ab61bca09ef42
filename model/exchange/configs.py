"""config.json of a class of transformers, written for a config of ours and read back into one."""

from dataclasses import asdict
from pathlib import Path

from data.strict_json import json_text, read_object
from model.config import ModelConfig
from model.config_file import LARGEST_FILE, checked_config
from model.exchange.families import COMMON, FAMILIES, Family, Values, family_of, fields

ENTRY = "routescope"  # in their config.json: transformers keeps it and does not read it
ONLY_OURS = (
    *("router", "balancing", "dense_ffn_dim", "expert_groups", "groups_per_token", "init_std"),
    *("expert_loss_weight", "device_loss_weight", "bias_update_rate"),
)


def config_text(config: ModelConfig, family: Family) -> str:
    """In float32, as RouteScope computes on a CPU, whatever the weights are stored in."""
    entry = {name: value for name, value in asdict(config).items() if name in ONLY_OURS}
    written = {**fields(config, family), "dtype": "float32", ENTRY: entry}
    return json_text(written, indent=2) + "\n"


def read_config(folder: Path) -> tuple[ModelConfig, Family]:
    """ValueError: it is of another class, or has what ours cannot have."""
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"no model in {folder}: config.json is missing")
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} is {path.stat().st_size:,} bytes long: it is no model config")
    values = read_object(path, remedy="copy the model again")
    model_type = str(values.get("model_type"))[:40]
    if model_type not in FAMILIES:
        raise ValueError(f"{path} is of the type {model_type}; {', '.join(FAMILIES)} can be read")
    family = FAMILIES[model_type]
    try:
        config = our_config(values, family)
        require_same(values, config, family)
    except ValueError as error:
        raise ValueError(
            f"{path} is of a {family.architecture} that RouteScope's own models are not: {error}"
        ) from error
    return config, family


def our_config(values: Values, family: Family) -> ModelConfig:
    """What theirs says, and what it does not say by our entry."""
    entry = values.get(ENTRY, {})
    if not isinstance(entry, dict) or not entry.keys() <= set(ONLY_OURS):
        raise ValueError(f"its entry {ENTRY!r} is not one that RouteScope writes")
    unsaid = {
        "router": family.routers[0],
        "balancing": "bias" if family.biased else "loss",
        "dense_ffn_dim": 0,
    }
    renamed = {**COMMON, **family.renamed}
    rope = values.get("rope_parameters")
    said = {ours: values[theirs] for ours, theirs in renamed.items() if theirs in values}
    said["rope_base"] = rope.get("rope_theta") if isinstance(rope, dict) else None
    return checked_config({**unsaid, **entry, **said, **family.read(values)})


def require_same(values: Values, config: ModelConfig, family: Family) -> None:
    """Writing it again would give every field as it was read."""
    family_of(config)
    if config.num_experts and config.router not in family.routers:
        raise ValueError(f"{family.model_type} has no gate like the {config.router} router's")
    if values.get("quantization_config") is not None:
        raise ValueError("its weights are quantized; save them in bfloat16 or float32")
    for name, value in fields(config, family).items():
        if name not in values or values[name] != value:
            found = repr(values[name])[:60] if name in values else "missing"
            raise ValueError(f"{name} is {found}, where ours has {repr(value)[:60]}")
