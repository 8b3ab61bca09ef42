"""A model on disk: safetensors shards and a JSON config. Nothing is ever unpickled."""

import os
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data.outputs import write_atomically
from data.strict_json import json_text
from data.training_folder import TrainingFolder
from model.config import ModelConfig
from model.config_file import load_config
from model.fingerprint import remove_shards, shard_name, shard_paths
from model.int8_experts import Int8Experts
from model.kernels.int8 import as_int8
from model.transformer import Transformer

SHARD_BYTES = 16 * 2**20
FLOATS = ("BF16", "F16", "F32")
EXPERT_WEIGHTS = (".experts.gate_up_EDF", ".experts.down_EFD")


def save_model(model: Transformer, folder: Path, *, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write config and weights; buffers that routing depends on (the bias) stay float32.

    Routed experts as the config's `expert_dtype` says, all else in `dtype`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().to("cpu", torch.float32 if name.endswith("bias_E") else dtype)
        for name, tensor in model.state_dict().items()
        if not (model.config.tied_embeddings and name == "head.weight")
    }
    if model.config.expert_dtype == "int8":
        tensors = quantize(tensors)
    save_tensors(tensors, model.config, folder)


def save_tensors(tensors: dict[str, Tensor], config: ModelConfig, folder: Path) -> None:
    """As they are, named and shaped as `stored_shapes` says."""
    shards = split_shards(tensors)
    remove_shards(folder)
    for number, shard in enumerate(shards, start=1):
        save_file(shard, folder / shard_name(number, len(shards)))
    text = json_text(asdict(config), indent=2) + "\n"
    write_atomically(folder / "config.json", text)  # last: who finds it finds the weights


