"""What each process of tests/model/parallel/test_expert_parallel.py does, under torchrun.

Every process has the whole layer and all tokens, so that it can compare; it gives the spread layer
its own tokens only. T = tokens, D = model dim, K = experts per token.
"""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as distributed
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from model.config import ModelConfig
from model.moe import MoE, new_moe
from model.parallel.exchange import RankLostError
from model.parallel.expert_parallel import Dispatch, dispatch_bytes, serve, spread_layer
from tests.models import small_config, small_dsr, small_router

TOKENS = (7, 12, 0, 5)  # of each rank: the third has none


def layer(config: ModelConfig) -> MoE:
    torch.manual_seed(0)
    moe = new_moe(config)
    for parameter in moe.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return moe


def one_sided() -> MoE:
    """Expert 1 is everybody's first choice and expert 0 the second: the others get no token."""
    moe = layer(small_router("softmax", balancing="bias"))
    moe.gate.get_buffer("bias_E")[:2] = torch.tensor([10.0, 20.0])
    return moe


LAYERS = {
    "softmax": lambda: layer(small_config()),
    "dsr": lambda: layer(small_dsr(init_std=0.5)),
    "groups": lambda: layer(small_router(expert_groups=4, groups_per_token=1)),
    "one-sided": one_sided,
}


def gradients(moe: MoE, x_TD: Tensor, direction_TD: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The output, and gradients of input, gate, shared and routed experts."""
    x_TD = x_TD.clone().requires_grad_()
    output_BSD, _, _ = moe(x_TD.unsqueeze(0), torch.zeros(1, len(x_TD), dtype=torch.long))
    inputs = [x_TD, moe.gate.weight_ED, *moe.shared_experts.parameters()]  # type: ignore[union-attr]
    inputs += [moe.experts.gate_up_EDF, moe.experts.down_EFD]
    loss = (output_BSD[0] * direction_TD).sum()
    return output_BSD[0].detach(), list(torch.autograd.grad(loss, inputs))


def errors(whole: MoE, mesh: DeviceMesh, dispatch: Dispatch, *, fp8: bool = False) -> list[float]:
    """Relative: output, then gradients of input, gate, two of shared and two of routed experts."""
    torch.manual_seed(1)
    tokens = TOKENS[: mesh.size()]
    x_TD, direction_TD = torch.randn(sum(tokens), 16), torch.randn(sum(tokens), 16)
    expected_TD, expected = gradients(whole, x_TD, direction_TD)
    rank = mesh.get_local_rank()
    spread = spread_layer(whole, mesh, dispatch=dispatch, fp8=fp8)
    own = slice(sum(tokens[:rank]), sum(tokens[: rank + 1]))
    own_TD, given = gradients(spread, x_TD[own], direction_TD[own])
    for gradient in given[1:4]:
        distributed.all_reduce(gradient)
    size = len(spread.experts.gate_up_EDF)
    held = slice(rank * size, (rank + 1) * size)
    wanted = [expected[0][own], *expected[1:4], *(gradient[held] for gradient in expected[4:])]
    pairs = zip([own_TD, *given], [expected_TD[own], *wanted], strict=True)
    return [relative(a, b) for a, b in pairs]


def relative(given: Tensor, expected: Tensor) -> float:
    return ((given - expected).norm() / expected.norm().clamp_min(1e-6)).item()


def bytes_sent(mesh: DeviceMesh, dispatch: Dispatch, *, fp8: bool) -> tuple[int, int]:
    """(of all ranks, handed to all_to_all for others), (the same as dispatch_bytes counts)"""
    rank, ranks = mesh.get_local_rank(), mesh.size()
    spread = spread_layer(layer(small_config()), mesh, dispatch=dispatch, fp8=fp8)
    torch.manual_seed(rank)
    x_TD = torch.randn(TOKENS[rank], 16)
    sent = 0
    original = distributed.all_to_all_single

    def counted(output: Tensor, rows: Tensor, *splits: list[int], **options: Any) -> object:
        nonlocal sent
        if rows.dtype == torch.uint8:  # not the counts
            sent += (len(rows) - splits[1][rank]) * rows.shape[1]
        return original(output, rows, *splits, **options)  # type: ignore[arg-type]

    with patch.object(distributed, "all_to_all_single", counted):
        _, _, ids_TK = spread(x_TD.unsqueeze(0), torch.zeros(1, len(x_TD), dtype=torch.long))
    traffic = dispatch_bytes(
        ids_TK, num_experts=8, rank=rank, ranks=ranks, dim=16, itemsize=4, fp8=fp8
    )
    both = torch.tensor([sent, getattr(traffic, dispatch)])
    distributed.all_reduce(both)
    return tuple(both.tolist())


def uneven_forwards(mesh: DeviceMesh) -> float:
    """Rank 0 runs three forwards, the others one; the largest relative error."""
    whole = layer(small_config())
    spread = spread_layer(whole, mesh)
    differences = []
    with torch.no_grad():
        for _ in range(3 if mesh.get_local_rank() == 0 else 1):
            x_BSD = torch.randn(1, 5, 16)
            ids_BS = torch.zeros(1, 5, dtype=torch.long)
            differences.append(relative(spread(x_BSD, ids_BS)[0], whole(x_BSD, ids_BS)[0]))
    serve(spread, top_k=2)
    return max(differences)


def compare(mesh: DeviceMesh) -> dict[str, Any]:
    compared: dict[str, Any] = {"uneven forwards": uneven_forwards(mesh)}
    for dispatch in ("naive", "once"):
        for name, new in LAYERS.items():
            compared[f"{dispatch} {name}"] = errors(new(), mesh, dispatch)
        fp8 = errors(layer(small_config()), mesh, dispatch, fp8=True)
        compared[f"{dispatch} fp8"] = fp8[0]
        for precision in (False, True):
            key = f"{dispatch} bytes {'fp8' if precision else 'input'}"
            compared[key] = bytes_sent(mesh, dispatch, fp8=precision)
    return compared


def lose_a_rank(mesh: DeviceMesh) -> str:
    """The last rank leaves instead of computing; what the others are told."""
    spread = spread_layer(layer(small_config()), mesh)
    distributed.barrier()
    if mesh.get_local_rank() == mesh.size() - 1:
        os._exit(0)
    try:
        spread(torch.randn(1, 5, 16), torch.zeros(1, 5, dtype=torch.long))
    except RankLostError as error:
        return str(error)
    return ""


def main() -> None:
    task, folder = sys.argv[1], Path(sys.argv[2])
    distributed.init_process_group("gloo", timeout=timedelta(seconds=20))
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    told = {"compare": compare, "lose": lose_a_rank}[task](mesh)
    (folder / f"{distributed.get_rank()}.json").write_text(json.dumps(told))
    if task == "lose":
        os._exit(0)  # without the others there is no orderly end
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
