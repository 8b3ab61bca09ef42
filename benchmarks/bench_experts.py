"""From how many chosen experts on is it faster that all of them compute? On a CPU, too: from how
many rows on is it faster to take the experts in groups than by grouped_mm?

    python -m benchmarks.bench_experts

Forward and backward of `tiny-dsr`'s experts by both paths of model/moe.py, in the types a training
uses; the outputs are compared. T = tokens, D = model dim, K = experts per token.
"""

import platform
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.timing import median_seconds, medians
from model.moe import new_experts
from model.presets import tiny_dsr

CHOSEN = (4, 8, 16, 32, 64, 128, 256)
TOKENS = {"cuda": 32_768, "cpu": 1_024}
REPEATS = {"cuda": 20, "cpu": 3}
SHAPES = ((256, 48), (512, 352), (1024, 128))  # D, width of each of 64 experts, 6 chosen


def main() -> None:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = tiny_dsr()
    experts = new_experts(config.hidden_dim, config.expert_dim, num_experts=config.num_experts)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    experts.to(device)
    paths: list[Callable[..., Tensor]] = [experts.gathered, experts.all_of_them]
    if device == "cuda":
        paths = [torch.compile(path, dynamic=False) for path in paths]
    print(f"{torch.cuda.get_device_name() if device == 'cuda' else platform.machine()}")
    print(f"torch {torch.__version__}, {TOKENS[device]} tokens, {config.num_experts} experts")
    print("| chosen | share | gathered ms | all ms | gathered / all | difference |")
    print("|---|---|---|---|---|---|")
    for top_k in CHOSEN:
        x_TD = torch.randn(TOKENS[device], config.hidden_dim, device=device, requires_grad=True)
        scores_TE = torch.rand(TOKENS[device], config.num_experts, device=device)
        weights_TK, ids_TK = scores_TE.topk(top_k, dim=-1)
        outputs, seconds = [], []
        for path in paths:
            with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
                outputs.append(path(x_TD, ids_TK, weights_TK).detach().float())
            seconds.append(
                median_seconds(
                    partial(step, path, x_TD, ids_TK, weights_TK), device, REPEATS[device]
                )
            )
        gathered, every = seconds
        difference = ((outputs[0] - outputs[1]).norm() / outputs[0].norm()).item()
        share = top_k / config.num_experts
        print(
            f"| {top_k} | {share:.3f} | {1e3 * gathered:.2f} | {1e3 * every:.2f} "
            f"| {gathered / every:.2f} | {difference:.1e} |",
            flush=True,
        )
    if device == "cpu":
        compare_rows()


def compare_rows() -> None:
    print("\n| D, width | rows of an expert | groups against grouped_mm, forward | both |")
    print("|---|---|---|---|")
    for dim, width in SHAPES:
        experts = new_experts(dim, width, num_experts=64)
        for parameter in experts.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        for rows in (12, 24, 48, 96, 192, 768):
            x_TD = torch.randn(rows * 64 // 6, dim, requires_grad=True)
            weights_TK, ids_TK = torch.rand(len(x_TD), 64).topk(6, dim=-1)
            inputs = x_TD, ids_TK, weights_TK
            times = (
                medians(
                    {
                        "groups": partial(once, experts.on_cpu, *inputs),
                        "grouped_mm": partial(once, experts.gathered, *inputs),
                    },
                    "cpu",
                    9,
                )
                for once in (ahead, step)
            )
            gains = " | ".join(f"{each['grouped_mm'] / each['groups']:.2f}" for each in times)
            print(f"| {dim}, {width} | {rows} | {gains} |", flush=True)


@torch.no_grad()
def ahead(path: Callable[..., Tensor], *inputs: Tensor) -> None:
    path(*inputs)


def step(path: Callable[..., Tensor], x_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> None:
    with torch.autocast(x_TD.device.type, dtype=torch.bfloat16, enabled=x_TD.is_cuda):
        output_TD = path(x_TD, ids_TK, weights_TK)
    output_TD.float().sum().backward()


if __name__ == "__main__":
    main()
