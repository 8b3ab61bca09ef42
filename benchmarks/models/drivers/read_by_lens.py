"""transformer-lens: the hooks of `TransformerBridge` on each layer's router.

`hook_expert_indices` and `hook_expert_weights` where a router has them; else the largest of the
logits that `hook_out` of the router, or `hook_router_scores` of the block, gives.
"""

from pathlib import Path
from typing import Any

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from benchmarks.models.drivers.reading import Layer, Subject, drive, load_model

BRIDGES: dict[Path, Any] = {}


def load(folder: Path) -> Any:
    BRIDGES.clear()
    try:
        BRIDGES[folder] = TransformerBridge.boot_transformers(str(folder), device="cpu")
    except OSError:  # of Switch it loads pickled weights alone
        BRIDGES[folder] = TransformerBridge.boot_transformers(
            str(folder), device="cpu", hf_model=load_model(folder)
        )
    return BRIDGES[folder].original_model


def read(subject: Subject, text: str) -> list[Layer]:
    inputs = subject.inputs(text)
    ids, *written = inputs.values()
    decoder = {"decoder_input": written[0]} if written else {}
    _, cache = BRIDGES[subject.folder].run_with_cache(ids, **decoder)
    names = places(cache, num_experts=subject.ran.chosen[0].shape[1])
    if not names:
        raise ValueError("the bridge has no hook on a router")
    return [layer_of(cache, name, subject.top_k) for name in names]


def places(cache: Any, *, num_experts: int) -> list[str]:
    """Hooks on routers, the most telling of each, in the order of the forward. Gates of attention
    and of experts that are shared have names like theirs and other widths."""
    routers: dict[str, str] = {}
    for ending in ("hook_expert_indices", "hook_out", "hook_router_scores"):
        for name in cache.cache_dict:
            block, _, hook = name.rpartition(".")
            router = block.rpartition(".")[2] in ("gate", "router", "router_gate")
            wide = ending == "hook_expert_indices" or cache[name].shape[-1] == num_experts
            known = any(f"{one}.".startswith(f"{block}.") for one in routers)
            if hook == ending and wide and not known and (router or ending != "hook_out"):
                routers.setdefault(block, name)
    names = list(cache.cache_dict)
    inner = [one for one in routers if not any(x.startswith(f"{one}.") for x in routers)]
    return sorted((routers[one] for one in inner), key=names.index)


def layer_of(cache: Any, name: str, top_k: int) -> Layer:
    block, _, hook = name.rpartition(".")
    if hook == "hook_expert_indices":
        ids_TK = flat(cache[name])
        if ids_TK.is_floating_point():
            raise ValueError(f"{hook} gives {ids_TK.dtype} {tuple(ids_TK.shape)}: no ids")
        weights_TE = cache.cache_dict.get(f"{block}.hook_expert_weights")
        weights_TK = None if weights_TE is None else flat(weights_TE).gather(1, ids_TK)
        return Layer(ids=ids_TK, weights=weights_TK)
    return Layer(ids=flat(cache[name]).topk(top_k).indices)


def flat(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1])


if __name__ == "__main__":
    drive(read, package="transformer-lens", load=load)
