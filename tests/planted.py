"""A trace with a known specialist, and what every table of figures must keep."""

import numpy as np
import pandas as pd

DOMAINS = ("math", "code", "other")


def planted(
    *, documents: int = 30, lift: float = 3.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """One layer of 8 experts in balance, but expert 5 prefers code."""
    rng = np.random.default_rng(seed)
    domain_id_N = np.repeat(np.arange(3), documents)
    share_GE = np.ones((3, 8))
    share_GE[1, 5] = lift
    share_GE /= share_GE.sum(-1, keepdims=True)
    share_NE = np.array([rng.dirichlet(60 * share_GE[domain_id]) for domain_id in domain_id_N])
    return rng.multinomial(300, share_NE)[:, None], domain_id_N


def holds_no_number_that_is_none(table: pd.DataFrame) -> bool:
    numbers = table.select_dtypes("number").to_numpy(float, na_value=0.0)
    return bool(np.isfinite(numbers).all())
