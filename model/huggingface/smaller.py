"""A folder of transformers with fewer experts, or with INT8 ones: its files written anew, tensor by
tensor, in the types they are stored in.

E = experts of a layer.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.outputs import write_atomically
from data.strict_json import json_text, read_object
from model.fingerprint import int8_name, transformers_weights
from model.kernels.int8 import as_int8

BESIDE = ("*.json", "*.jinja", "*.model", "*.txt")  # what a folder has beside its weights
KEPT = "experts.json"  # which experts of the original the ids of a pruned folder are
INDEX = "model.safetensors.index.json"
NUMBERS = ("num_experts", "num_local_experts", "n_routed_experts")  # of experts, in config.json
PRUNED = (  # whose files are known: experts beside their gate, one number of experts
    *("mixtral", "olmoe", "qwen2_moe", "qwen3_moe", "glm4_moe"),
    *("deepseek_v2", "deepseek_v3", "gpt_oss"),
)
PLACE = re.compile(
    r"(?P<block>.*\.layers\.(?P<layer>\d+)\.(?:mlp|block_sparse_moe))"
    r"\.(?P<what>experts|gate|router)\.(?P<rest>.+)"
)
ONE = re.compile(r"(?P<expert>\d+)\.(?P<name>.+)")

Kept = Mapping[int, Sequence[int]]  # ids that stay, in their order, by block of the model
Change = Callable[[str, Tensor], Iterator[tuple[str, Tensor]]]


def block_number(layer_name: str) -> int:
    """Of a layer called model.layers.3.mlp: 3."""
    found = re.search(r"\.layers\.(\d+)\.", layer_name)
    assert found is not None
    return int(found[1])


def require_prunable(folder: Path) -> dict[str, Any]:
    """Its config. ValueError: how its files hold experts is not known here."""
    config = read_object(folder / "config.json", remedy="copy the model again")
    if config.get("model_type") not in PRUNED:
        raise ValueError(
            f"experts of {str(config.get('model_type'))[:40]} cannot be taken out here; those of "
            f"{', '.join(PRUNED)} can"
        )
    require_floats(folder, config)
    return config


def require_floats(folder: Path, config: Mapping[str, Any]) -> None:
    if "quantization_config" in config or is_int8(folder):
        raise ValueError(f"the weights in {folder} are quantized already; use the original")


def prune_folder(source: Path, folder: Path, kept: Kept, *, sha256: str) -> None:
    """`sha256`: of the original, which the new folder names."""
    config = require_prunable(source)
    [experts] = {len(ids) for ids in kept.values()}

    def cut(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        place = PLACE.fullmatch(name)
        if place is None or int(place["layer"]) not in kept:
            yield name, tensor
            return
        ids = list(kept[int(place["layer"])])
        one = ONE.fullmatch(place["rest"]) if place["what"] == "experts" else None
        if one is None:  # stacked experts, rows or biases of the gate
            yield name, tensor[torch.tensor(ids)].contiguous()
        elif int(one["expert"]) in ids:
            new = ids.index(int(one["expert"]))
            yield f"{place['block']}.experts.{new}.{one['name']}", tensor

    rewrite(source, folder, cut)
    fewer = {name: experts for name in NUMBERS if name in config}
    write_config(folder, config | fewer)
    blocks = {str(block): list(ids) for block, ids in kept.items()}
    told = {"original_sha256": sha256, "kept": blocks}
    write_atomically(folder / KEPT, json_text(told, indent=2) + "\n")


def kept_experts(folder: Path) -> dict[int, list[int]] | None:
    """By block, ids of the original in the order of the new ones; None: nothing was taken out."""
    path = folder / KEPT
    if not path.is_file():
        return None
    kept = read_object(path, remedy="prune the original again").get("kept")
    if not isinstance(kept, dict) or not all(isinstance(ids, list) for ids in kept.values()):
        raise ValueError(f"{path} names no experts; prune the original again")
    return {int(block): [int(one) for one in ids] for block, ids in kept.items()}


def rewrite(source: Path, folder: Path, change: Change) -> None:
    """Every file of weights under its own name, with an index where there was one."""
    copy_beside(source, folder)
    named: dict[str, str] = {}
    size = 0
    for path in transformers_weights(source):
        tensors = dict(changed(path, change))
        save_file(tensors, folder / path.name, metadata={"format": "pt"})
        named |= dict.fromkeys(tensors, path.name)
        size += sum(tensor.nbytes for tensor in tensors.values())
    if (source / INDEX).is_file():
        index = {"metadata": {"total_size": size}, "weight_map": named}
        write_atomically(folder / INDEX, json_text(index, indent=2) + "\n")


def changed(path: Path, change: Change) -> Iterator[tuple[str, Tensor]]:
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            yield from change(name, file.get_tensor(name))


def copy_beside(source: Path, folder: Path) -> None:
    for path in sorted(path for pattern in BESIDE for path in source.glob(pattern)):
        if path.name not in (INDEX, KEPT):
            shutil.copyfile(path, folder / path.name)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    write_atomically(folder / "config.json", json_text(dict(config), indent=2) + "\n")


def quantize_folder(source: Path, folder: Path) -> None:
    """Routed experts as INT8 and NAME.scale, in files that transformers does not take for its
    own: without further packages it has nothing that computes with INT8 on a processor."""
    config = read_object(source / "config.json", remedy="copy the model again")
    require_floats(source, config)
    copy_beside(source, folder)
    paths = transformers_weights(source)
    whole = 0
    for number, path in enumerate(paths, start=1):
        tensors = dict(changed(path, as_int8_experts))
        whole += sum(tensor.dtype == torch.int8 for tensor in tensors.values())
        save_file(tensors, folder / int8_name(number, len(paths)))
    if not whole:
        raise ValueError(f"no weights of experts were found in the files of {source}")


def as_int8_experts(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    if ".experts." not in name or tensor.dim() < 2 or name.endswith("bias"):
        yield name, tensor
        return
    inputs = 1 if tensor.dim() == 3 else -1  # stacked: [E, in, out]; alone: [out, in]
    whole, scale = as_int8(tensor, inputs=inputs)
    yield name, whole
    yield f"{name}.scale", scale


def is_int8(folder: Path) -> bool:
    return any(path.name.startswith("int8-") for path in transformers_weights(folder))


def dequantized(folder: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """Every tensor of a folder of `quantize_folder`."""
    tensors: dict[str, Tensor] = {}
    for path in transformers_weights(folder):
        tensors |= load_file(path)
    for name in [name for name, tensor in tensors.items() if tensor.dtype == torch.int8]:
        scale = tensors.pop(f"{name}.scale", None)
        if scale is None:
            raise ValueError(f"the weights in {folder} are damaged: {name}.scale is missing")
        tensors[name] = (tensors[name].float() * scale.float()).to(dtype)
    return tensors
