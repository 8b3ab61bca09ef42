"""What the domain tells about a layer's experts, by itself and once the token is known.

T = tokens, N = groups, E = routed experts, G = domains, R = deals of domains to groups.
"""

import numpy as np
import pandas as pd

from analysis.arrays import choice_array, token_starts
from analysis.conditional import PERMUTATIONS, conditional_information
from analysis.groups import NOT_ENOUGH
from analysis.joint_counts import summed_by_group
from analysis.permutation import false_discovery_rate
from analysis.queries import TraceInfo
from analysis.specialization import mutual_information

TESTED = {"information_p": "information_q", "p": "q"}  # over the layers of a trace
NUMBERS = (
    "information",
    "information_null",
    "information_p",
    "plug_in",
    "null",
    "beyond",
    "low",
    "high",
    "p",
)
COLUMNS = (
    "layer_id",
    "information",
    "information_null",
    "information_p",
    "information_q",
    "plug_in",
    "null",
    "beyond",
    "low",
    "high",
    "p",
    "q",
    "n_documents",
    "n_groups",
    "n_tokens",
    "reason",
)


def information_row(
    choices: pd.DataFrame, domains: pd.Series, info: TraceInfo, *, layer_id: int
) -> dict[str, object]:
    """A layer: I(expert; domain), its mean over dealt domains and its rank among them; the same
    given the token id (plug_in, null, p), and beyond, plug_in less null, with the ends low and high
    of its 95 % interval; nats per choice.

    choices are layer_choices(), domains the domain of every doc_id; reason says why it is empty.
    """
    row: dict[str, object] = {"layer_id": layer_id, **dict.fromkeys(NUMBERS)}
    if choices.empty:
        return row | {
            "n_documents": 0,
            "n_groups": 0,
            "n_tokens": 0,
            "reason": "no routed tokens in this layer",
        }
    num_experts = info.layers[layer_id].num_experts
    chosen_TE, unit_T = choice_array(choices, num_experts)
    token_id_T = choices.token_id.to_numpy()[token_starts(choices)]
    units, group_T = np.unique(unit_T, return_inverse=True)
    domain_N = pd.Index(info.domains).get_indexer(pd.Index(domains[units]))
    row |= {"n_documents": choices.doc_id.nunique(), "n_groups": len(units)}
    row |= {"n_tokens": len(chosen_TE), "reason": ""}
    try:
        beyond = conditional_information(chosen_TE, token_id_T, group_T, domain_N[group_T])
    except ValueError as error:
        return row | {"reason": str(error)}
    tokens_NE = summed_by_group(chosen_TE, group_T)
    row |= _information(tokens_NE, domain_N, num_domains=len(info.domains))
    null = beyond.null + beyond.group_excess
    row |= {"plug_in": beyond.plug_in, "null": null, "beyond": beyond.corrected, "p": beyond.p}
    if np.isnan(beyond.low):
        return row | {"reason": f"{NOT_ENOUGH} how sure this is"}
    return row | {"low": beyond.low, "high": beyond.high}


def with_q(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of all layers, also those read from a file, with q by Benjamini and Hochberg."""
    table = rows.reindex(columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, "Float64"))
    for p, q in TESTED.items():
        q_L = false_discovery_rate(table[p].to_numpy(float, na_value=np.nan))
        table[q] = pd.array(q_L, dtype="Float64")
    return table


def _information(
    tokens_NE: np.ndarray, domain_N: np.ndarray, *, num_domains: int, seed: int = 0
) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    dealt_RN = [domain_N, *(rng.permutation(domain_N) for _ in range(PERMUTATIONS))]
    one_hot = np.eye(num_domains)
    tokens_REG = np.stack([tokens_NE.T @ one_hot[dealt_N] for dealt_N in dealt_RN])
    observed, *dealt = mutual_information(tokens_REG)
    above = sum(value >= observed - 1e-12 for value in dealt)
    return {
        "information": float(observed),
        "information_null": float(np.mean(dealt)),
        "information_p": (1 + above) / (1 + PERMUTATIONS),
    }
