"""Models small enough for a test."""

from dataclasses import replace

from model.config import FIXED_TOP_K, ModelConfig


def small_config() -> ModelConfig:
    """Three blocks, two of them with eight experts of which a token takes two."""
    return ModelConfig(
        vocab_size=32,
        context_length=16,
        num_layers=3,
        hidden_dim=16,
        num_heads=2,
        head_dim=8,
        dense_ffn_dim=24,
        first_dense_layers=1,
        num_experts=8,
        top_k=2,
        num_shared_experts=1,
        expert_dim=8,
        expert_loss_weight=0.01,
        init_std=0.1,
        tied_embeddings=True,
    )


def small_router(router: str = "softmax", **changes: object) -> ModelConfig:
    """The same with another gate, which chooses as many as it is made for."""
    settings = {"router": router, "top_k": FIXED_TOP_K.get(router, 2)} | changes
    return replace(small_config(), **settings)  # type: ignore[arg-type]


def small_dsr(**changes: object) -> ModelConfig:
    """The same with the dynamic router: 2 to 6 of the eight experts."""
    settings = {"router": "dsr", "top_k": 6, "min_k": 2, "top_p": 0.5, "init_std": 0.5}
    return replace(small_config(), **(settings | changes))  # type: ignore[arg-type]
