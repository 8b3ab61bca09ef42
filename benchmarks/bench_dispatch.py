"""What it costs to spread the experts of a layer over GPUs, by two ways of sending tokens to them.

    torchrun --nproc-per-node 2 benchmarks/bench_dispatch.py
    torchrun --nproc-per-node 2 benchmarks/bench_dispatch.py --small    # on CPUs, a smoke test

One layer of DeepSeekMoE-16B (64 experts, 6 a token) and one of DeepSeek-V3 (256 experts in 8
groups, 8 a token of at most 4 groups; groups lie on the ranks in order, so 4 on each of 2). All
times are medians of the slowest rank. `all-to-all` moves the same bytes evenly and nothing else,
once out and once back; `dispatch + combine` also packs, agrees on counts and sums, but computes no
expert.
T = tokens of a rank, D = model dim, E = routed experts, K = experts per token, F = expert width.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.distributed as distributed
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from model.config import ModelConfig
from model.moe import MoE, new_moe
from model.parallel.exchange import SCALE_BYTES
from model.parallel.expert_parallel import (
    CHOICE_BYTES,
    Dispatch,
    ExpertParallelMoE,
    SpreadExperts,
    dispatch_bytes,
    held_by,
)

STD = 0.02  # of all weights
COMPARED = 256  # tokens of a rank that are also computed expert by expert on one device
VARIANTS: tuple[tuple[Dispatch, bool], ...] = (("naive", False), ("once", False), ("once", True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    tokens: int  # of a rank
    config: ModelConfig


def layer_config(**changes: object) -> ModelConfig:
    unused = {"vocab_size": 2, "context_length": 1, "num_heads": 1, "head_dim": 2}
    return ModelConfig(num_layers=1, dense_ffn_dim=1, **unused, **changes)  # type: ignore[arg-type]


CASES = (
    Case(
        name="DeepSeekMoE-16B",
        tokens=16_384,
        config=layer_config(
            hidden_dim=2048, num_experts=64, top_k=6, expert_dim=1408, num_shared_experts=2
        ),
    ),
    Case(
        name="DeepSeek-V3",
        tokens=16_384,
        config=layer_config(
            hidden_dim=7168,
            num_experts=256,
            top_k=8,
            expert_dim=2048,
            num_shared_experts=1,
            router="sigmoid",
            expert_groups=8,
            groups_per_token=4,
        ),
    ),
)


class WithoutExperts(SpreadExperts):
    """Rows travel there and back as they are."""

    def computed(self, x_MD: Tensor, expert_C: Tensor, row_C: Tensor, weight_C: Tensor) -> Tensor:
        return x_MD


class InTurn(ExpertParallelMoE):
    """Shared experts after communication instead of during it."""

    executed = MoE.executed


@dataclass(frozen=True, slots=True)
class Bench:
    mesh: DeviceMesh
    device: torch.device
    repeats: int

    def timed(self, once: Callable[[], object]) -> float:
        """Median milliseconds of the slowest rank."""
        times = [self._one(once) for _ in range(3 + self.repeats)][3:]
        slowest = torch.tensor(times, device=self.device)
        distributed.all_reduce(slowest, op=distributed.ReduceOp.MAX)
        return statistics.median(slowest.tolist())

    def _one(self, once: Callable[[], object]) -> float:
        distributed.all_reduce(torch.zeros(1, device=self.device))  # all begin together
        if self.device.type == "cpu":
            began = time.perf_counter()
            once()
            return 1e3 * (time.perf_counter() - began)
        torch.cuda.synchronize()
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        once()
        ended.record()
        torch.cuda.synchronize()
        return begun.elapsed_time(ended)

    def of_all_ranks(self, value: float) -> list[float]:
        own = torch.tensor([value], dtype=torch.float64, device=self.device)
        gathered = [torch.zeros_like(own) for _ in range(self.mesh.size())]
        distributed.all_gather(gathered, own)
        return [value.item() for value in gathered]


def expert_weights(config: ModelConfig, expert: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of one expert, the same on every rank: gate_up [D, 2F], down [F, D]."""
    generator = torch.Generator(device).manual_seed(1_000 + expert)
    shapes = (config.hidden_dim, 2 * config.expert_dim), (config.expert_dim, config.hidden_dim)
    up, down = (torch.randn(s, generator=generator, device=device).mul_(STD) for s in shapes)
    return up.bfloat16(), down.bfloat16()


