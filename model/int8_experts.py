"""Routed experts whose weights stay INT8 in memory: what few tokens choose is read as single bytes.

T = tokens, K = most experts per token, D = model dim, E = stored experts, F = expert width,
Y = outputs of a product.
"""

from typing import Any

import torch
from torch import Tensor, nn

from model.kernels import cpu_int8
from model.kernels.int8 import Int8, as_int8
from model.kernels.precision import compute_dtype, product_dtype
from model.layers import HAS_TRITON
from model.moe import Experts

if HAS_TRITON:
    from model.kernels import gpu_decode


class Int8Experts(Experts):
    """What `experts` are, rounded to INT8; none that they already were. Never trained: gradients go
    through them, to what they are given."""

    def __init__(self, experts: Experts) -> None:
        nn.Module.__init__(self)
        self.num_ids = experts.num_ids
        self.register_buffer("place_E", experts.place_E, persistent=False)
        for name, weights_EXY in (("gate_up", experts.gate_up_EDF), ("down", experts.down_EFD)):
            whole_EXY, scale_EXY = as_int8(weights_EXY.detach(), inputs=1)
            whole_EYX = whole_EXY.mT.contiguous()
            self.register_parameter(f"{name}_EYX", nn.Parameter(whole_EYX, requires_grad=False))
            self.register_buffer(f"{name}_scale_EY", scale_EXY.squeeze(1))

    @property
    def gate_up(self) -> Int8:
        return Int8(self.get_parameter("gate_up_EYX"), self.get_buffer("gate_up_scale_EY"))

    @property
    def down(self) -> Int8:
        return Int8(self.get_parameter("down_EYX"), self.get_buffer("down_scale_EY"))

    @property
    def gate_up_EDF(self) -> Tensor:  # type: ignore[override]  # noqa: N802
        """A copy, in numbers."""
        return self.gate_up.numbers(dtype=torch.float32)

    @property
    def down_EFD(self) -> Tensor:  # type: ignore[override]  # noqa: N802
        return self.down.numbers(dtype=torch.float32)

    @property
    def sizes(self) -> torch.Size:
        return self.down.shape

    def forward(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        given = x_TD, expert_ids_TK, weights_TK
        to_inputs = x_TD.requires_grad or weights_TK.requires_grad
        differentiable = torch.is_grad_enabled() and to_inputs
        if not differentiable and not torch.compiler.is_compiling():
            if x_TD.is_cpu:
                return self.on_cpu(*given)
            if HAS_TRITON and x_TD.is_cuda and gpu_decode.few(expert_ids_TK):
                return self.decoded(*given)
        dtype = product_dtype(x_TD)
        numbers = self.gate_up.numbers(dtype=dtype), self.down.numbers(dtype=dtype)
        experts = Experts(*numbers).requires_grad_(False)
        experts.num_ids, experts.place_E = self.num_ids, self.place_E
        return experts(*given)

    def on_cpu(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        given = x_TD, self.places(expert_ids_TK), weights_TK
        sum_TD = cpu_int8.routed(*given, self.gate_up, self.down, dtype=product_dtype(x_TD))
        return sum_TD.to(compute_dtype(x_TD))

    def decoded(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        given = x_TD.to(compute_dtype(x_TD)), self.places(expert_ids_TK), weights_TK
        gate_up, down = self.gate_up, self.down
        return gpu_decode.decoded(
            *given,
            gate_up.whole_EYX.mT,
            down.whole_EYX.mT,
            scales=(gate_up.scale_EY, down.scale_EY),
        )

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        """As of any experts, so that they are saved and pruned like these."""
        destination[f"{prefix}gate_up_EDF"] = self.gate_up_EDF
        destination[f"{prefix}down_EFD"] = self.down_EFD
