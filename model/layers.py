"""The parts that MoE and dense transformers share.

B = sequences, S = positions, T = tokens, D = model dim, H = heads, C = head dim, F = inner width,
E = routed experts.
"""

from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.kernels import cpu_experts
from model.kernels.precision import compute_dtype, product_dtype

HAS_TRITON = torch.cuda.is_available() and find_spec("triton") is not None
if HAS_TRITON:
    from model.kernels import gpu_experts


class RMSNorm(nn.Module):
    def __init__(self, dim: int, *, eps: float) -> None:
        super().__init__()
        self.weight_D = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x_BSD: Tensor) -> Tensor:
        return F.rms_norm(x_BSD, self.weight_D.shape, self.weight_D.to(x_BSD.dtype), self.eps)


class SwiGLU(nn.Module):
    def __init__(self, dim: int, inner_dim: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(dim, 2 * inner_dim, bias=False)
        self.down = nn.Linear(inner_dim, dim, bias=False)

    def forward(self, x_TD: Tensor) -> Tensor:
        dtype = compute_dtype(x_TD)
        if product_dtype(x_TD) != dtype:
            return self.in_float32(x_TD).to(dtype)
        return self.down(silu_product(self.gate_up(x_TD)))

    def in_float32(self, x_TD: Tensor) -> Tensor:
        with torch.autocast(x_TD.device.type, enabled=False):
            gate_up_TF = F.linear(x_TD.float(), self.gate_up.weight.float())
            return F.linear(silu_product(gate_up_TF), self.down.weight.float())


def silu_product(gate_up_TF: Tensor) -> Tensor:
    """silu(gate) * up."""
    if HAS_TRITON and gate_up_TF.is_cuda:
        return gpu_experts.Activated.apply(gate_up_TF)
    if gate_up_TF.is_cpu and not torch.compiler.is_compiling():
        return cpu_experts.Activated.apply(gate_up_TF)
    gate_TF, up_TF = gate_up_TF.chunk(2, dim=-1)
    return F.silu(gate_TF) * up_TF


def rotary_tables(length: int, head_dim: int, *, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles, [length, head_dim / 2], float32."""
    frequency_C = 1 / base ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angle_SC = torch.outer(torch.arange(length, dtype=torch.float32), frequency_C)
    return angle_SC.cos(), angle_SC.sin()


def rotate(x_BHSC: Tensor, cos_SC: Tensor, sin_SC: Tensor) -> Tensor:
    """Rotary positions: channel i turns with channel i + C/2 (arXiv 2104.09864)."""
    left, right = x_BHSC.float().chunk(2, dim=-1)
    turned = torch.cat((left * cos_SC - right * sin_SC, right * cos_SC + left * sin_SC), dim=-1)
    return turned.to(x_BHSC.dtype)


class KeyValueCache:
    """What one block keeps of the positions already seen: keys, values, experts asked so far."""

    def __init__(self) -> None:
        self.chosen_BE: Tensor | None = None  # of an MoE layer with a capacity
        self.keys_BHSC: Tensor | None = None
        self.values_BHSC: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.keys_BHSC is None else self.keys_BHSC.shape[2]

    def append(self, keys_BHSC: Tensor, values_BHSC: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys_BHSC is not None and self.values_BHSC is not None:
            keys_BHSC = torch.cat((self.keys_BHSC, keys_BHSC), dim=2)
            values_BHSC = torch.cat((self.values_BHSC, values_BHSC), dim=2)
        self.keys_BHSC, self.values_BHSC = keys_BHSC, values_BHSC
        return keys_BHSC, values_BHSC


class Attention(nn.Module):
    """Causal multi-head attention."""

    def __init__(self, dim: int, *, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query_key_value = nn.Linear(dim, 3 * num_heads * head_dim, bias=False)
        self.output = nn.Linear(num_heads * head_dim, dim, bias=False)

    def forward(
        self, x_BSD: Tensor, cos_SC: Tensor, sin_SC: Tensor, cache: KeyValueCache | None
    ) -> Tensor:
        batch, length, _ = x_BSD.shape
        packed_BSnHC = self.query_key_value(x_BSD).view(batch, length, 3, -1, self.head_dim)
        queries, keys, values = (part.transpose(1, 2) for part in packed_BSnHC.unbind(2))
        queries, keys = rotate(queries, cos_SC, sin_SC), rotate(keys, cos_SC, sin_SC)
        mask = None
        if cache is not None:
            seen = cache.length
            keys, values = cache.append(keys, values)
            if seen:  # rows may look at every cached position and, among their own, backwards
                mask = torch.ones(
                    length, seen + length, dtype=torch.bool, device=x_BSD.device
                ).tril(seen)
        mixed_BHSC = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=mask is None
        )
        return self.output(mixed_BHSC.transpose(1, 2).reshape(batch, length, -1))
