"""A model on disk: safetensors shards and a JSON config. Nothing is ever unpickled."""

import json
import os
from dataclasses import asdict, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.training_folder import TrainingFolder
from model.config import ModelConfig
from model.fingerprint import remove_shards, shard_name, shard_paths
from model.transformer import Transformer

SHARD_BYTES = 16 * 2**20
INT8_LIMIT = 127  # -128 is left out: the scale is the same on both sides
EXPERT_WEIGHTS = (".experts.gate_up_EDF", ".experts.down_EFD")


def save_model(model: Transformer, folder: Path, *, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write config and weights; buffers that routing depends on (the bias) stay float32.

    Routed experts as the config's `expert_dtype` says, all else in `dtype`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(asdict(model.config), indent=2) + "\n"
    write_atomically(folder / "config.json", config)
    tensors = {
        name: tensor.detach().to("cpu", torch.float32 if name.endswith("bias_E") else dtype)
        for name, tensor in model.state_dict().items()
        if not (model.config.tied_embeddings and name == "head.weight")
    }
    if model.config.expert_dtype == "int8":
        tensors = quantize(tensors)
    shards = split_shards(tensors)
    remove_shards(folder)
    for number, shard in enumerate(shards, start=1):
        save_file(shard, folder / shard_name(number, len(shards)))


def quantize(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Routed experts as INT8 and NAME.scale: symmetric, one scale an expert and output channel.

    Plain torch: torchao's quantize_ converts linear modules, and these are stacked [E, in, out].
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.endswith(EXPERT_WEIGHTS):
            result[name] = tensor
            continue
        scale = (tensor.float().abs().amax(dim=1, keepdim=True) / INT8_LIMIT).bfloat16()
        whole = tensor.float() / scale.float().clamp(min=torch.finfo(torch.float32).tiny)
        result[name] = whole.round().clamp(-INT8_LIMIT, INT8_LIMIT).to(torch.int8)
        result[f"{name}.scale"] = scale
    return result


def dequantize(tensors: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    result = {name: tensor for name, tensor in tensors.items() if not name.endswith(".scale")}
    for name in [name for name in result if name.endswith(EXPERT_WEIGHTS)]:
        scale = tensors.get(f"{name}.scale")
        if scale is None or result[name].dtype != torch.int8:
            raise ValueError(f"the weights in {folder} do not fit its config: {name} is not INT8")
        result[name] = result[name].float() * scale.float()
    return result


def split_shards(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Greedy, in order; a tensor larger than a shard gets one of its own."""
    shards: list[dict[str, Tensor]] = [{}]
    room = SHARD_BYTES - 2**16  # the header
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if size > room and shards[-1]:
            shards.append({})
            room = SHARD_BYTES - 2**16
        shards[-1][name] = tensor.contiguous()
        room -= size
    return shards


def load_config(folder: Path) -> ModelConfig:
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"no model in {folder}: config.json is missing")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    known = {field.name for field in fields(ModelConfig)}
    if not isinstance(values, dict) or (unknown := sorted(set(values) - known)):
        wrong = f"unknown fields {unknown}" if isinstance(values, dict) else "no object"
        raise ValueError(f"{path} is not a RouteScope model config: {wrong}")
    try:
        if values.get("expert_leaders") is not None:
            values["expert_leaders"] = tuple(map(tuple, values["expert_leaders"]))
        return ModelConfig(**values)
    except TypeError as error:
        raise ValueError(f"{path} is not a RouteScope model config: {error}") from error


def load_model(
    folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Transformer:
    """The model in `folder`, in evaluation mode. INT8 experts become `dtype`: the file is smaller
    for them, the loaded model is not, and all that reads its weights works as on any other."""
    config = load_config(folder)
    tensors: dict[str, Tensor] = {}
    for path in shard_paths(folder):
        try:
            tensors |= load_file(path, device=device)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    if config.expert_dtype == "int8":
        tensors = dequantize(tensors, folder)
    if config.tied_embeddings and "embedding.weight" in tensors:
        tensors["head.weight"] = tensors["embedding.weight"]
    model = Transformer(config).to(device)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first_line = str(error).splitlines()[1].strip()
        raise ValueError(f"the weights in {folder} do not fit its config: {first_line}") from error
    return model.to(dtype).eval()


def save_progress(
    folder: Path,
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    batches: str | None = None,
) -> None:
    """Everything an exact resume needs, in float32; replaces the previous one in one rename.

    `batches`: the state of where the sequences come from.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if model.config.tied_embeddings:
        del tensors["model.head.weight"]
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            tensors[f"optimizer.{names[id(parameter)]}.{key}"] = value
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    progress = TrainingFolder(folder).progress
    partial = progress.with_name(progress.name + ".partial")
    metadata = {"step": str(step)} | ({} if batches is None else {"batches": batches})
    save_file(on_cpu, partial, metadata=metadata)
    os.replace(partial, progress)


def load_progress(
    folder: Path, model: Transformer, optimizer: torch.optim.Optimizer
) -> tuple[int, str | None]:
    """Restore what `save_progress` wrote; (the number of steps done, the state of the batches)."""
    path = TrainingFolder(folder).progress
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    weights = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    if model.config.tied_embeddings:
        weights["head.weight"] = weights["embedding.weight"]
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{path} belongs to a model of another config") from error
    for name, parameter in model.named_parameters():
        prefix = f"optimizer.{name}."
        optimizer.state[parameter] = {
            key.removeprefix(prefix): value.to(parameter.device)
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
    return int(metadata["step"]), metadata.get("batches")


def write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
