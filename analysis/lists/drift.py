"""What is watched in production: the periods between which loads may drift, and how far the share
of an expert may go in one window before it is an alarm.

N = groups, L = MoE layers, E = routed experts. Whether a share has changed is tested by
differences.load_differences().
"""

import numpy as np
import pandas as pd
from scipy import special

from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH
from analysis.layers import of_layers
from analysis.ratios import ROUNDING, Ratio, ratio

FALSE_ALARMS = 0.05  # of windows without drift, in which any expert of the model is beyond
ALIKE = "all groups of texts are alike, so they do not tell how far a window may go"


def periods(size_N: np.ndarray, domain_id_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether a group is of the first, and of the second half of its domain's tokens [N]; groups
    come in the order of capture. A domain of one group is of neither: it would be of one alone. A
    group as much of the one as of the other goes where there are fewer tokens so far."""
    earlier_N, later_N = np.zeros((2, len(size_N)), dtype=bool)
    for domain_id in np.unique(domain_id_N):
        of = np.flatnonzero(domain_id_N == domain_id)
        if len(of) < 2:
            continue
        before = 2 * size_N[of].cumsum() - size_N[of]  # twice, so that they stay whole
        earlier_N[of], later_N[of] = before < size_N[of].sum(), before > size_N[of].sum()
        middle = of[before == size_N[of].sum()]
        fewer_N = later_N if size_N[later_N].sum() <= size_N[earlier_N].sum() else earlier_N
        fewer_N[middle] = True
    return earlier_N, later_N


def alarm_table(tokens_NLE: np.ndarray, *, experts_L: np.ndarray, window: float) -> pd.DataFrame:
    """A row a layer and expert: layer_id, expert_id, expected (share of the layer's choices),
    lower_alarm, upper_alarm (of a window), note. `window`: its length over that of this text.

    Expected is what is known from this text; a window differs from it by its own groups and by
    those that this text happened to have. A bound holds for all experts at once (Bonferroni), and
    the upper one lies farther off by the skewness of a window's share (Cornish and Fisher 1938). Of
    an expert that no group chose, it is the share of a window's groups that may all the same.
    """
    level = 1 - FALSE_ALARMS / (2 * int(experts_L.sum()))
    rows = []
    for layer_id, tokens_NE in enumerate(of_layers(tokens_NLE, experts_L)):
        of = ratio(tokens_NE.astype(np.float64), tokens_NE.sum(-1))
        enough = of.effective >= MIN_EFFECTIVE
        known_E = (of.variance_P > (ROUNDING * of.estimate_P) ** 2) & enough
        variance_E = np.where(known_E, of.variance_P * (1 + 1 / window), np.nan)
        error_E, far_E = np.sqrt(variance_E), special.stdtrit(of.freedom_P, level)
        skew_E = _window_skewness(tokens_NE, of, error_E, window)
        farther_E = far_E + (far_E**2 - 1) * skew_E / 6
        never_E = (of.estimate_P == 0) & enough
        unseen = -np.log(1 - level) / max(of.effective * window * np.log1p(1 / window), 1e-300)
        bounds = {
            "lower_alarm": np.where(never_E, 0, of.estimate_P - far_E * error_E),
            "upper_alarm": np.where(never_E, unseen, of.estimate_P + farther_E * error_E),
        }
        rows.append(
            pd.DataFrame(
                {
                    "layer_id": layer_id,
                    "expert_id": np.arange(tokens_NE.shape[1]),
                    "expected": of.estimate_P,
                    **{name: np.clip(of_E, 0, 1) for name, of_E in bounds.items()},
                    "note": np.where(known_E | never_E, "", ALIKE if enough else NOT_ENOUGH),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def _window_skewness(
    tokens_NE: np.ndarray, of: Ratio, error_E: np.ndarray, window: float
) -> np.ndarray:
    """As the groups show it, and at least that of a gamma distribution, twice the coefficient of
    variation: few groups seldom hold the one that is far off."""
    residual_NE = tokens_NE - np.outer(tokens_NE.sum(-1), of.estimate_P)
    squares_E = np.maximum((residual_NE**2).sum(0), 1e-100)
    shown_E = (residual_NE**3).sum(0) / squares_E**1.5 / np.sqrt(window)
    varies_E = 2 * error_E / np.maximum(of.estimate_P, 1e-300)
    return np.maximum(shown_E, varies_E)
