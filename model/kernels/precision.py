"""The types that products are computed in."""

import torch
from torch import Tensor

NARROW = (torch.bfloat16, torch.float16)
BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")  # x86, Arm


def compute_dtype(x: Tensor) -> torch.dtype:
    """grouped_mm is not covered by autocast: the type autocast would have chosen."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def product_dtype(x: Tensor) -> torch.dtype:
    """The same, but float32 where a CPU has no units for less: faster there, and more exact."""
    dtype = compute_dtype(x)
    if x.device.type != "cpu" or dtype not in NARROW or torch.compiler.is_compiling():
        return dtype
    able = torch.cpu.get_capabilities()
    if dtype == torch.bfloat16 and any(able.get(unit) for unit in BFLOAT16_UNITS):
        return dtype
    return torch.float32
