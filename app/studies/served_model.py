"""The model behind a server: what the server says of it, its config.json, and what a user gives."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.studies.server_client import MissingError, Server
from app.studies.server_dialects import SGLANG
from data.importers.source import undescribed
from data.routing import UNKNOWN, LayerDescription
from data.strict_json import read_object

NUM_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
TOP_K = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k", "top_k_experts")
LAYERS = ("num_hidden_layers", "num_layers")
SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
SCORINGS = ("softmax", "sigmoid", "sqrtsoftplus")
NAMES = ("model_path", "tokenizer_path", "model_type", "weight_version", "root", "max_model_len")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line says of the model; None: it is asked for elsewhere."""

    folder: Path | None = None  # with a config.json
    num_experts: int | None = None
    top_k: int | None = None
    layers: int | None = None  # that payloads have


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    name: str  # as requests call it
    tokenizer: str
    num_experts: int
    top_k: int | None
    layers: int | None  # of payloads, where a user says
    said: dict[str, object]  # by the server
    config: dict[str, Any] = field(
        default_factory=dict
    )  # of config.json; empty where there is none

    def described(self, layers: int, top_k: int) -> tuple[LayerDescription, ...]:
        """The layers of a payload: all hidden ones, or those after the first, dense ones."""
        dense = _number(self.config, ("first_k_dense_replace",)) or 0
        hidden = _number(self.config, LAYERS)
        first = dense if hidden is not None and layers == hidden - dense else 0
        scoring = self.config.get("scoring_func")
        plain = undescribed(
            layers,
            num_experts=self.num_experts,
            top_k=top_k,
            first=first,
            scoring=scoring if scoring in SCORINGS else UNKNOWN,
            weighting=self._weighting(),
        )
        shared = _number(self.config, SHARED)
        return tuple(replace(layer, num_shared_experts=shared or 0) for layer in plain)

    def dense_layers(self, layers: int) -> list[int]:
        """Places of those that config.json calls dense, in a payload of all hidden layers."""
        if layers != _number(self.config, LAYERS):
            return []
        return list(range(_number(self.config, ("first_k_dense_replace",)) or 0))

    def _weighting(self) -> str:
        normal, factor = (self.config.get(n) for n in ("norm_topk_prob", "routed_scaling_factor"))
        if not isinstance(normal, bool):
            return UNKNOWN
        words = "scores that sum to 1" if normal else "scores"
        scaled = type(factor) in (int, float) and factor != 1
        return f"{words}, times {factor:g}" if scaled else words


def served_model(server: Server, api: str, given: Given) -> ServedModel:
    """ValueError: the server names no model, or nobody says how many experts it has."""
    name, said = _named(server)
    if api == SGLANG:
        said |= _either(server, "/model_info", "/get_model_info")
        said |= {"version": _either(server, "/server_info", "/get_server_info").get("version")}
    config = _config(given, said if server.is_here else {})
    num_experts = given.num_experts or _number(config, NUM_EXPERTS)
    if num_experts is None:
        raise ValueError(
            f"{server.url} does not say how many experts a layer of {name[:80]!r} has; give "
            "--num-experts, or --model FOLDER with its config.json"
        )
    top_k = given.top_k or _number(config, TOP_K)
    if top_k is not None and top_k > num_experts:
        raise ValueError(f"{top_k} experts a token (--top-k) of {num_experts} (--num-experts)")
    tokenizer = said.get("tokenizer_path")
    return ServedModel(
        name=name,
        tokenizer=tokenizer[:200] if isinstance(tokenizer, str) and tokenizer else UNKNOWN,
        num_experts=num_experts,
        top_k=top_k,
        layers=given.layers,
        said={key: said[key] for key in (*NAMES, "version") if _plain(said.get(key))},
        config=config,
    )


def _named(server: Server) -> tuple[str, dict[str, object]]:
    """Of the first model in its list, the one that it serves."""
    listed = server.get("/v1/models").get("data")
    first = listed[0] if isinstance(listed, list) and listed else None
    name = first.get("id") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(name, str) or not name:
        raise ValueError(
            f"{server.url}/v1/models names no model; see that the server has loaded it"
        )
    return name, dict(first)


def _either(server: Server, path: str, older: str) -> dict[str, object]:
    """Nothing where the server has neither: it then says no more than its list of models."""
    for one in (path, older):
        try:
            return server.get(one)
        except MissingError:
            continue
    return {}


def _config(given: Given, said: dict[str, object]) -> dict[str, Any]:
    """Of the folder given, or of the one that a server of this machine names."""
    folder = given.folder
    if folder is None:
        named = said.get("model_path") or said.get("root")
        if not isinstance(named, str) or "\0" in named or not Path(named).is_absolute():
            return {}
        folder = Path(named)
        if not (folder / "config.json").is_file():
            return {}
    if not (folder / "config.json").is_file():
        raise ValueError(f"there is no config.json in {folder}; give the model's folder")
    config = read_object(folder / "config.json", remedy="copy the model again")
    inner = config.get("text_config")
    return config | inner if isinstance(inner, dict) else config


def _number(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    values = [config[name] for name in names if type(config.get(name)) is int]
    return next((value for value in values if 0 < value < 2**20), None)


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)
