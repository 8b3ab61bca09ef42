"""Configurations by name: the shipped model, those of the papers, and the comparison at our scale.

Sizes and compute as published: arXiv 2401.06066, tables 1 to 3 and 9, and section 6.
"""

from collections.abc import Callable
from dataclasses import replace

from model.config import ModelConfig, dense, segmented, with_shared


def tiny() -> ModelConfig:
    """The model trained and shipped here: experts as in DeepSeekMoE 16B, 23.7 M parameters."""
    return ModelConfig(
        vocab_size=16_384,
        context_length=512,
        num_layers=8,
        hidden_dim=256,
        num_heads=4,
        head_dim=64,
        dense_ffn_dim=384,
        first_dense_layers=1,
        num_experts=64,
        top_k=6,
        num_shared_experts=2,
        expert_dim=48,
        expert_loss_weight=0.01,
        init_std=0.02,
        tied_embeddings=True,
    )


def tiny_dsr() -> ModelConfig:
    """The shipped model with 256 narrow experts and the article's dynamic router.

    The limits of one training stage are narrower: model/training/stages.py.
    """
    return replace(
        tiny(),
        num_experts=256,
        expert_dim=16,
        num_shared_experts=6,  # as wide together as two of the shipped model
        router="dsr",
        top_k=256,
        min_k=8,
        top_p=0.8,
    )


def gshard_2b() -> ModelConfig:
    """16 experts of one standard FFN, 2 chosen: what the validation models of section 4 share."""
    return ModelConfig(
        vocab_size=8_000,
        context_length=2048,
        num_layers=9,
        hidden_dim=1280,
        num_heads=10,
        head_dim=128,
        dense_ffn_dim=0,
        num_experts=16,
        top_k=2,
        expert_dim=3424,  # 8 d / 3, so that a quarter is a multiple of 8
        router="gshard",
        expert_loss_weight=0.01,
    )


def gshard_mini() -> ModelConfig:
    """The same layout at the scale of our comparison: 16 standard FFNs, 2 chosen, no dense layer.

    No token is dropped, as in the paper's comparison; `mini-gshard-capacity` drops.
    """
    return ModelConfig(
        vocab_size=16_384,
        context_length=512,
        num_layers=6,
        hidden_dim=256,
        num_heads=4,
        head_dim=64,
        dense_ffn_dim=0,
        num_experts=16,
        top_k=2,
        expert_dim=640,  # 2.5 d: an eighth is a multiple of 16
        router="gshard",
        expert_loss_weight=0.01,
        init_std=0.02,
        tied_embeddings=True,
    )


def deepseekmoe(base: ModelConfig, *, segments: int, shared: int) -> ModelConfig:
    """Both strategies of the paper on a conventional MoE: cut the experts, isolate shared ones."""
    softmax = replace(base, router="softmax")
    return with_shared(segmented(softmax, segments), shared)


def top_1(base: ModelConfig, router: str) -> ModelConfig:
    """Experts as they are, one chosen: half the activated expert parameters of a top-2 MoE."""
    return replace(base, top_k=1, router=router)


