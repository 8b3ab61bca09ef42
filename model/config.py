"""What a transformer of this project is made of. Its presets are in model/presets.py."""

import math
from dataclasses import dataclass, replace

ROUTERS = ("softmax", "sigmoid", "gshard", "switch", "hash", "dsr")
FIXED_TOP_K = {"gshard": 2, "switch": 1, "hash": 1}
CLOSED = -1  # among expert_leaders: no expert stands for this one, so it is never chosen


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
    top_k: int = 0  # routed experts per token; the most with the dsr router
    min_k: int | None = None  # the fewest, dsr only
    top_p: float | None = None  # dsr only: a token's experts are the fewest whose weights reach it
    num_shared_experts: int = 0  # always on
    expert_dim: int = 0  # inner width of one expert, routed or shared
    expert_leaders: tuple[tuple[int, ...], ...] | None = None  # [L][E]: whose weights an expert
    # runs, its own or another's, or CLOSED; only leaders have weights. None: each its own
    expert_dtype: str = "bfloat16"  # of routed experts on disk; "int8": with a scale a channel
    router: str = "softmax"  # one of ROUTERS: model/router.py says what each does
    capacity_factor: float | None = None  # of the balanced load of a sequence; None: no limit
    expert_groups: int = 1  # D groups of experts: devices or nodes
    groups_per_token: int | None = None  # M groups that a token may choose from; None: all
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
        if self.num_experts:
            self._check_experts()
            self._check_router()
        if self.expert_dtype not in ("bfloat16", "int8"):
            raise ValueError(f"expert_dtype ({self.expert_dtype!r}) must be 'bfloat16' or 'int8'")
        if self.expert_leaders is not None:
            self._check_leaders(self.expert_leaders)

    def _check_experts(self) -> None:
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

    def _check_router(self) -> None:
        if self.router not in ROUTERS:
            raise ValueError(f"router ({self.router!r}) must be one of {', '.join(ROUTERS)}")
        if self.top_k != FIXED_TOP_K.get(self.router, self.top_k):
            raise ValueError(
                f"top_k ({self.top_k}) must be {FIXED_TOP_K[self.router]} with the "
                f"{self.router} router"
            )
        self._check_dynamic()
        if self.router == "hash" and self.balancing == "bias":
            raise ValueError("the hash router has nothing to balance; leave balancing at 'loss'")
        if self.capacity_factor is not None and not self.capacity_factor > 0:
            raise ValueError(f"capacity_factor ({self.capacity_factor}) must be positive, or none")
        if self.groups_per_token is not None:
            self._check_groups(self.groups_per_token)

    def _check_dynamic(self) -> None:
        if self.router != "dsr":
            if self.min_k is not None or self.top_p is not None:
                raise ValueError(
                    f"min_k ({self.min_k}) and top_p ({self.top_p}) are of the dsr router; "
                    f"leave them out with the {self.router} router"
                )
            return
        if self.min_k is None or not 1 <= self.min_k <= self.top_k:
            raise ValueError(
                f"min_k ({self.min_k}) must be between 1 and top_k ({self.top_k}) with the dsr "
                "router"
            )
        if self.top_p is None or not 0 < self.top_p <= 1:
            raise ValueError(
                f"top_p ({self.top_p}) must be above 0 and at most 1 with the dsr router"
            )
        if self.capacity_factor is not None or self.balancing == "bias" or self.groups_per_token:
            raise ValueError(
                "the dsr router has neither capacity_factor, groups_per_token nor a bias: the "
                "number of experts of a token varies"
            )

    def _check_leaders(self, leaders_LE: tuple[tuple[int, ...], ...]) -> None:
        if [len(leaders) for leaders in leaders_LE] != [self.num_experts] * self.num_moe_layers:
            raise ValueError(
                f"expert_leaders must name one for each of {self.num_experts} experts in "
                f"{self.num_moe_layers} MoE layers"
            )
        for layer, leaders in enumerate(leaders_LE):
            standing = set(leaders) - {CLOSED}
            if any(not 0 <= one < self.num_experts or leaders[one] != one for one in standing):
                raise ValueError(
                    f"a leader of MoE layer {layer} must be an expert that leads itself"
                )
            if len(standing) < self.top_k:
                raise ValueError(
                    f"MoE layer {layer} would keep {len(standing)} experts, and a token chooses "
                    f"{self.top_k}; keep at least as many"
                )
            if CLOSED in leaders:
                self._check_closed(layer, leaders)

    def _check_closed(self, layer: int, leaders: tuple[int, ...]) -> None:
        if self.router == "hash":
            raise ValueError("the hash router cannot choose another expert for a closed one")
        if self.groups_per_token is None:
            return
        size = self.num_experts // self.expert_groups
        opened = sorted(
            sum(leader != CLOSED for leader in leaders[start : start + size])
            for start in range(0, self.num_experts, size)
        )
        if sum(opened[: self.groups_per_token]) < self.top_k:
            raise ValueError(
                f"{self.groups_per_token} groups of MoE layer {layer} may hold "
                f"{sum(opened[: self.groups_per_token])} open experts, and a token chooses "
                f"{self.top_k}; close fewer"
            )

    def _check_groups(self, allowed: int) -> None:
        if not 1 <= allowed <= self.expert_groups:
            raise ValueError(
                f"groups_per_token ({allowed}) must be between 1 and expert_groups "
                f"({self.expert_groups})"
            )
        reachable = allowed * (self.num_experts // self.expert_groups)
        if self.top_k > reachable:
            raise ValueError(
                f"top_k ({self.top_k}) is more than the {reachable} experts of "
                f"{allowed} groups; allow more groups or choose fewer"
            )

    @property
    def num_moe_layers(self) -> int:
        return self.num_layers - self.first_dense_layers if self.num_experts else 0

    def leaders(self, block: int) -> tuple[int, ...] | None:
        """Of a block with experts, counted over all blocks."""
        if self.expert_leaders is None:
            return None
        return self.expert_leaders[block - self.first_dense_layers]

    @property
    def varying_k(self) -> bool:
        """Whether the number of experts differs from token to token."""
        return self.router == "dsr" or self.capacity_factor is not None

    @property
    def expert_capacity(self) -> int | None:
        """Tokens that an expert takes of one sequence; None without a limit."""
        if self.capacity_factor is None:
            return None
        balanced = self.top_k * self.context_length / self.num_experts
        return math.ceil(self.capacity_factor * balanced)


def segmented(config: ModelConfig, segments: int) -> ModelConfig:
    """Every routed expert cut into `segments`, as many times more chosen (arXiv 2401.06066, 3.1).

    Total and activated parameters stay.
    """
    if segments < 1 or config.expert_dim % segments:
        raise ValueError(
            f"{segments} segments do not divide an expert of width {config.expert_dim}"
        )
    return replace(
        config,
        num_experts=config.num_experts * segments,
        top_k=config.top_k * segments,
        min_k=None if config.min_k is None else config.min_k * segments,
        expert_dim=config.expert_dim // segments,
    )


def with_shared(config: ModelConfig, shared: int) -> ModelConfig:
    """`shared` of the routed experts always on, as many fewer chosen (arXiv 2401.06066, 3.2).

    Total and activated parameters stay.
    """
    if not 0 <= shared < config.top_k:
        raise ValueError(
            f"{shared} shared experts of {config.top_k} activated ones leave none to choose; "
            f"isolate 0 to {config.top_k - 1}"
        )
    return replace(
        config,
        num_experts=config.num_experts - shared,
        top_k=config.top_k - shared,
        min_k=None if config.min_k is None else max(1, config.min_k - shared),
        num_shared_experts=config.num_shared_experts + shared,
    )


def dense(config: ModelConfig, *, width: int) -> ModelConfig:
    """The same transformer with one FFN of that inner width in every block."""
    return replace(
        config,
        dense_ffn_dim=width,
        first_dense_layers=0,
        num_experts=0,
        top_k=0,
        min_k=None,
        top_p=None,
        num_shared_experts=0,
        expert_dim=0,
        expert_leaders=None,
        expert_dtype="bfloat16",
        router="softmax",
        capacity_factor=None,
        expert_groups=1,
        groups_per_token=None,
        balancing="loss",
        expert_loss_weight=0.0,
        device_loss_weight=0.0,
    )


def dense_twin(config: ModelConfig) -> ModelConfig:
    """The dense model whose parameters are those that `config` activates for one token."""
    active_dim = config.expert_dim * (config.top_k + config.num_shared_experts)
    if config.dense_ffn_dim != active_dim and config.first_dense_layers:
        raise ValueError(
            f"dense_ffn_dim ({config.dense_ffn_dim}) must equal the activated expert width "
            f"({active_dim}) for a dense twin of equal activated parameters"
        )
    return dense(config, width=active_dim)
