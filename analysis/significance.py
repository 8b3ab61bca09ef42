"""Which preferences of experts for domains are more than luck, how large, and how surely.

N = groups, L = MoE layers, E = routed experts, G = domains. The group is the sample: tokens of one
prompt resemble one another, and so do texts of one source. docs/metrics.md argues every choice.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from analysis.bootstrap import CONFIDENCE
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_numbers
from analysis.influence import Spread, detectable_lift, lift_errors, log_lift, null_errors
from analysis.layers import in_threads, of_layers
from analysis.permutation import false_discovery_rate, layer_p, permuted_labels
from analysis.specialization import MIN_LIFT

MAX_Q = 0.05
POWER = 0.8
NAMED = 3  # domains with too few texts that have a line each


def lift_table(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    domains: Sequence[str],
    experts_L: np.ndarray | None = None,
    min_effective: float = MIN_EFFECTIVE,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a layer, expert and domain, dead ones included; experts_L as in analysis/layers.py.

    layer_id, expert_id, domain, estimate, low, high (log2 lift and its 95 % interval), p, q,
    n_groups (of the domain), n_tokens (its choices of the expert), smallest_detectable (log2 lift
    that q < 0.05 finds in 80 of 100 such traces), enough (that is at most MIN_LIFT, or the cell has
    q < 0.05), note (what cannot be said and why, else empty). Nothing is tested in a domain with
    fewer groups than min_effective.
    """
    columns_LEG = lift_columns(
        tokens_NLE, domain_id_N, num_domains=len(domains), min_effective=min_effective, seed=seed
    )
    return _frame(columns_LEG, domains, experts_L)


