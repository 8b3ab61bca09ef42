"""A model of transformers from a folder, with everything that can be wrong said first."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from data.words import first_line
from model.huggingface.folder import (
    Found,
    empty_model,
    fitting_tokenizer,
    look_into,
)
from model.huggingface.model import HuggingFaceModel
from model.huggingface.smaller import dequantized, is_int8

DTYPES = ("float32", "bfloat16", "float16")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
SMALL = 2**20  # numbers of a tensor that may be a bias


def load_huggingface(
    folder: Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    chat: bool = False,
    memory: int | None = None,
) -> HuggingFaceModel:
    """`device`: of torch, or auto for all there are; None: a GPU if there is one. `dtype`: one of
    DTYPES; None: bfloat16 on a GPU, float32 elsewhere. `memory`: bytes that a model on the
    processor may take."""
    found = look_into(folder)
    tokenizer = fitting_tokenizer(found)
    place = chosen_device(device)
    chosen = chosen_dtype(dtype, place)
    require_memory(found, chosen, place, memory)
    with freed_at_once():
        module: Any = load_weights(found, chosen, place)
    require_finite_vectors(folder, module)
    try:
        try:
            return HuggingFaceModel(module, tokenizer, chat=chat)
        except RuntimeError as error:
            if "strides" not in str(error):
                raise
            module.set_experts_implementation("eager")  # the usual one takes no rows of such sizes
            return HuggingFaceModel(module, tokenizer, chat=chat)
    except (ValueError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # sizes that do not fit one another, which only a forward shows
        raise ValueError(
            f"the model in {folder} cannot read a text: {first_line(error)}"
        ) from error


@contextmanager
def freed_at_once() -> Iterator[None]:
    """Of glibc, which else keeps what is freed while a model is read: nearly its size again."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(M_MMAP_THRESHOLD, 2**20)
    try:
        yield
    finally:  # what glibc itself arrives at after a large block has been freed
        mallopt(M_MMAP_THRESHOLD, 2**25)
        mallopt(M_TRIM_THRESHOLD, 2**26)


def chosen_device(device: str | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "auto":
        return device if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError:
        place = torch.device("meta")
    if place.type == "cpu":
        return "cpu"
    if place.type != "cuda":
        raise ValueError(f"{device!r} is no device; give cpu, cuda, cuda:1 or auto")
    if (place.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no GPU for {device}; leave out --device or give cpu")
    return device


def chosen_dtype(dtype: str | None, device: str) -> torch.dtype:
    if dtype is None:
        return torch.float32 if device == "cpu" else torch.bfloat16
    if dtype not in DTYPES:
        raise ValueError(f"{dtype!r} is no dtype that is computed in; give {', '.join(DTYPES)}")
    return getattr(torch, dtype)


def require_memory(found: Found, dtype: torch.dtype, device: str, memory: int | None) -> None:
    if device.startswith("cuda"):
        memory, where = torch.cuda.mem_get_info(device)[0], "the GPU has"
    elif device == "cpu":
        where = "may be taken here"
    else:
        each = (torch.cuda.mem_get_info(place)[0] for place in range(torch.cuda.device_count()))
        memory, where = sum(each), "the GPUs have"
    needed = found.needed_bytes(dtype)
    if memory is not None and needed > memory:
        raise ValueError(
            f"the model in {found.folder} needs {needed / 1e9:.1f} GB for its "
            f"{found.parameters / 1e9:.1f} billion parameters in "
            f"{str(dtype).removeprefix('torch.')}, and {memory / 1e9:.1f} GB {where}"
        )


def load_weights(found: Found, dtype: torch.dtype, device: str) -> nn.Module:
    maker: Any = getattr(transformers, found.auto_class)
    source: dict[str, Any] = {"pretrained_model_name_or_path": found.folder}
    if is_int8(found.folder):  # the class itself: the automatic ones ask for a folder
        maker = type(empty_model(found.config, found.auto_class))
        weights = dequantized(found.folder, dtype)
        source = {"pretrained_model_name_or_path": None, "state_dict": weights}
    options: dict[str, Any] = {} if device == "cpu" else {"device_map": device}
    try:
        module, info = maker.from_pretrained(
            **source,
            config=found.config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # refused below, by name
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # shapes, quantizers that are not installed, damaged files
        raise ValueError(
            f"the weights in {found.folder} cannot be loaded: {first_line(error)}"
        ) from error
    shapes = [f"{name} ({list(x)}, not {list(y)})" for name, x, y in info["mismatched_keys"]]
    for what, names in (
        ("missing", info["missing_keys"]),
        ("of another shape", shapes),
        ("unexpected", info["unexpected_keys"]),
    ):
        if wrong := sorted(names):
            raise ValueError(
                f"the weights in {found.folder} do not fit its config: {len(wrong)} {what}, such "
                f"as {wrong[0][:200]}"
            )
    if any(weight.is_meta for weight in module.parameters()):
        raise ValueError(f"the model in {found.folder} does not fit the GPUs that there are")
    return module.eval()


def require_finite_vectors(folder: Path, module: nn.Module) -> None:
    """Biases choose experts and are in no logit, weight or loss where it would be seen."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        small = tensor.numel() <= SMALL and tensor.dim() == 1 and tensor.is_floating_point()
        if small and "bias" in name and not tensor.isfinite().all():
            raise ValueError(
                f"the weights in {folder} are damaged: {name} is NaN or infinite; copy the model "
                "again or use another checkpoint"
            )
