"""How often "confirmed" comes up where every choice of every expert is worth the same.

    python -m benchmarks.causal_null
    python -m benchmarks.causal_null --traces 20 --lift 2

A trace here is one layer of 64 experts, 6 chosen, with 50 groups of about 256 tokens in each of six
domains. A quarter of the experts are specialists of the lift named, in two domains each turn; every
choice taken away costs the same nats, and the loss of a group changes by noise of its own besides.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from analysis.cause_tests import tally, with_verdicts
from analysis.causes import LayerChanges, cause_table
from analysis.halves import judging_half
from analysis.significance import lift_table, specialists
from benchmarks.known_truth import DOMAINS, TOP_K, WEAK, Truth, uneven

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
    """Share of the claims of one trace that are confirmed; NaN where there is none to decide."""
    rng = np.random.default_rng(seed)
    truth = Truth(specialized(lift, rng.permutation(uneven(LOAD))), WEAK, 0.7)
    tokens_NLE, domain_id_N = truth.sample(rng)
    tokens_N = tokens_NLE.sum((1, 2)) / TOP_K
    judges_N = judging_half(tokens_N, domain_id_N, seed=seed)
    lifts = lift_table(tokens_NLE[~judges_N], domain_id_N[~judges_N], domains=DOMAINS, seed=seed)
    rows = specialists(lifts)
    claims = list(zip(rows.layer_id, rows.expert_id, rows.domain, strict=True))
    layer = same_worth(tokens_NLE[judges_N, 0].T, tokens_N[judges_N], domain_id_N[judges_N], rng)
    if not claims:
        return np.nan
    return tally(
        with_verdicts(cause_table({0: layer}, claims, claims, seed=seed)), claimed=True
    ).rate


def same_worth(
    choices_EN: np.ndarray, tokens_N: np.ndarray, domain_id_N: np.ndarray, rng: np.random.Generator
) -> LayerChanges:
    """Every choice costs WORTH, and every group and expert has noise that grows with its tokens."""
    noise_EN = NOISE * tokens_N * rng.standard_normal(choices_EN.shape)
    return LayerChanges(
        change_EN=WORTH * choices_EN + noise_EN,
        choices_EN=choices_EN,
        tokens_N=tokens_N,
        documents_N=np.ones(len(tokens_N)),
        domain_N=np.array(DOMAINS)[domain_id_N],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=200)
    parser.add_argument("--lift", type=float, nargs="*", default=[1.5, 2.0, 4.0])
    arguments = parser.parse_args()
    with ProcessPoolExecutor(2) as pool:
        for lift in arguments.lift:
            rates = list(pool.map(partial(causal_null_trace, lift), range(arguments.traces)))
            known = np.array(rates)[~np.isnan(rates)]
            print(
                f"lift {lift}: {100 * known.mean():.2f} % of the claims confirmed (bar {BAR}); in "
                f"{100 * (known > 0).mean():.1f} % of {len(known)} traces one or more",
                flush=True,
            )


if __name__ == "__main__":
    main()