def wide_top_1(base: ModelConfig, router: str) -> ModelConfig:
    """Half as many experts of twice the width, one chosen: as many parameters, total and active."""
    wide = replace(base, num_experts=base.num_experts // 2, expert_dim=2 * base.expert_dim)
    return top_1(wide, router)


def wider(base: ModelConfig, factor: float) -> ModelConfig:
    """Experts `factor` times as wide."""
    return replace(base, expert_dim=round(base.expert_dim * factor))


def deepseek_v3_mini() -> ModelConfig:
    """The experts of `mini-deepseekmoe` but one more, so that 4 groups are equal, with
    DeepSeek-V3's gate: sigmoid, a bias instead of a loss, 2 of the 4 groups a token."""
    config = deepseekmoe(gshard_mini(), segments=4, shared=1)
    return replace(
        config,
        num_experts=64,
        router="sigmoid",
        balancing="bias",
        expert_groups=4,
        groups_per_token=2,
        expert_loss_weight=0.0,
    )


def deepseekmoe_16b() -> ModelConfig:
    """Section 5; widths from the released config.json."""
    return ModelConfig(
        vocab_size=102_400,
        context_length=4096,
        num_layers=28,
        hidden_dim=2048,
        num_heads=16,
        head_dim=128,
        dense_ffn_dim=10_944,
        first_dense_layers=1,
        num_experts=64,
        top_k=6,
        num_shared_experts=2,
        expert_dim=1408,
        expert_loss_weight=0.001,
    )


def deepseekmoe_145b() -> ModelConfig:
    """Section 6: 128 routed experts of an eighth FFN, 12 chosen, 4 shared."""
    return ModelConfig(
        vocab_size=102_400,
        context_length=4096,
        num_layers=62,
        hidden_dim=4096,
        num_heads=32,
        head_dim=128,
        dense_ffn_dim=21_888,
        first_dense_layers=1,
        num_experts=128,
        top_k=12,
        num_shared_experts=4,
        expert_dim=1408,  # gives the published 144.6 B
        expert_groups=4,
        expert_loss_weight=0.003,
        device_loss_weight=0.05,
    )


def gshard_137b() -> ModelConfig:
    """Section 6: 16 experts of one standard FFN, 2 chosen, none shared."""
    return replace(
        deepseekmoe_145b(),
        num_experts=16,
        top_k=2,
        num_shared_experts=0,
        expert_dim=8 * 1408,
        expert_groups=1,
        router="gshard",
        device_loss_weight=0.0,
    )


def half_activated_142b() -> ModelConfig:
    """Section 6: the 145B with half of its experts activated, 2 shared and 6 chosen of 128."""
    return replace(deepseekmoe_145b(), num_shared_experts=2, top_k=6)


def dense_llm(*, vocab: int, layers: int, dim: int, heads: int, ffn: int) -> ModelConfig:
    """A dense model that the paper compares with; every head has its own keys, as it counts."""
    return ModelConfig(
        vocab_size=vocab,
        context_length=4096,
        num_layers=layers,
        hidden_dim=dim,
        num_heads=heads,
        head_dim=128,
        dense_ffn_dim=ffn,
    )


def deepseek_7b() -> ModelConfig:
    return dense_llm(vocab=102_400, layers=30, dim=4096, heads=32, ffn=11_008)


def llama2_7b() -> ModelConfig:
    return dense_llm(vocab=32_000, layers=32, dim=4096, heads=32, ffn=11_008)


def deepseek_67b() -> ModelConfig:
    """Its grouped-query attention counts as multi-head: only so the published FLOPs come out."""
    return dense_llm(vocab=102_400, layers=95, dim=8192, heads=64, ffn=22_016)


def compared(name: str, base: Callable[[], ModelConfig]) -> dict[str, Callable[[], ModelConfig]]:
    """The models of the paper's comparison over a top-2 MoE of 16 standard FFNs."""
    width = base().expert_dim
    return {
        f"{name}-dense": lambda: dense(base(), width=2 * width),
        f"{name}-dense-x1": lambda: dense(base(), width=width),
        f"{name}-dense-x4": lambda: dense(base(), width=4 * width),
        f"{name}-dense-x16": lambda: dense(base(), width=16 * width),
        f"{name}-hash": lambda: wide_top_1(base(), "hash"),
        f"{name}-hash-x1": lambda: top_1(base(), "hash"),
        f"{name}-switch": lambda: wide_top_1(base(), "switch"),
        f"{name}-switch-x1": lambda: top_1(base(), "switch"),
        f"{name}-switch-capacity": lambda: replace(
            wide_top_1(base(), "switch"), capacity_factor=1.25
        ),
        f"{name}-gshard": base,
        f"{name}-gshard-capacity": lambda: replace(base(), capacity_factor=1.25),
        f"{name}-gshard-x1.2": lambda: wider(base(), 1.2),
        f"{name}-gshard-x1.5": lambda: wider(base(), 1.5),
        f"{name}-deepseekmoe": lambda: deepseekmoe(base(), segments=4, shared=1),
        f"{name}-deepseekmoe-m1": lambda: deepseekmoe(base(), segments=1, shared=1),
        f"{name}-deepseekmoe-m2": lambda: deepseekmoe(base(), segments=2, shared=1),
        f"{name}-deepseekmoe-m8": lambda: deepseekmoe(base(), segments=8, shared=1),
        f"{name}-deepseekmoe-s0": lambda: deepseekmoe(base(), segments=4, shared=0),
        f"{name}-deepseekmoe-s2": lambda: deepseekmoe(base(), segments=4, shared=2),
    }


PRESETS = {
    "tiny": tiny,
    "tiny-dsr": tiny_dsr,
    **compared("mini", gshard_mini),
    "mini-deepseek-v3": deepseek_v3_mini,
    **compared("2b", gshard_2b),
    "16b": deepseekmoe_16b,
    "deepseek-7b": deepseek_7b,
    "llama2-7b": llama2_7b,
    "145b": deepseekmoe_145b,
    "142b-half-activated": half_activated_142b,
    "gshard-137b": gshard_137b,
    "deepseek-67b": deepseek_67b,
}
