"""What the model's configuration in its trace says of its experts."""

from collections.abc import Iterator, Mapping, Sequence

from analysis.queries import TraceInfo
from data.routing import EXPERT_GROUPS

MATRICES = 3  # gate, up and down projection
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
INNER = ("moe_intermediate_size", "expert_dim")  # what configurations call an expert's width
BY_INTERMEDIATE_SIZE = {"mixtral", "olmoe", "phimoe", "granitemoe", "minimax"}  # model types


def expert_bytes(info: TraceInfo) -> int | None:
    """None where the configuration does not say it, or the weights are quantized in another way."""
    if next(_said(info, ("quantization_config",)), None):
        return None
    inner, hidden = expert_size(info) or (0, 0)
    dtype = next(_said(info, ("expert_dtype", "dtype", "torch_dtype")), None)
    return MATRICES * hidden * inner * BYTES.get(str(dtype), 0) or None


def expert_size(info: TraceInfo) -> tuple[int, int] | None:
    """Its neurons, and the inputs of each; None where the configuration does not say."""
    by_inner = str(next(_said(info, ("model_type",)), "")) in BY_INTERMEDIATE_SIZE
    hidden = _number(info, ("hidden_size", "hidden_dim"))
    inner = _number(info, (*INNER, "intermediate_size") if by_inner else INNER)
    return (inner, hidden) if inner and hidden else None


def expert_groups(info: TraceInfo) -> int:
    """Groups of experts, of which a token may choose only some; 1 where none are named."""
    return _number(info, EXPERT_GROUPS) or 1


def _number(info: TraceInfo, names: Sequence[str]) -> int:
    """0 where there is none."""
    return next((one for one in _said(info, names) if type(one) is int and one > 0), 0)


def _said(info: TraceInfo, names: Sequence[str]) -> Iterator[object]:
    """Under any of these names: first what is said of the language model, then of the whole."""
    whole = info.config.get("model")
    inner = whole.get("text_config") if isinstance(whole, Mapping) else None
    for settings in (inner, whole):
        if isinstance(settings, Mapping):
            yield from (settings[name] for name in names if settings.get(name))
