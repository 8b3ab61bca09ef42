"""moe-policylang's replay of choices: run by the interpreter of an environment that has it.

    PYTHON benchmarks/cache_peer.py CHOICES.npz RESULT.json

CHOICES: ids_TLK, document_T, num_experts and fractions of the experts that fit. Its traces hold a
probability for every expert; those given here fall with the rank of a choice, and are 0 beside.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from moe_policylang.benchmark.replay import replay_policies
from moe_policylang.integrations.trace_recorder import TraceEntry, TraceRecording

POLICIES = {"lru": "topk_lru", "lfu": "topk_lfu", "belady": "belady"}


def main(choices: Path, result: Path) -> None:
    given = np.load(choices)
    ids_TLK, document_T, num_experts = given["ids_TLK"], given["document_T"], given["num_experts"]
    tokens, layers, top_k = ids_TLK.shape
    share_K = np.arange(top_k, 0, -1) / (top_k * (top_k + 1) / 2)
    share_TLE = np.zeros((tokens, layers, num_experts), np.float32)
    np.put_along_axis(share_TLE, ids_TLK, share_K.astype(np.float32)[None, None], -1)
    entries = [
        TraceEntry(
            prompt_id=int(document_T[token]),
            token_idx=token,
            layer_idx=layer,
            selected_experts=ids_TLK[token, layer].tolist(),
            router_scores=share_K.tolist(),
            router_softmax=share_TLE[token, layer].tolist(),
        )
        for token in range(tokens)
        for layer in range(layers)
    ]
    recording = TraceRecording(
        model_name="", num_layers=layers, num_experts=int(num_experts), top_k=top_k, entries=entries
    )
    found = []
    for name, theirs in POLICIES.items():
        for fraction in given["fractions"].tolist():
            start = time.process_time()
            (cell,) = replay_policies(recording, top_k, [theirs], [fraction])
            seconds = time.process_time() - start
            found.append(
                {"policy": name, "slots": cell.budget, "hits": cell.hits, "seconds": seconds}
                | {"accesses": cell.accesses}
            )
    # In which order it looks up what a token chose: that of a partition by probability.
    order_TLK = np.argpartition(-share_TLE, top_k - 1, axis=-1)[..., :top_k]
    facts = {"version": version("moe-policylang"), "numpy": version("numpy")}
    result.write_text(json.dumps(facts | {"cells": found, "order_TLK": order_TLK.tolist()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
