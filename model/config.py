"""What a DeepSeekMoE transformer is made of, and the presets of the paper (arXiv 2401.06066)."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A decoder-only transformer; dense where `num_experts` is 0."""

    vocab_size: int
    context_length: int  # tokens
    num_layers: int  # transformer blocks, dense ones included
    hidden_dim: int
    num_heads: int
    head_dim: int
    dense_ffn_dim: int  # inner width of a block without experts
    first_dense_layers: int = 0  # leading blocks without experts
    num_experts: int = 0  # routed experts per MoE layer, shared experts not counted
    top_k: int = 0  # routed experts per token
    num_shared_experts: int = 0  # always on
    expert_dim: int = 0  # inner width of one expert, routed or shared
    expert_groups: int = 1  # D device groups of the device-level balance loss
    balancing: str = "loss"  # "loss": balance losses; "bias": loss-free (arXiv 2408.15664)
    expert_loss_weight: float = 0.0  # alpha_1
    device_loss_weight: float = 0.0  # alpha_2
    bias_update_rate: float = 0.001  # gamma of loss-free balancing
    rope_base: float = 10_000.0
    norm_eps: float = 1e-6
    init_std: float = 0.006
    tied_embeddings: bool = False

    def __post_init__(self) -> None:
        if self.balancing not in ("loss", "bias"):
            raise ValueError(f"balancing ({self.balancing!r}) must be 'loss' or 'bias'")
        if self.head_dim % 2:
            raise ValueError(f"head_dim ({self.head_dim}) must be even for rotary positions")
        if self.num_experts == 0:
            return
        if not 1 <= self.top_k <= self.num_experts:
            raise ValueError(
                f"top_k ({self.top_k}) must be between 1 and num_experts ({self.num_experts})"
            )
        if not 0 <= self.first_dense_layers < self.num_layers:
            raise ValueError(
                f"first_dense_layers ({self.first_dense_layers}) must be fewer than "
                f"num_layers ({self.num_layers}) in a model with experts"
            )
        if self.expert_dim < 1:
            raise ValueError(f"expert_dim ({self.expert_dim}) must be positive")
        if self.num_experts % self.expert_groups:
            raise ValueError(
                f"expert_groups ({self.expert_groups}) must divide num_experts ({self.num_experts})"
            )

    @property
    def num_moe_layers(self) -> int:
        return self.num_layers - self.first_dense_layers if self.num_experts else 0


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


def dense_twin(config: ModelConfig) -> ModelConfig:
    """The dense model whose parameters are those that `config` activates for one token."""
    active_dim = config.expert_dim * (config.top_k + config.num_shared_experts)
    if config.dense_ffn_dim != active_dim and config.first_dense_layers:
        raise ValueError(
            f"dense_ffn_dim ({config.dense_ffn_dim}) must equal the activated expert width "
            f"({active_dim}) for a dense twin of equal activated parameters"
        )
    return replace(
        config,
        dense_ffn_dim=active_dim,
        first_dense_layers=0,
        num_experts=0,
        top_k=0,
        num_shared_experts=0,
        expert_dim=0,
        expert_loss_weight=0.0,
        device_loss_weight=0.0,
    )


def deepseekmoe_2b() -> ModelConfig:
    """Validation model of section 4: 63 routed experts of a quarter FFN, 7 chosen, 1 shared."""
    return ModelConfig(
        vocab_size=8_000,
        context_length=2048,
        num_layers=9,
        hidden_dim=1280,
        num_heads=10,
        head_dim=128,
        dense_ffn_dim=0,
        num_experts=63,
        top_k=7,
        num_shared_experts=1,
        expert_dim=856,  # a quarter of 8 d / 3, to a multiple of 8
        expert_loss_weight=0.01,
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


PRESETS = {
    "tiny": tiny,
    "2b": deepseekmoe_2b,
    "16b": deepseekmoe_16b,
    "145b": deepseekmoe_145b,
}
