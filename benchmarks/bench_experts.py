"""Routed experts alone: INT8 against the type of today for few tokens, and whether the way that
model/quickest.py chooses is the quickest.

    python -m benchmarks.bench_experts            # on a GPU, else on this CPU
    python -m benchmarks.bench_experts --cpu

T = tokens, D = model dim, E = routed experts, k = those of a token, F = their width.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.timing import medians
from model.int8_experts import Int8Experts
from model.kernels.precision import product_dtype
from model.moe import Experts, new_experts
from model.quickest import Way

BATCHES = (1, 2, 4, 8, 16, 32)
DECODING = {  # D, E, k, F
    "cuda": [
        (2048, 64, 8, 1024),  # OLMoE
        (2048, 128, 8, 768),  # Qwen3 30B
        (4096, 8, 2, 14336),  # Mixtral
        (7168, 128, 8, 2048),  # half of DeepSeek-V3
    ],
    "cpu": [(256, 64, 6, 48), (512, 64, 6, 352), (1024, 16, 2, 1024), (2048, 64, 8, 512)],
}
WAYS = {  # T, D, E, k, F
    "cuda": [
        (tokens, *rest)
        for rest in (
            *((256, 256, k, 16) for k in (8, 32)),
            *((256, 64, k, 48) for k in (8, 32)),
            *((512, 64, k, 64) for k in (8, 32)),
            *((1024, 32, k, 128) for k in (8, 32)),
            *((2048, 8, k, 1024) for k in (2, 8)),
        )
        for tokens in (512, 4096, 32768)
    ],
    "cpu": [
        (tokens, *rest)
        for rest in (
            *((256, 256, k, 16) for k in (8, 64)),
            *((256, 64, k, 48) for k in (6, 24, 64)),
            *((512, 64, k, 352) for k in (6,)),
            *((512, 8, k, 256) for k in (2, 4, 8)),
        )
        for tokens in (16, 128, 1024)
    ],
}
REPEATS = {"cuda": 20, "cpu": 9}
SETS = 4  # of tokens, one after the other: weights of one are not in the cache for the next


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--only", choices=("int8", "ways"))
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    device = "cpu" if given.cpu or not torch.cuda.is_available() else "cuda"
    place = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{place}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if given.only != "ways":
        decode(device)
    if given.only != "int8":
        compare_ways(device)


def experts_of(dim: int, num_experts: int, width: int, device: str, dtype: torch.dtype) -> Experts:
    with torch.device(device):
        experts = new_experts(dim, width, num_experts=num_experts).to(dtype)
        for parameter in experts.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
    return experts


def choices(tokens: int, dim: int, num_experts: int, top_k: int, like: Tensor) -> list[Tensor]:
    x_TD = torch.randn(tokens, dim, device=like.device, dtype=like.dtype)
    scores_TE = torch.rand(tokens, num_experts, device=like.device)
    weights_TK, ids_TK = scores_TE.topk(top_k, dim=-1)
    return [x_TD, ids_TK, weights_TK / weights_TK.sum(-1, keepdim=True)]


@torch.no_grad()
def decode(device: str) -> None:
    usual = torch.bfloat16 if device == "cuda" else torch.float32
    print(f"\n| D, E, k, F | tokens | grouped_mm, us | {usual}, us | INT8, us | gain | ", end="")
    print("as launched | difference |\n|---|---|---|---|---|---|---|---|")
    gains = []
    for dim, num_experts, top_k, width in DECODING[device]:
        experts = experts_of(dim, num_experts, width, device, usual)
        small = Int8Experts(experts).to(usual)
        if device == "cpu":
            experts.lay_out_as_linear()
        exact = Experts(small.gate_up_EDF.to(usual), small.down_EFD.to(usual))
        for tokens in BATCHES:
            sets = [choices(tokens, dim, num_experts, top_k, experts.down_EFD) for _ in range(SETS)]
            runs = {"usual": partial(each, experts, sets), "int8": partial(each, small, sets)}
            runs["sorted"] = partial(each, partial(in_order, experts), sets)
            launched = medians(runs, device, REPEATS[device])
            seconds = launched
            if device == "cuda":
                replays = {name: graph(run) for name, run in runs.items()}
                seconds = medians(replays, device, REPEATS[device])
            gains.append(seconds["usual"] / seconds["int8"])
            found, expected = small(*sets[0]).float(), exact(*sets[0]).float()
            cells = (
                f"{dim}, {num_experts}, {top_k}, {width}",
                tokens,
                *(f"{1e6 * seconds[name] / SETS:.0f}" for name in ("sorted", "usual", "int8")),
                f"**{gains[-1]:.2f}**",
                f"{launched['usual'] / launched['int8']:.2f}",
                f"{((found - expected).norm() / expected.norm()).item():.0e}",
            )
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
        del experts, small, exact
    mean = statistics.geometric_mean(gains)
    print(f"geometric mean {mean:.2f}, least {min(gains):.2f}")


def in_order(experts: Experts, x_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """By torch's grouped products, of sorted rows."""
    if not x_TD.is_cuda:
        return experts.gathered(x_TD, ids_TK, weights_TK)
    from model.kernels.gpu_experts import RoutedExperts

    return RoutedExperts.apply(x_TD, ids_TK, weights_TK, experts.gate_up_EDF, experts.down_EFD)


def each(experts: Callable[..., Tensor], sets: list[list[Tensor]]) -> None:
    for given in sets:
        experts(*given)


def graph(run: Callable[[], object]) -> Callable[[], object]:
    captured = torch.cuda.CUDAGraph()
    run()
    torch.cuda.synchronize()
    with torch.cuda.graph(captured):
        run()
    return captured.replay


def compare_ways(device: str) -> None:
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    print(f"\n{dtype}; the way chosen over the best, of forward and of both directions")
    print("| T, D, E, k, F | ms: all / sorted / groups | chosen | | both, ms | | |")
    print("|---|---|---|---|---|---|---|")
    losses = []
    for tokens, dim, num_experts, top_k, width in WAYS[device]:
        experts = experts_of(dim, num_experts, width, device, dtype)
        given = choices(tokens, dim, num_experts, top_k, experts.down_EFD)
        given[0].requires_grad_()
        ways: dict[Way, Callable[..., Tensor]] = {
            Way.ALL: experts.all_of_them,
            Way.SORTED: experts.gathered,
        }
        if device == "cpu" or product_dtype(given[0]) != dtype:
            ways[Way.GROUPS] = experts.on_cpu
        chosen = experts.quickest(given[0], given[1])
        cells = [f"{tokens}, {dim}, {num_experts}, {top_k}, {width}"]
        for once in (ahead, step):
            runs = {str(way): partial(once, path, given, experts) for way, path in ways.items()}
            seconds = medians(runs, device, REPEATS[device])
            losses.append(seconds[str(chosen)] / min(seconds.values()))
            cells.append(" / ".join(f"{1e3 * each:.3g}" for each in seconds.values()))
            cells += [chosen.name.lower(), f"{losses[-1]:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    print(f"mean loss {statistics.geometric_mean(losses):.3f}, worst {max(losses):.2f}")


@torch.no_grad()
def ahead(path: Callable[..., Tensor], given: list[Tensor], _: Experts) -> None:
    path(*given)


def step(path: Callable[..., Tensor], given: list[Tensor], experts: Experts) -> None:
    output_TD = path(*given)
    torch.autograd.grad(output_TD, [given[0], *experts.parameters()], output_TD.detach())


if __name__ == "__main__":
    main()
