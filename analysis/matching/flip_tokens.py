"""Which tokens are routed otherwise in another trace: one by one in their text, and by string.

P = places, T = tokens of the first trace, L = MoE layers, N = groups, V = strings.
"""

import numpy as np
import pandas as pd
from scipy import special

from analysis.groups import MIN_EFFECTIVE, effective_number, summed
from analysis.matching.choices import Choices
from analysis.matching.flips import Flips
from analysis.matching.texts import MatchedTexts
from analysis.permutation import adjusted
from analysis.ratios import share_interval

CONTEXT = 12  # tokens on either side
MOST_TOKENS = 200
MIN_OCCURRENCES = 20  # of a string, below which nothing is said of it
MOST_STRINGS = 1_000  # the most frequent ones


def flipped_tokens(found: Flips, matched: MatchedTexts, first: Choices) -> pd.DataFrame:
    """doc_id, position, domain_id, phase, before, token, after, layers (in which it flips),
    compared (layers), exchanged (choices of all layers), mean_margin (of the layers that flip); the
    MOST_TOKENS that flip in most layers, then with most choices exchanged."""
    layers_P, exchanged_P = found.flipped_PL.sum(-1), found.exchanged_PL.sum(-1)
    order = np.lexsort((-exchanged_P, -layers_P))
    order = order[layers_P[order] > 0]
    row = matched.row_P[order]
    order = order[np.sort(np.unique(row, return_index=True)[1])][:MOST_TOKENS]  # a token once
    row = matched.row_P[order]
    margin = np.where(found.flipped_PL[order], first.margin_PL[order], np.nan)
    known = np.isfinite(margin)
    mean_margin = np.divide(
        np.where(known, margin, 0).sum(-1),
        known.sum(-1),
        out=np.full(len(order), np.nan),
        where=known.any(-1),
    )
    before, token, after = _contexts(matched.first, row)
    tokens = matched.first.iloc[row]
    return pd.DataFrame(
        {
            "doc_id": tokens.doc_id.to_numpy(),
            "position": tokens.position.to_numpy(),
            "domain_id": matched.domain_P[order],
            "phase": tokens.phase.to_numpy(),
            "before": before,
            "token": token,
            "after": after,
            "layers": layers_P[order],
            "compared": found.compared_PL[order].sum(-1),
            "exchanged": exchanged_P[order],
            "mean_margin": mean_margin,
        }
    )


def _contexts(tokens: pd.DataFrame, row: np.ndarray) -> tuple[list[str], list[str], list[str]]:
    """Of tokens whose text is unknown, their numbers."""
    text, doc_id = tokens.text.tolist(), tokens.doc_id.to_numpy()
    token_id = tokens.token_id.tolist()

    def said(places: range, of: int) -> str:
        here = [place for place in places if doc_id[place] == doc_id[of]]
        return "".join(
            f"#{token_id[place]}" if text[place] is None else text[place] for place in here
        )

    last = len(text)
    return (
        [said(range(max(at - CONTEXT, 0), at), at) for at in row],
        [said(range(at, at + 1), at) for at in row],
        [said(range(at + 1, min(at + 1 + CONTEXT, last)), at) for at in row],
    )


def flips_by_string(
    found: Flips, matched: MatchedTexts, *, group_P: np.ndarray, domain_N: np.ndarray
) -> pd.DataFrame:
    """token, occurrences (in the first trace), estimate (its flip rate over layers), low, high,
    expected (that of all tokens in the same layers), p and q (of a string that flips no more
    often), n_groups: the strings with MIN_OCCURRENCES, by the lower end of their interval after
    those that always flip."""
    text = matched.first.text.to_numpy()[matched.row_P]
    code_P, strings = pd.factorize(text)
    once_P = code_P[np.unique(matched.row_P, return_index=True)[1]]
    count_V = np.bincount(once_P[once_P >= 0], minlength=len(strings))
    frequent = np.argsort(-count_V, kind="stable")[:MOST_STRINGS]
    frequent = frequent[count_V[frequent] >= MIN_OCCURRENCES]
    size_P = matched.size_P
    decisions_P, flips_P = (
        part_PL.sum(-1) * size_P for part_PL in (found.compared_PL, found.flipped_PL)
    )
    sized_PL = found.compared_PL * size_P[:, None]
    rate_L = (found.flipped_PL * size_P[:, None]).sum(0) / np.maximum(sized_PL.sum(0), 1)
    expected_P = found.compared_PL @ rate_L * size_P
    order = np.argsort(code_P, kind="stable")
    start_V = np.searchsorted(code_P[order], np.arange(len(strings) + 1))
    rows = []
    for code in frequent:
        of = np.sort(order[start_V[code] : start_V[code + 1]])
        groups, group = np.unique(group_P[of], return_inverse=True)
        flips_N, decisions_N, expected_N = (
            summed(part_P[of], group) for part_P in (flips_P, decisions_P, expected_P)
        )
        rows.append(
            {
                "token": strings[code],
                "occurrences": int(count_V[code]),
                **share_interval(flips_N, decisions_N, domain_N[groups]),
                "expected": float(expected_N.sum() / max(decisions_N.sum(), 1)),
                "p": _p_of_more(flips_N - expected_N, decisions_N),
                "n_groups": len(groups),
            }
        )
    columns = ["token", "occurrences", "estimate", "low", "high", "expected", "p", "n_groups"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(columns.index("p") + 1, "q", adjusted(table.p))
    always = (table.estimate == 1) & (table.n_groups >= MIN_EFFECTIVE)  # alike: no interval
    lowest = table.low.mask(always, 1.0).sort_values(ascending=False, kind="stable")
    return table.loc[lowest.index].reset_index(drop=True)


def _p_of_more(more_N: np.ndarray, size_N: np.ndarray) -> float:
    """That flips beyond those expected add up to so many where each group has more or fewer with
    equal chance: their sum over the root of their squares, against a normal deviate, which it is
    not beyond more often (Efron 1969)."""
    if effective_number(size_N) < MIN_EFFECTIVE:
        return np.nan
    return float(special.ndtr(-more_N.sum() / max(np.sqrt((more_N**2).sum()), 1e-300)))
