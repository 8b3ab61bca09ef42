"""What each process of tests/test_expert_parallel.py does, under torchrun: python -m tests.spread

Every process has the whole layer and all tokens, so that it can compare; it gives the spread layer
its own tokens only. T = tokens, D = model dim, K = experts per token.
"""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
import torch.distributed as distributed
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from app.studies.reader import HELDOUT, load_tracer, own_model
from data.routing import Document
from data.store import TraceStore
from model.capture import capture_documents
from model.config import ModelConfig
from model.moe import MoE
from model.parallel.exchange import RankLostError
from model.parallel.expert_parallel import Dispatch, dispatch_bytes, parallelized, serve
from tests.models import small_config, small_dsr, small_router

TOKENS = (7, 12, 0, 5)  # of each rank: the third has none


def layer(config: ModelConfig) -> MoE:
    torch.manual_seed(0)
    moe = MoE(config)
    for parameter in moe.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return moe


def one_sided() -> MoE:
    """Expert 1 is everybody's first choice and expert 0 the second: the others get no token."""
    moe = layer(small_router("softmax", balancing="bias"))
    moe.gate.bias_E[:2] = torch.tensor([10.0, 20.0])
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
    spread = parallelized(whole, mesh, dispatch=dispatch, fp8=fp8)
    own = slice(sum(tokens[:rank]), sum(tokens[: rank + 1]))
    found_TD, found = gradients(spread, x_TD[own], direction_TD[own])
    for gradient in found[1:4]:
        distributed.all_reduce(gradient)
    size = len(spread.experts.gate_up_EDF)
    held = slice(rank * size, (rank + 1) * size)
    wanted = [expected[0][own], *expected[1:4], *(gradient[held] for gradient in expected[4:])]
    pairs = zip([found_TD, *found], [expected_TD[own], *wanted], strict=True)
    return [relative(a, b) for a, b in pairs]


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm().clamp_min(1e-6)).item()


def bytes_sent(mesh: DeviceMesh, dispatch: Dispatch, *, fp8: bool) -> tuple[int, int]:
    """(of all ranks, handed to all_to_all for others), (the same as dispatch_bytes counts)"""
    rank, ranks = mesh.get_local_rank(), mesh.size()
    spread = parallelized(layer(small_config()), mesh, dispatch=dispatch, fp8=fp8)
    torch.manual_seed(rank)
    x_TD = torch.randn(TOKENS[rank], 16)
    sent = 0
    original = distributed.all_to_all_single

    def counted(output: Tensor, rows: Tensor, *splits: list[int], **options: Any) -> Any:
        nonlocal sent
        if rows.dtype == torch.uint8:  # not the counts
            sent += (len(rows) - splits[1][rank]) * rows.shape[1]
        return original(output, rows, *splits, **options)

    distributed.all_to_all_single = counted
    try:
        _, _, ids_TK = spread(x_TD.unsqueeze(0), torch.zeros(1, len(x_TD), dtype=torch.long))
    finally:
        distributed.all_to_all_single = original
    traffic = dispatch_bytes(
        ids_TK, num_experts=8, rank=rank, ranks=ranks, dim=16, itemsize=4, fp8=fp8
    )
    both = torch.tensor([sent, getattr(traffic, dispatch)])
    distributed.all_reduce(both)
    return tuple(both.tolist())


def uneven_forwards(mesh: DeviceMesh) -> float:
    """Rank 0 runs three forwards, the others one; the largest relative error."""
    whole = layer(small_config())
    spread = parallelized(whole, mesh)
    found = []
    with torch.no_grad():
        for _ in range(3 if mesh.get_local_rank() == 0 else 1):
            x_BSD = torch.randn(1, 5, 16)
            ids_BS = torch.zeros(1, 5, dtype=torch.long)
            found.append(relative(spread(x_BSD, ids_BS)[0], whole(x_BSD, ids_BS)[0]))
    serve(spread, top_k=2)
    return max(found)


def compare(mesh: DeviceMesh) -> dict[str, Any]:
    found: dict[str, Any] = {"uneven forwards": uneven_forwards(mesh)}
    for dispatch in ("naive", "once"):
        for name, new in LAYERS.items():
            found[f"{dispatch} {name}"] = errors(new(), mesh, dispatch)
        fp8 = errors(layer(small_config()), mesh, dispatch, fp8=True)
        found[f"{dispatch} fp8"] = fp8[0]
        for precision in (False, True):
            key = f"{dispatch} bytes {'fp8' if precision else 'input'}"
            found[key] = bytes_sent(mesh, dispatch, fp8=precision)
    return found


def lose_a_rank(mesh: DeviceMesh) -> str:
    """The last rank leaves instead of computing; what the others are told."""
    spread = parallelized(layer(small_config()), mesh)
    distributed.barrier()
    if mesh.get_local_rank() == mesh.size() - 1:
        os._exit(0)
    try:
        spread(torch.randn(1, 5, 16), torch.zeros(1, 5, dtype=torch.long))
    except RankLostError as error:
        return str(error)
    return ""


def texts() -> list[Document]:
    """Short beginnings of fifteen held-out texts."""
    rows = pq.read_table(HELDOUT).to_pylist()[::100][:15]
    return [
        Document(doc_id=place, text=row["text"][:150], domain=row["domain"])
        for place, row in enumerate(rows)
    ]


def capture(folder: Path, *, rank: int, ranks: int, mesh: DeviceMesh | None = None) -> None:
    """The shipped model reads every ranks-th text into a trace of its own."""
    tracer = load_tracer()
    if mesh is not None:
        for block in own_model(tracer).transformer.layers:
            if isinstance(block.ffn, MoE):
                block.ffn = parallelized(block.ffn, mesh)
    name = f"{rank}-of-{ranks}"
    described = tracer.description(name, prompts={"file": HELDOUT.name})
    with TraceStore.create(folder / f"{name}.duckdb", described) as store:
        own = texts()[rank::ranks]  # not as many on every rank
        capture_documents(tracer.model, own, store, batch_tokens=1)
    if mesh is not None:
        model = own_model(tracer).transformer
        serve(model, top_k=model.config.top_k)


def main() -> None:
    task, folder = sys.argv[1], Path(sys.argv[2])
    distributed.init_process_group("gloo", timeout=timedelta(seconds=20))
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    found: Any = None
    if task == "capture":
        capture(folder, rank=mesh.get_local_rank(), ranks=mesh.size(), mesh=mesh)
    else:
        found = {"compare": compare, "lose": lose_a_rank}[task](mesh)
    (folder / f"{distributed.get_rank()}.json").write_text(json.dumps(found))
    if task == "lose":
        os._exit(0)  # without the others there is no orderly end
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