def rank_layer(case: Case, bench: Bench) -> MoE:
    """Gate and shared experts as every rank has them; the routed ones only this rank's."""
    config, device = case.config, bench.device
    with torch.device("meta"):
        moe = new_moe(config)
    size = config.num_experts // bench.mesh.size()
    first = bench.mesh.get_local_rank() * size
    moe.experts.gate_up_EDF = slice_like(moe.experts.gate_up_EDF, size, device)
    moe.experts.down_EFD = slice_like(moe.experts.down_EFD, size, device)
    with torch.no_grad():
        for place in range(size):
            up, down = expert_weights(config, first + place, device)
            moe.experts.gate_up_EDF[place] = up
            moe.experts.down_EFD[place] = down
    torch.manual_seed(0)
    moe.gate.to_empty(device=device)
    moe.gate.get_buffer("bias_E").zero_()
    assert moe.shared_experts is not None
    moe.shared_experts.to_empty(device=device).bfloat16()
    for parameter in (*moe.gate.parameters(), *moe.shared_experts.parameters()):
        torch.nn.init.normal_(parameter, std=STD)
    return moe


def slice_like(weight: Tensor, size: int, device: torch.device) -> torch.nn.Parameter:
    shape = (size, *weight.shape[1:])
    return torch.nn.Parameter(torch.empty(shape, dtype=torch.bfloat16, device=device))


def one_device(moe: MoE, config: ModelConfig, x_TD: Tensor) -> Tensor:
    """The layer's output, expert by expert, sums in float32."""
    _, weights_TK, ids_TK = moe.gate(x_TD, None)
    sum_TD = torch.zeros_like(x_TD, dtype=torch.float32)
    for expert in range(config.num_experts):
        token, place = (ids_TK == expert).nonzero(as_tuple=True)
        gate_up, down = expert_weights(config, expert, x_TD.device)
        gate, up = (x_TD[token] @ gate_up).chunk(2, dim=-1)
        hidden = F.silu(gate) * up * weights_TK[token, place].to(x_TD.dtype).unsqueeze(-1)
        sum_TD.index_add_(0, token, (hidden @ down).float())
    assert moe.shared_experts is not None
    return sum_TD + moe.shared_experts(x_TD).float()


