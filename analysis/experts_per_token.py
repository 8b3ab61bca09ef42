"""How many experts a token runs, where the gate decides that token by token.

N = groups, L = MoE layers, M = their mean, then each, G = domains, k = experts
that ran for a token.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.domain_counts import ALL_LAYERS
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_number, effective_numbers
from analysis.permutation import adjusted, preference_p
from analysis.ratios import ratio, ratio_intervals

MAX_BINS = 48
NUMBERS = ("estimate", "low", "high", "null", "p", "q")


def k_histogram(tokens: pd.DataFrame) -> pd.DataFrame:
    """domain, first_k, last_k, tokens, share (of the domain's tokens) from rows of domain_k().

    Every domain has every bin from the smallest to the largest k that occurs, 0 included. Bins hold
    1, 2, 4, ... values, the fewest that make at most MAX_BINS bins.
    """
    least, most = int(tokens.k.min()), int(tokens.k.max())
    width = 1
    while (most - least) // width >= MAX_BINS:
        width *= 2
    domain_id, domains = pd.factorize(tokens.domain)
    tokens_GB = np.zeros((len(domains), (most - least) // width + 1), dtype=np.int64)
    place = (tokens.k.to_numpy(int) - least) // width
    np.add.at(tokens_GB, (domain_id, place), tokens.tokens.to_numpy())
    domain_id, place = np.indices(tokens_GB.shape).reshape(2, -1)
    first_k = least + place * width
    return pd.DataFrame(
        {
            "domain": np.array(domains)[domain_id],
            "first_k": first_k,
            "last_k": np.minimum(first_k + width - 1, most),
            "tokens": tokens_GB.ravel(),
            "share": (tokens_GB / tokens_GB.sum(-1, keepdims=True)).ravel(),
        }
    )


def mean_k_table(
    choices_NL: np.ndarray,
    tokens_N: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    domains: Sequence[str],
    experts_L: np.ndarray,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a domain over all layers, layer_id ALL_LAYERS, then a row a layer and domain.

    layer_id, domain, estimate, low, high (mean k and its 95 % interval), null (mean k of all
    texts), p, q (of a domain that differs from the rest; over the domains, or over layers and
    domains), n_groups, n_tokens, note. A domain without a text is left out.
    """
    choices_NM = np.column_stack([choices_NL.mean(1), choices_NL])
    experts_M = np.append(experts_L.mean(), experts_L)
    left_NM = experts_M * tokens_N[:, None] - choices_NM
    taken_MG = preference_p(  # of experts taken, not left: the first of two
        np.stack([choices_NM, left_NM], -1), domain_id_N, num_domains=len(domains), seed=seed
    )[:, 0]
    effective_G = effective_numbers(tokens_N, domain_id_N, num_domains=len(domains))
    tables = []
    for domain_id in np.unique(domain_id_N):
        of_N = domain_id_N == domain_id
        tables.append(
            pd.DataFrame(ratio_intervals(ratio(choices_NM[of_N], tokens_N[of_N]))).assign(
                domain=domains[domain_id],
                null=choices_NM.sum(0) / tokens_N.sum(),
                p=taken_MG[:, domain_id],
                n_groups=int(of_N.sum()),
                n_tokens=int(tokens_N[of_N].sum()),
                few=effective_G[domain_id] < MIN_EFFECTIVE,
                few_others=effective_number(tokens_N[~of_N]) < MIN_EFFECTIVE,
            )
        )
    table = pd.concat(tables).rename_axis("layer_id").sort_index(kind="stable").reset_index()
    table["layer_id"] = np.where(table.layer_id == 0, ALL_LAYERS, table.layer_id - 1)
    return _with_q_and_note(table, experts_M)


def _with_q_and_note(table: pd.DataFrame, experts_M: np.ndarray) -> pd.DataFrame:
    most = pd.Series(experts_M[table.layer_id + 1], index=table.index)
    table[["low", "high"]] = table[["low", "high"]].clip(0, most, axis=0)
    table["q"] = table.groupby(table.layer_id == ALL_LAYERS).p.transform(adjusted)
    table["note"] = np.select(
        [
            table.few,
            table.domain.nunique() == 1,
            table.few_others,
            table.p.isna(),
            table.low.isna(),
        ],
        [
            f"{NOT_ENOUGH} how sure this is",
            "one domain: nothing to compare",
            f"{NOT_ENOUGH} in the other domains",
            "texts all alike: nothing to test",
            "texts all alike: no interval",
        ],
        "",
    )
    table = table.astype(dict.fromkeys(NUMBERS, "Float64"))
    return table[["layer_id", "domain", *NUMBERS, "n_groups", "n_tokens", "note"]]
