"""What of our models no class of transformers has that RouteScope writes."""

from model.config import CLOSED, ModelConfig

BEST_OF_A_GROUP = 2  # experts by which those with a sigmoid gate rank groups


def without_counterpart(config: ModelConfig) -> str | None:
    """In words; None: the whole model can be said in one of them."""
    if not config.num_experts:
        if config.hidden_dim % config.num_heads:
            return f"a model dim ({config.hidden_dim}) that {config.num_heads} heads do not divide"
        return None
    if config.capacity_factor is not None:
        return f"experts of limited capacity (capacity_factor {config.capacity_factor:g})"
    if config.router == "hash":
        return "a gate that goes by the token alone (the hash router)"
    if config.router == "dsr":
        return "a number of experts that varies from token to token (the dsr router)"
    if any(CLOSED in leaders for leaders in config.expert_leaders or ()):
        return "closed experts, which a gate scores and never chooses (pruned)"
    return _in_sigmoid_gate(config) if config.router == "sigmoid" else _in_softmax_gate(config)


def _in_softmax_gate(config: ModelConfig) -> str | None:
    if config.balancing == "bias":
        return f"a softmax gate that chooses by a bias (the {config.router} router)"
    if groups_limited(config):
        return f"a softmax gate that chooses among groups (the {config.router} router)"
    return None


def _in_sigmoid_gate(config: ModelConfig) -> str | None:
    limited = groups_limited(config)
    size = config.num_experts // (config.expert_groups if limited else 1)
    if size < BEST_OF_A_GROUP:
        return "a sigmoid gate over a group of one expert"
    if limited and config.groups_per_token is not None:
        best = min(size, max(1, config.top_k // config.groups_per_token))
        if best != BEST_OF_A_GROUP:
            return f"groups ranked by their best {best} experts instead of {BEST_OF_A_GROUP}"
    return None


def groups_limited(config: ModelConfig) -> bool:
    """Whether some tokens may not go to some groups."""
    return config.groups_per_token is not None and config.groups_per_token < config.expert_groups