def all_to_all_ms(bench: Bench, bytes_out: float) -> float:
    """So many bytes leave every rank, as many for each other."""
    ranks = bench.mesh.size()
    share = max(16, int(bytes_out / (ranks - 1)) // 16 * 16)
    sent = torch.zeros(ranks, share, dtype=torch.uint8, device=bench.device)
    received = torch.empty_like(sent)
    return bench.timed(lambda: distributed.all_to_all_single(received, sent))


def measured(case: Case, moe: MoE, bench: Bench, dispatch: Dispatch, fp8: bool) -> str:
    config, mesh = case.config, bench.mesh
    rank, ranks, dim = mesh.get_local_rank(), mesh.size(), config.hidden_dim
    torch.manual_seed(rank)
    x_TD = torch.randn(case.tokens, dim, device=bench.device).bfloat16()
    token_ids_BS = torch.zeros(1, case.tokens, dtype=torch.long, device=bench.device)
    weights = moe.experts.gate_up_EDF.detach(), moe.experts.down_EFD.detach()
    spread = SpreadExperts(*weights, mesh, dispatch=dispatch, fp8=fp8)
    bare = WithoutExperts(*weights, mesh, dispatch=dispatch, fp8=fp8)
    layers = [kind(moe, spread) for kind in (InTurn, ExpertParallelMoE)]
    with torch.no_grad():
        _, weights_TK, ids_TK = moe.gate(x_TD, None)
        traffic = dispatch_bytes(
            ids_TK, num_experts=config.num_experts, rank=rank, ranks=ranks, dim=dim, itemsize=2,
            fp8=fp8,
        )  # fmt: skip
        own = getattr(traffic, dispatch)
        out, back = split(own, config, dispatch=dispatch, fp8=fp8)
        link = sum(
            all_to_all_ms(bench, statistics.mean(bench.of_all_ranks(b))) for b in (out, back)
        )
        moved = bench.timed(lambda: bare(x_TD, ids_TK, weights_TK))
        forward = [bench.timed(partial(layer, x_TD[None], token_ids_BS)) for layer in layers]
        error = relative_error(layers[1], moe, config, x_TD[:COMPARED])
    learned = x_TD.clone().requires_grad_()
    both = [bench.timed(partial(step, layer, learned, token_ids_BS)) for layer in layers]
    spread.zero_grad()
    sent = bench.of_all_ranks(own)
    errors = bench.of_all_ranks(error)
    megabytes = " / ".join(f"{value / 1e6:.1f}" for value in sent)
    cells = [case.name, dispatch, "fp8" if fp8 else "bf16", megabytes]
    cells += [f"{link:.3f}", f"{statistics.mean(sent) / link / 1e6:.0f}"]
    cells += [f"{moved:.3f}", f"{link / moved:.0%}"]
    cells += [f"{value:.2f}" for value in (*forward, *both)]
    return f"| {' | '.join([*cells, f'{max(errors):.1e}'])} |"


def split(total: int, config: ModelConfig, *, dispatch: Dispatch, fp8: bool) -> tuple[float, float]:
    """Bytes of dispatch_bytes out and back."""
    back = 2 * config.hidden_dim
    out = config.hidden_dim + SCALE_BYTES if fp8 else back
    out += CHOICE_BYTES * config.top_k if dispatch == "once" else 0
    return total * out / (out + back), total * back / (out + back)


def step(layer: MoE, x_TD: Tensor, token_ids_BS: Tensor) -> None:
    output_BSD, _, _ = layer(x_TD[None], token_ids_BS)
    output_BSD.backward(output_BSD.detach())
    x_TD.grad = None
    layer.zero_grad()


def relative_error(layer: MoE, moe: MoE, config: ModelConfig, x_TD: Tensor) -> float:
    token_ids_BS = torch.zeros(1, len(x_TD), dtype=torch.long, device=x_TD.device)
    spread_TD = layer(x_TD[None], token_ids_BS)[0][0].float()
    expected_TD = one_device(moe, config, x_TD)
    return ((spread_TD - expected_TD).norm() / expected_TD.norm()).item()


def described(case: Case, moe: MoE, bench: Bench) -> str:
    """How far tokens spread, and what the shared experts take."""
    config, ranks = case.config, bench.mesh.size()
    torch.manual_seed(bench.mesh.get_local_rank())
    x_TD = torch.randn(case.tokens, config.hidden_dim, device=bench.device).bfloat16()
    assert moe.shared_experts is not None
    with torch.no_grad():
        _, _, ids_TK = moe.gate(x_TD, None)
        there_RTK = held_by(ids_TK, size=config.num_experts // ranks, ranks=ranks)
        reached = there_RTK.any(-1).sum(0).float().mean().item()
        shared = bench.timed(partial(moe.shared_experts, x_TD))
    return (
        f"{case.name}: T {case.tokens} a rank, D {config.hidden_dim}, E {config.num_experts}, "
        f"K {config.top_k}, F {config.expert_dim}, {config.num_shared_experts} shared "
        f"({shared:.2f} ms), {config.groups_per_token or 'all'} of {config.expert_groups} groups; "
        f"a token reaches {reached:.2f} of {ranks} ranks"
    )


def small(case: Case) -> Case:
    config = replace(case.config, hidden_dim=64, num_experts=32, expert_dim=32)
    return replace(case, tokens=128, config=config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="small layers, few repeats")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
        distributed.init_process_group("nccl", device_id=device)
    else:
        distributed.init_process_group("gloo")
    ranks = distributed.get_world_size()
    bench = Bench(init_device_mesh(device.type, (ranks,)), device, arguments.repeats)
    began = time.perf_counter()
    notes, rows = [], []
    for case in CASES:
        if arguments.small:
            case = small(case)
        moe = rank_layer(case, bench)
        notes.append(described(case, moe, bench))
        for dispatch, fp8 in VARIANTS:
            rows.append(measured(case, moe, bench, dispatch, fp8))
            if distributed.get_rank() == 0:
                print(rows[-1], flush=True)  # seen even where a later one fails
        del moe
        if on_gpu:
            torch.cuda.empty_cache()
    if distributed.get_rank() == 0:
        report(notes, rows, ranks=ranks, seconds=time.perf_counter() - began)
    distributed.destroy_process_group()


def report(notes: list[str], rows: list[str], *, ranks: int, seconds: float) -> None:
    if torch.cuda.is_available():
        nccl = ".".join(map(str, torch.cuda.nccl.version()))
        peak = torch.cuda.max_memory_allocated() / 1e9
        print(f"\n{ranks} × {torch.cuda.get_device_name()}, NCCL {nccl}, {peak:.1f} GB at most")
    else:
        print(f"\n{ranks} processes on {platform.machine()}, gloo")
    print(f"torch {torch.__version__}, {seconds:.0f} s\n")
    print("\n".join(notes), end="\n\n")
    columns = ["layer", "dispatch", "rows", "MB of each rank's tokens, both ways", "all-to-all ms"]
    columns += ["GB/s", "dispatch + combine ms", "share of the link"]
    columns += ["forward ms, shared in turn", "overlapped"]
    columns += ["forward + backward ms, in turn", "overlapped"]
    columns += ["relative error"]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
