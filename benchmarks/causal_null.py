"""How often "confirmed" comes up where every choice is worth the same, and where it is not.

    python -m benchmarks.causal_null
    python -m benchmarks.causal_null --traces 20 --lift 2

A trace here is one layer of 64 experts, 6 chosen, with 50 groups of about 256 tokens in each of six
domains, half of which choose. Four experts of each domain are specialists of the lift named. What a
choice taken away costs is known, and the loss of a group changes by noise of its own besides.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from analysis.cause_tests import tally, with_verdicts
from analysis.causes import LayerChanges, cause_table
from analysis.halves import judging_half
from analysis.significance import lift_table, specialists
from benchmarks.known_truth import DOMAINS, EXPERTS, TOP_K, WEAK, Truth, uneven

BAR = 6.5  # percent of the claims
SPECIALISTS = 4  # a domain
WORTH = 0.02  # nats that a choice taken away costs
NOISE = 0.003  # nats a token, the spread of what a group's loss changes by besides
LOAD = 0.5  # spread of the logarithm of an expert's load


def specialized(lift: float, load_E: np.ndarray) -> np.ndarray:
    """share_GE: experts of this lift in their domain beside the others, all of uneven load."""
    share_GE = np.tile(load_E, (len(DOMAINS), 1))
    for domain_id in range(len(DOMAINS)):
        own = np.arange(SPECIALISTS) * len(DOMAINS) + domain_id
        share_GE[:, own] *= (len(DOMAINS) - lift) / (len(DOMAINS) - 1)
        share_GE[domain_id, own] = load_E[own] * lift
    return share_GE / share_GE.sum(-1, keepdims=True)


def causal_null_trace(lift: float, seed: int) -> float:
    """Share of the claims of one trace that are confirmed where every choice of every expert is
    worth the same; NaN where there is no claim to decide."""
    return causal_trace(lift, seed)


def causal_trace(lift: float, seed: int, *, spread: float = 0.0, own: float = 1.0) -> float:
    """As causal_null_trace. spread: of the logarithm of what an expert's choices are worth in all
    domains; own: how many times as much a specialist's choices are worth in its own."""
    rng = np.random.default_rng(seed)
    truth = Truth(specialized(lift, rng.permutation(uneven(LOAD))), WEAK, 0.7)
    tokens_NLE, domain_id_N = truth.sample(rng)
    tokens_N = tokens_NLE.sum((1, 2)) / TOP_K
    judges_N = judging_half(tokens_N, domain_id_N, seed=seed)
    lifts = lift_table(tokens_NLE[~judges_N], domain_id_N[~judges_N], domains=DOMAINS, seed=seed)
    rows = specialists(lifts)
    claims = list(zip(rows.layer_id, rows.expert_id, rows.domain, strict=True))
    if not claims:
        return np.nan
    worth_E1 = WORTH * np.exp(spread * rng.standard_normal((EXPERTS, 1)))
    worth_EN = np.tile(worth_E1, (1, int(judges_N.sum())))
    domain_N = np.array(DOMAINS)[domain_id_N[judges_N]]
    for _, expert_id, domain in claims:
        worth_EN[expert_id, domain_N == domain] *= own
    choices_EN = tokens_NLE[judges_N, 0].T
    noise_EN = NOISE * tokens_N[judges_N] * rng.standard_normal(choices_EN.shape)
    layer = LayerChanges(
        change_EN=worth_EN * choices_EN + noise_EN,
        choices_EN=choices_EN,
        tokens_N=tokens_N[judges_N],
        documents_N=np.ones(len(domain_N)),
        domain_N=domain_N,
    )
    return tally(
        with_verdicts(cause_table({0: layer}, claims, claims, seed=seed)), claimed=True
    ).rate


CASES = {  # spread, own
    "every choice worth the same": (0.0, 1.0),
    "experts worth unlike, domains alike": (0.5, 1.0),
    "specialists worth twice in their domain": (0.0, 2.0),
    "the same, experts worth unlike": (0.5, 2.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=200)
    parser.add_argument("--lift", type=float, nargs="*", default=[1.5, 2.0])
    arguments = parser.parse_args()
    print(f"claims confirmed, percent (bar of the first two: {BAR}); traces with one or more")
    with ProcessPoolExecutor(2) as pool:
        for name, case in CASES.items():
            for lift in arguments.lift:
                one = partial(causal_trace, lift, spread=case[0], own=case[1])
                rates = np.array(list(pool.map(one, range(arguments.traces))))
                known = rates[~np.isnan(rates)]
                print(
                    f"{name:<42}lift {lift:<6}{100 * known.mean():8.2f}"
                    f"{100 * (known > 0).mean():8.1f}  of {len(known)} traces",
                    flush=True,
                )


if __name__ == "__main__":
    main()
