"""Models small enough for a test."""

from model.config import ModelConfig


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