def lift_columns(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    num_domains: int,
    min_effective: float = MIN_EFFECTIVE,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """What lift_table() says of every layer, expert and domain, each [L, E, G]; NaN where there is
    none."""
    require_groups(tokens_NLE, domain_id_N)
    labels_PN = permuted_labels(domain_id_N, seed=seed)

    def of_layer(layer_id: int) -> dict[str, np.ndarray]:
        p_EG, of = layer_p(tokens_NLE[:, layer_id], labels_PN, num_domains, min_effective)
        return _lift_columns(of, min_effective=min_effective) | {"p": p_EG}

    layers = in_threads(of_layer, tokens_NLE.shape[1])
    columns = {name: np.stack([layer[name] for layer in layers]) for name in layers[0]}
    return columns | {"q": false_discovery_rate(columns["p"])}


def family_size(table: pd.DataFrame) -> int:
    """How many cells of a lift_table were tested at once."""
    return int(table.q.notna().sum())


def detection_level(table: pd.DataFrame) -> float:
    """The p below which cells of a lift_table have q < 0.05; 0.05 / family_size if none has."""
    significant = table.p[(table.q < MAX_Q).fillna(False)]
    return float(significant.max()) if len(significant) else MAX_Q / max(family_size(table), 1)


def specialists(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a lift_table with q < 0.05 and a lift of at least MIN_LIFT, clearest first: by
    the lower end of the interval, and by the lift where groups are all alike and it has none."""
    claimed = (table.q < MAX_Q) & (table.estimate >= np.log2(MIN_LIFT))
    claims = table[claimed.fillna(False)]
    order = claims.low.fillna(claims.estimate).argsort(kind="stable")[::-1]
    return claims.iloc[order].reset_index(drop=True)


def limits(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    domains: Sequence[str],
    experts_L: np.ndarray | None = None,
    layer_names: Sequence[str] | None = None,
) -> list[str]:
    """What these groups of texts cannot show and why, one line per limit."""
    groups_G = np.bincount(domain_id_N, minlength=len(domains))
    load_N = tokens_NLE.sum((1, 2))
    effective_G = effective_numbers(load_N, domain_id_N, num_domains=len(domains))
    present = np.flatnonzero(groups_G)
    lines = []
    if len(present) < 2:
        lines.append(
            "All texts belong to one domain, so there are no lifts, tests or specialists, which "
            "compare domains. Label texts of two or more domains in a column named domain."
        )
    few = present[effective_G[present] < MIN_EFFECTIVE]
    lines += _too_few([domains[domain] for domain in few], groups_G[few], effective_G[few])
    choices = [tokens_NE.sum(0) for tokens_NE in of_layers(tokens_NLE, experts_L)]
    empty = np.flatnonzero([not tokens_E.any() for tokens_E in choices])
    if empty.size:
        names = layer_names or [f"layer {layer_id}" for layer_id in range(len(choices))]
        layers = ", ".join(names[layer_id] for layer_id in empty.tolist())
        lines.append(f"No token was routed in {layers}, so it has no figures.")
    dead = sum(int((tokens_E == 0).sum()) for tokens_E in choices if tokens_E.any())
    if dead:
        experts, have = ("expert was", "has") if dead == 1 else ("experts were", "have")
        lines.append(f"{dead} {experts} never chosen and so {have} no lift and no test.")
    return lines


def _too_few(names: list[str], groups: np.ndarray, effective: np.ndarray) -> list[str]:
    """A line a domain, or one of all where they are many."""
    needed = f"of equal length; {MIN_EFFECTIVE} are needed: {NOT_ENOUGH}."
    if len(names) > NAMED:
        return [
            f"{', '.join(names)} have {_span(groups)} independent texts each, as "
            f"good as {effective.max():.1f} {needed} They have no intervals and no tests."
        ]
    return [
        f"{name} has {count} independent {'text' if count == 1 else 'texts'}, as good as "
        f"{number:.1f} {needed} It has no intervals and no tests."
        for name, count, number in zip(names, groups, effective, strict=True)
    ]


def _span(counts: np.ndarray) -> str:
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high}"


def require_groups(tokens_NLE: np.ndarray, domain_id_N: np.ndarray) -> None:
    if tokens_NLE.shape[0] != len(domain_id_N):
        raise ValueError(
            f"{tokens_NLE.shape[0]} groups with {len(domain_id_N)} labels; pass one a group"
        )
    if not tokens_NLE.any():
        raise ValueError("no text has routed tokens; capture a trace with tokens")


def _lift_columns(of: Spread, *, min_effective: float) -> dict[str, np.ndarray]:
    """Of one layer, each [E, G]; NaN where there is none."""
    compared_G = (of.groups_G > 0) & (of.groups_G < of.groups_G.sum())
    estimate_EG = np.where(compared_G, log_lift(of.tokens_EG), np.nan)
    error_EG, freedom_EG = lift_errors(of)
    reach_EG = special.stdtrit(freedom_EG, (1 + CONFIDENCE) / 2) * error_EG
    enough_G = np.minimum(of.effective_G, of.rest_effective_G) >= min_effective
    reach_EG[:, ~enough_G] = np.nan
    reach_EG[~(error_EG > 0)] = np.nan  # groups all alike
    shape = of.tokens_EG.shape
    return {
        "estimate": estimate_EG,
        "low": estimate_EG - reach_EG,
        "high": estimate_EG + reach_EG,
        "n_groups": np.broadcast_to(of.groups_G, shape),
        "n_tokens": of.tokens_EG.astype(int),
        "few": np.broadcast_to(~enough_G, shape),
        "null_error": null_errors(of),
    }


def _frame(
    columns_LEG: dict[str, np.ndarray], domains: Sequence[str], experts_L: np.ndarray | None
) -> pd.DataFrame:
    layer_id, expert_id, domain_id = np.indices(columns_LEG["p"].shape).reshape(3, -1)
    is_expert = slice(None) if experts_L is None else expert_id < experts_L[layer_id]
    table = pd.DataFrame(
        {"layer_id": layer_id, "expert_id": expert_id, "domain": np.array(domains)[domain_id]}
    )[is_expert].reset_index(drop=True)
    columns = {name: of_LEG.ravel()[is_expert] for name, of_LEG in columns_LEG.items()}
    for name in ("estimate", "low", "high", "p", "q"):
        table[name] = pd.array(columns[name], dtype="Float64")
    for name in ("n_groups", "n_tokens"):
        table[name] = columns[name]
    return _with_power(table, columns["few"], columns["null_error"])


def _with_power(table: pd.DataFrame, few: np.ndarray, null_error: np.ndarray) -> pd.DataFrame:
    """smallest_detectable, enough, note."""
    per_domain = table.groupby("domain").n_groups.first()
    rest = per_domain.sum() - table.n_groups
    freedom = np.maximum(np.minimum(table.n_groups, rest) - 1, 1)
    detectable = detectable_lift(null_error, freedom, level=detection_level(table), power=POWER)
    tested = table.p.notna()
    table["smallest_detectable"] = pd.array(np.where(tested, detectable, np.nan), dtype="Float64")
    enough = (table.smallest_detectable <= np.log2(MIN_LIFT)) | (table.q < MAX_Q)
    table["enough"] = enough.fillna(False).astype(bool)
    table["note"] = np.select(
        [
            rest == 0,
            table.n_groups == 0,
            table.estimate.isna(),
            ~tested & ~few & (rest > 1),
            tested & table.low.isna(),
            ~table.enough,
        ],
        [
            "one domain: nothing to compare",
            "no text of this domain",
            "never chosen",
            "texts all alike: nothing to test",
            "texts all alike: no interval",
            NOT_ENOUGH,
        ],
        "",
    )
    return table
