"""Caches of experts: how long a replay takes, and whether moe-policylang counts the same hits.

    python -m benchmarks.bench_cache speed TRACE --accesses 10000000
    python -m benchmarks.bench_cache agreement TRACE --peer PYTHON

PYTHON is the interpreter of an environment with moe-policylang. Times are those of the processor:
what else the machine does adds nothing. Prints Markdown.

T = tokens, L = layers, K = chosen.
"""

import argparse
import json
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis import queries
from analysis.offload.caches import Setting, Subject, least_slots, simulate
from analysis.offload.requests import Requests, read_requests, two_halves
from analysis.offload.rules import RULES
from analysis.offload.table import subject_of
from data.store import open_trace

BAR = 20  # seconds for 10^7 accesses
SHARES = (0.05, 0.1, 0.25, 0.5)  # of all experts
FRACTIONS = (0.25, 0.5, 0.75)  # of a layer's
COMPARED = 100_000  # choices: moe-policylang takes its time
PEER = Path(__file__).with_name("cache_peer.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("speed", "agreement"))
    parser.add_argument("trace", type=Path)
    parser.add_argument("--accesses", type=int, default=10_000_000)
    parser.add_argument("--peer", type=Path)
    arguments = parser.parse_args()
    if arguments.part == "speed":
        print_speed(arguments.trace, arguments.accesses)
    else:
        print_agreement(arguments.trace, arguments.peer)


def print_speed(trace: Path, accesses: int) -> None:
    simulate(*compiling())
    began = time.process_time()
    with open_trace(trace) as con:
        subject = subject_of(con, queries.trace_info(con), accesses=accesses)
    seconds, count = time.process_time() - began, len(subject.requests.expert_A)
    print(f"{count:,} accesses of {subject.requests.num_tokens:,} tokens; ", end="")
    print(f"reading both halves and fitting took {seconds:.1f} s.\n")
    sizes = [
        (per_layer, round(share * subject.requests.num_experts))
        for per_layer in (False, True)
        for share in SHARES
        if share * subject.requests.num_experts
        >= least_slots(subject.requests, per_layer=per_layer)
    ]
    heads = [
        f"{slots:,} {'by layer' if per_layer else 'in one pool'}" for per_layer, slots in sizes
    ]
    print(f"| CPU seconds | {' | '.join(heads)} |", "|---" * (len(sizes) + 1) + "|", sep="\n")
    most = 0.0
    for policy in RULES:
        times = []
        for per_layer, slots in sizes:
            began = time.process_time()
            simulate(subject, policy, Setting(slots=slots, per_layer=per_layer, cold=False))
            times.append((time.process_time() - began) * 10**7 / count)
        most = max(most, *times)
        print(f"| {policy} | {' | '.join(f'{seconds:.1f}' for seconds in times)} |")
    print(f"\nFor 10^7 accesses; the most is {most:.1f} s (bar: {BAR}).")


def compiling() -> tuple[Subject, str, Setting]:
    """What makes machine code of every loop."""
    nothing = np.zeros(1, np.int32)
    requests = Requests(
        expert_A=nothing,
        start_R1=np.array([0, 1]),
        layer_R=nothing,
        token_R=np.zeros(1, np.int64),
        document_R=nothing,
        unit_D=np.zeros(1, np.int64),
        domain_id_D=np.zeros(1, np.int64),
        experts_L=np.array([1]),
        shortened=0,
    )
    return Subject.of(requests, None), "lru", Setting(slots=1, per_layer=False, cold=True)


def print_agreement(trace: Path, peer: Path) -> None:
    """A token's choices all at once, as its oracle sees them, and one after the other."""
    ids_TLK, document_T, experts_L = choices_of(trace)
    top_k = ids_TLK.shape[2]
    print_cells(peer, ids_TLK[..., :1], document_T, experts_L)
    order_TLK = print_cells(peer, ids_TLK, document_T, experts_L)
    one_after_another = order_TLK.transpose(0, 2, 1).reshape(-1, len(experts_L), 1)
    print_cells(peer, one_after_another, np.repeat(document_T, top_k), experts_L)


def print_cells(
    peer: Path, ids_TLK: np.ndarray, document_T: np.ndarray, experts_L: np.ndarray
) -> np.ndarray:
    """order_TLK: as moe-policylang looks up what a token chose."""
    told = asked(peer, ids_TLK, document_T, int(experts_L[0]))
    order_TLK = np.array(told["order_TLK"])
    one_by_one = singles(order_TLK, document_T, experts_L)
    print(
        f"\n{ids_TLK.shape[2]} of {experts_L[0]} experts, {order_TLK.size:,} choices of "
        f"{len(ids_TLK):,} tokens in {len(np.unique(document_T))} texts; moe-policylang "
        f"{told['version']}, numpy {told['numpy']}\n"
    )
    print("| policy | slots a layer | hits, theirs | hits, ours | difference | s | s |")
    print("|---|---|---|---|---|---|---|")
    for cell in told["cells"]:
        setting = Setting(slots=cell["slots"] * len(experts_L), per_layer=True, cold=True)
        began = time.process_time()
        found = simulate(Subject.of(one_by_one, None), cell["policy"], setting)
        seconds = time.process_time() - began
        assert found.asked_NL.sum() == cell["accesses"]
        hits = int(found.hits_NL.sum())
        print(
            f"| {cell['policy']} | {cell['slots']} | {cell['hits']:,} | {hits:,} | "
            f"{(hits - cell['hits']) / cell['accesses']:+.2%} | {cell['seconds']:.1f} | "
            f"{seconds:.2f} |"
        )
    return order_TLK


def choices_of(trace: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids_TLK and document_T of tokens that all choose K experts in layers of one size."""
    with open_trace(trace) as con:
        info = queries.trace_info(con)
        requests = read_requests(con, info, two_halves(con, info, accesses=COMPARED)[1])
    assert info.top_k is not None
    first_L = np.cumsum(info.layer_sizes) - info.layer_sizes
    ids_TLK = requests.expert_A.reshape(-1, info.num_layers, info.top_k) - first_L[:, None]
    return ids_TLK, requests.document_R[:: info.num_layers], info.layer_sizes


def asked(
    peer: Path, ids_TLK: np.ndarray, document_T: np.ndarray, num_experts: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "choices.npz", Path(folder) / "result.json"
        np.savez(
            given,
            ids_TLK=ids_TLK,
            document_T=document_T,
            num_experts=np.array(num_experts),
            fractions=np.array(FRACTIONS),
        )
        subprocess.run([str(peer), str(PEER), str(given), str(result)], check=True)
        return dict(json.loads(result.read_text()))


def singles(order_TLK: np.ndarray, document_T: np.ndarray, experts_L: np.ndarray) -> Requests:
    """A request a choice, in the order in which moe-policylang looks them up: a token may then
    evict what it needs next."""
    tokens, layers, top_k = order_TLK.shape
    first_L = np.cumsum(experts_L) - experts_L
    count = order_TLK.size
    token_A = np.repeat(np.arange(tokens), layers * top_k)
    documents = int(document_T.max()) + 1
    return replace(
        compiling()[0].requests,
        expert_A=(order_TLK + first_L[:, None]).reshape(-1).astype(np.int32),
        start_R1=np.arange(count + 1),
        layer_R=np.tile(np.repeat(np.arange(layers, dtype=np.int32), top_k), tokens),
        token_R=token_A,
        document_R=document_T[token_A].astype(np.int32),
        unit_D=np.arange(documents),
        domain_id_D=np.zeros(documents, np.int64),
        experts_L=experts_L,
    )


if __name__ == "__main__":
    main()
