"""transformer-lens: the hooks of `TransformerBridge` on each layer's router.

`hook_expert_indices` and `hook_expert_weights` where a router has them; else the largest of the
logits that `hook_out` of the router, or `hook_router_scores` of the block, gives.
"""

from pathlib import Path
from typing import Any

from reading import Layer, Subject, drive
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

BRIDGES: dict[Path, Any] = {}


def load(folder: Path) -> Any:
    BRIDGES.clear()
    BRIDGES[folder] = TransformerBridge.boot_transformers(str(folder), device="cpu")
    return BRIDGES[folder].original_model


def read(subject: Subject, text: str) -> list[Layer]:
    inputs = subject.inputs(text)
    decoder = {"decoder_input": x for name, x in inputs.items() if name == "decoder_input_ids"}
    _, cache = BRIDGES[subject.folder].run_with_cache(inputs["input_ids"], **decoder)
    layers = [layer_of(cache, name, subject.top_k) for name in places(list(cache.keys()))]
    if not layers:
        raise ValueError("the bridge has no hook on a router")
    return layers


def places(names: list[str]) -> list[str]:
    """Hooks on routers, one a router, the most telling of each; in the order of the forward."""
    routers: dict[str, str] = {}
    for ending in ("hook_expert_indices", "hook_out", "hook_router_scores"):
        for name in names:
            block, _, hook = name.rpartition(".")
            router = block.rpartition(".")[2] in ("gate", "router")
            if hook == ending and (router or hook == "hook_router_scores"):
                known = [one for one in routers if one.startswith(block) or block.startswith(one)]
                if not known:
                    routers[block] = name
    return sorted(routers.values(), key=names.index)


def layer_of(cache: Any, name: str, top_k: int) -> Layer:
    block, _, hook = name.rpartition(".")
    if hook == "hook_expert_indices":
        ids_TK = flat(cache[name]).long()
        weights_TE = cache.cache_dict.get(f"{block}.hook_expert_weights")
        weights_TK = None if weights_TE is None else flat(weights_TE).gather(1, ids_TK)
        return Layer(ids=ids_TK, weights=weights_TK)
    return Layer(ids=flat(cache[name]).topk(top_k).indices)


def flat(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1])


if __name__ == "__main__":
    drive(read, package="transformer-lens", load=load)