def quantize(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Routed experts as INT8 and NAME.scale: symmetric, one scale an expert and output channel.

    Plain torch: torchao's quantize_ converts linear modules, and these are stacked [E, in, out].
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.endswith(EXPERT_WEIGHTS):
            result[name] = tensor
            continue
        result[name], result[f"{name}.scale"] = as_int8(tensor, inputs=1)
    return result


def dequantize(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    result = {name: tensor for name, tensor in tensors.items() if not name.endswith(".scale")}
    for name in [name for name in result if name.endswith(EXPERT_WEIGHTS)]:
        result[name] = result[name].float() * tensors[f"{name}.scale"].float()
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


def load_model(
    folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Transformer:
    """The model in `folder`, in evaluation mode. INT8 experts stay INT8 in memory; all that reads
    their weights is given the numbers that they stand for."""
    config = load_config(folder)
    tensors = load_tensors(folder, config, device=device)
    if config.tied_embeddings:
        tensors["head.weight"] = tensors["embedding.weight"]
    model = Transformer(config).to(device)
    model.load_state_dict(tensors)
    for moe in model.moe_layers():
        if config.expert_dtype == "int8":
            moe.experts = Int8Experts(moe.experts)
        elif device == "cpu":
            moe.experts.lay_out_as_linear()
    return model.to(dtype).eval()


def load_tensors(folder: Path, config: ModelConfig, *, device: str = "cpu") -> dict[str, Tensor]:
    """In the types that they are stored in; INT8 experts as the float32 that they stand for."""
    require_fitting(folder, config)
    tensors: dict[str, Tensor] = {}
    for path in shard_paths(folder):
        tensors |= load_file(path, device=device)
    require_finite_biases(folder, tensors)
    return dequantize(tensors) if config.expert_dtype == "int8" else tensors


def require_finite_biases(folder: Path, tensors: dict[str, Tensor]) -> None:
    """They choose experts and are in no logit, weight or loss where it would be seen."""
    for name, tensor in tensors.items():
        if name.endswith("bias_E") and not tensor.isfinite().all():
            raise ValueError(
                f"the weights in {folder} are damaged: {name}, which decides what experts are "
                "chosen, is NaN or infinite; copy the model again or use another checkpoint"
            )


def require_fitting(folder: Path, config: ModelConfig) -> None:
    """The headers of the shards against the config, before anything of either size is made."""
    int8 = EXPERT_WEIGHTS if config.expert_dtype == "int8" else ()
    require_headers(folder, stored_headers(shard_paths(folder)), stored_shapes(config), int8=int8)


def require_headers(
    folder: Path,
    given: dict[str, tuple[list[int], str]],
    wanted: dict[str, list[int]],
    *,
    int8: tuple[str, ...] = (),
) -> None:
    """`int8`: how the names end of tensors that are not of FLOATS."""
    for name in sorted(wanted.keys() ^ given.keys()):
        which = "is missing" if name in wanted else "belongs to none of its layers"
        raise ValueError(f"the weights in {folder} do not fit its config: {name} {which}")
    for name, shape in wanted.items():
        found, dtype = given[name]
        if found != shape:
            raise ValueError(
                f"the weights in {folder} do not fit its config: {name} has the shape {found}, "
                f"not {shape}"
            )
        kinds = ("I8",) if name.endswith(int8) else FLOATS
        if dtype not in kinds:
            raise ValueError(
                f"the weights in {folder} do not fit its config: {name} is of {dtype}, not of "
                f"{', '.join(kinds)}"
            )


def stored_shapes(config: ModelConfig) -> dict[str, list[int]]:
    """Of every tensor that the shards hold, by name."""
    with torch.device("meta"):
        state = Transformer(config).state_dict()
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    if config.tied_embeddings:
        del shapes["head.weight"]
    if config.expert_dtype == "int8":
        experts = [name for name in shapes if name.endswith(EXPERT_WEIGHTS)]
        shapes |= {f"{n}.scale": [shapes[n][0], 1, shapes[n][2]] for n in experts}
    return shapes


def stored_headers(paths: list[Path]) -> dict[str, tuple[list[int], str]]:
    """(shape, dtype) of every tensor in the shards; opening one compares its header to its size."""
    headers: dict[str, tuple[list[int], str]] = {}
    for path in paths:
        try:
            with safe_open(path, "pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                own = {n: (part.get_shape(), part.get_dtype()) for n, part in slices.items()}
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged: {error}; copy it again") from error
        if twice := sorted(headers.keys() & own.keys()):
            raise ValueError(f"{path} repeats {twice[0]} of another shard; copy the shards again")
        headers |= own
    return headers


def tied_names(model: nn.Module) -> set[str]:
    """Second names of parameters that have two."""
    named = model.named_parameters(remove_duplicate=False)
    return {name for name, _ in named} - {name for name, _ in model.named_parameters()}


def save_progress(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    batches: str | None = None,
) -> None:
    """Everything an exact resume needs, in float32; replaces the previous one in one rename.

    `batches`: the state of where the sequences come from.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tied = tied_names(model)
    state_dict = model.state_dict()
    tensors = {f"model.{name}": state_dict[name] for name in state_dict if name not in tied}
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
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, str | None]:
    """Restore what `save_progress` wrote; (the number of steps done, the state of the batches)."""
    path = TrainingFolder(folder).progress
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        tensors, step = load_file(path), int(metadata["step"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}; train in another folder") from error
    weights = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    if weights.keys() != model.state_dict().keys() - tied_names(model):
        raise ValueError(f"{path} belongs to a model of another config")
    try:
        model.load_state_dict(weights, strict=False)  # without second names
    except RuntimeError as error:
        raise ValueError(f"{path} belongs to a model of another config") from error
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        if id(parameter) not in trained:
            continue
        prefix = f"optimizer.{name}."
        optimizer.state[parameter] = {
            key.removeprefix(prefix): value.to(parameter.device)
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
        if not optimizer.state[parameter]:
            raise ValueError(f"{path} is damaged: {prefix} is missing; train in another folder")
    return step, metadata.get("batches")
